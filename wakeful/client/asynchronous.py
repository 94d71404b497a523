"""The inference client for asyncio: V1, V2 over HTTP (JSON, binary tensors) and V2 over gRPC, numpy in and out.

Used by transformers and explainers (``wakeful.serving.predictor_client``) and by users. ``http://`` addresses speak
HTTP, ``grpc://`` addresses gRPC, with the same calls. Left out: OpenAI routes (the ``openai`` package is that client).

Invariant: every call ends by its deadline; what failed is a ``FailureError`` (``UpstreamError`` where the server answered).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self
from urllib.parse import quote

from wakeful.client import targets, v2_messages
from wakeful.client.answers import Answer, Received
from wakeful.client.http_transport import Call, HttpTransport, Options
from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import oip, oip_binary

JSON = {"Content-Type": "application/json"}


class AsyncInferenceClient:
    """Calls of one server's models. Use as ``async with AsyncInferenceClient(url) as client``, or ``close`` it.

    ``options`` are the fields of ``Options``: timeout_s, retries, connections, headers, verify_tls, max_answer_bytes.
    """

    def __init__(self, address: str, *, binary: bool = True, **options: Any) -> None:
        self._target = targets.parse(address, os.environ)
        self._options = replace(Options(), **options)
        self._is_binary = binary
        self._http = HttpTransport(self._target, self._options)
        self._grpc: Any = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()
        if self._grpc is not None:
            await self._grpc.close()

    async def predict(
        self,
        model: str,
        payload: dict[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """The answer to a V1 ``:predict``, such as ``{"predictions": [...]}``, for ``{"instances": [...]}``."""
        return await self._v1(model, "predict", payload, headers, timeout_s)

    async def explain(
        self,
        model: str,
        payload: dict[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """The answer to a V1 ``:explain``."""
        return await self._v1(model, "explain", payload, headers, timeout_s)

    async def predict_stream(
        self,
        model: str,
        payload: dict[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[bytes]:
        """The answer to ``:predict`` in parts, as they come. Close the iterator (``aclose``) to stop early."""
        self._refuse_grpc("a V1 call")
        call = self._call(
            model, "predict", payload, {"Accept": "text/event-stream", **(headers or {})}, timeout_s
        )
        async with self._http.stream(call) as parts:
            async for part in parts:
                yield part

    async def infer(
        self,
        model: str,
        inputs: oip.InferRequest | Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """V2 inference: arrays (or lists) by input name in, arrays by output name out."""
        request = v2_messages.request_of(inputs, outputs, parameters)
        if self._target.is_grpc:
            answer: Answer = await self._over_grpc().infer(model, request, headers or {}, timeout_s)
            return answer
        body, own = v2_messages.encode(request, self._is_binary)
        path = f"/v2/models/{quote(model, safe='')}/infer"
        received = await self._http.call(Call("POST", path, body, {**(headers or {}), **own}, timeout_s))
        length = received.headers.get(oip_binary.HEADER.lower())
        return Answer(v2_messages.decode(received.body, length), received.headers)

    async def send(self, call: Call) -> Received:
        """Any other HTTP call of this server, with the same deadlines, repeats and failures."""
        self._refuse_grpc("an HTTP call")
        return await self._http.call(call)

    async def is_live(self) -> bool:
        """Whether the server answers and says that it lives."""
        return await self._asks("/v2/health/live", "live")

    async def is_ready(self, model: str | None = None) -> bool:
        """Whether the server (or that model) is ready. False also where it cannot be reached."""
        if model is None:
            return await self._asks("/v2/health/ready", "ready")
        return await self._asks(f"/v2/models/{quote(model, safe='')}/ready", "ready", model)

    async def models(self) -> list[str]:
        """The names of the server's models (KServe's and Wakeful's ``/v1/models``)."""
        self._refuse_grpc("the list of models")
        found = (await self._get("/v1/models")).json()
        return [str(name) for name in found.get("models", [])]

    async def metadata(self, model: str) -> dict[str, Any]:
        """V2 metadata of a model: name, platform, inputs and outputs."""
        if self._target.is_grpc:
            described: dict[str, Any] = await self._over_grpc().metadata(model)
            return described
        found: dict[str, Any] = (await self._get(f"/v2/models/{quote(model, safe='')}")).json()
        return found

    async def _v1(
        self,
        model: str,
        verb: str,
        payload: dict[str, Any],
        headers: Mapping[str, str] | None,
        timeout_s: float | None,
    ) -> dict[str, Any]:
        self._refuse_grpc("a V1 call")
        received = await self._http.call(self._call(model, verb, payload, headers or {}, timeout_s))
        answer = received.json()
        if not isinstance(answer, dict):
            text = f"the V1 answer of {self._target.netloc} is no JSON object"
            raise FailureError(FailureKind.INTERNAL, text)
        return answer

    def _call(
        self,
        model: str,
        verb: str,
        payload: dict[str, Any],
        headers: Mapping[str, str],
        timeout_s: float | None,
    ) -> Call:
        try:
            body = oip.dump(payload)
        except TypeError as error:
            raise FailureError(FailureKind.INVALID, f"the payload has no JSON form: {error}") from error
        return Call(
            "POST", f"/v1/models/{quote(model, safe='')}:{verb}", body, {**headers, **JSON}, timeout_s
        )

    async def _asks(self, path: str, member: str, model: str = "") -> bool:
        try:
            if self._target.is_grpc:
                return bool(await self._over_grpc().asks(member, model))
            return bool((await self._get(path)).json().get(member))
        except FailureError:
            return False

    async def _get(self, path: str) -> Received:
        return await self._http.call(Call("GET", path, is_idempotent=True))

    def _refuse_grpc(self, what: str) -> None:
        if self._target.is_grpc:
            text = f"{what} needs HTTP, and {self._target.url} is gRPC: use the server's http:// address"
            raise FailureError(FailureKind.UNSUPPORTED, text)

    def _over_grpc(self) -> Any:
        if self._grpc is None:
            from wakeful.client.grpc_transport import GrpcTransport  # grpcio: only who speaks gRPC needs it

            self._grpc = GrpcTransport(self._target, self._options)
        return self._grpc
