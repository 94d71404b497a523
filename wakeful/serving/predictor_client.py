"""A transformer's or explainer's way to its predictor: payload in, the predictor's answer out, over V1, V2 or gRPC.

Made by ``server`` from ``--predictor_host`` and given to models as ``Model.predictor``. Payloads that the predictor's
protocol does not know are translated (``wakeful.client.translate``). Identity, trace and what is left of the deadline
travel along; an error answer comes back as ``UpstreamError`` with its status. Waiting for a predictor that sleeps is
the gateway's (or Knative's) business: the call simply has time until its deadline.

Invariant: one pool of connections a server; no call outlives its caller's deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from wakeful.client import targets, translate
from wakeful.client.asynchronous import AsyncInferenceClient
from wakeful.client.http_transport import Call
from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import arrays, oip, problem
from wakeful.serving.model import Context, Model
from wakeful.serving.settings import Settings, SettingsError

PROTOCOLS = ("v1", "v2", "grpc-v2")
FORWARDED = (
    "authorization", "x-request-id", "traceparent", "tracestate", "baggage", "b3",
    "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "x-b3-sampled", "x-b3-flags",
)  # fmt: skip
"""KServe forwards x-request-id, x-b3-traceid and authorization; the others keep a trace whole."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where the predictor is and how it is spoken to: the values of the flags ``--predictor_*``."""

    host: str
    protocol: str = "v1"
    use_ssl: bool = False
    timeout_s: float = 600.0
    retries: int = 2
    max_answer_bytes: int = 512 * 1024 * 1024


class PredictorClient:
    """The connections to one predictor. ``of`` gives the view that one model has of it."""

    def __init__(self, address: Address) -> None:
        """Raises ``targets.TargetError`` for a host that is none."""
        self.protocol = address.protocol
        self.timeout_s = address.timeout_s
        plain, secure = ("grpc", "grpcs") if address.protocol == "grpc-v2" else ("http", "https")
        self.client = AsyncInferenceClient(
            f"{secure if address.use_ssl else plain}://{address.host.partition('://')[2] or address.host}",
            timeout_s=address.timeout_s,
            retries=address.retries,
            max_answer_bytes=address.max_answer_bytes,
        )
        self._loop: asyncio.AbstractEventLoop | None = None

    def open(self) -> None:
        """Remember the running loop, on which all calls are made."""
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """Give the connections back."""
        await self.client.close()

    def of(self, model: str) -> ModelPredictor:
        """The predictor as the model called ``model`` asks it: for the model of the same name."""
        return ModelPredictor(self, model)

    def wait(self, call: Any) -> Any:
        """The result of a coroutine, from a thread that is not the loop's."""
        if self._loop is None:
            raise FailureError(FailureKind.INTERNAL, "the predictor is asked before the server has started")
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()


class ModelPredictor:
    """What ``Model.predictor`` is."""

    def __init__(self, shared: PredictorClient, model: str) -> None:
        self._shared = shared
        self._model = model

    async def predict(self, payload: Any, context: Context) -> Any:
        """The answer in the words the question was in: a V1 object for one, an ``InferResponse`` for an ``InferRequest``."""
        if self._shared.protocol == "v1":
            return await self._over_v1(payload, context)
        if isinstance(payload, oip.InferRequest):
            return await self._infer(payload, context)
        if not isinstance(payload, dict):
            text = (
                f"{type(payload).__name__} cannot be sent to a predictor that speaks {self._shared.protocol}"
            )
            raise FailureError(FailureKind.UNSUPPORTED, text)
        response = await self._infer(translate.to_v2(payload), context)
        if not translate.is_v2(payload):
            return translate.answer_to_v1(response)
        outputs = [arrays.plain(tensor) for tensor in response.outputs]
        return problem.parse_json(oip.encode_json(response, outputs), "the predictor's answer")

    def predict_blocking(self, payload: Any, context: Context) -> Any:
        """The same from sync model code (in its thread)."""
        return self._shared.wait(self.predict(payload, context))

    async def is_ready(self) -> bool:
        """Whether the predictor says that the model is ready."""
        if self._shared.protocol != "v1":
            return await self._shared.client.is_ready(self._model)
        call = Call("GET", f"/v1/models/{quote(self._model, safe='')}", is_idempotent=True, timeout_s=5.0)
        try:
            found = (await self._shared.client.send(call)).json()
        except FailureError:
            return False
        # KServe 0.7 and older say "True" as text.
        return isinstance(found, dict) and str(found.get("ready")).lower() == "true"

    async def _infer(self, request: oip.InferRequest, context: Context) -> oip.InferResponse:
        answer = await self._shared.client.infer(
            self._model, request, headers=_forwarded(context), timeout_s=self._left_s(context)
        )
        return answer.response

    async def _over_v1(self, payload: Any, context: Context) -> Any:
        client, headers, left_s = self._shared.client, _forwarded(context), self._left_s(context)
        if isinstance(payload, oip.InferRequest):
            question = translate.to_v1(payload)
            answer = await client.predict(self._model, question, headers=headers, timeout_s=left_s)
            return translate.answer_to_v2(answer)
        if isinstance(payload, dict):
            if context.wants_stream(payload):
                parts = client.predict_stream(self._model, payload, headers=headers, timeout_s=left_s)
                return await _begun(parts)
            return await client.predict(self._model, payload, headers=headers, timeout_s=left_s)
        if not isinstance(payload, bytes | bytearray | memoryview):
            text = f"preprocess gave {type(payload).__name__}: a V1 predictor takes a dict, an InferRequest or bytes"
            raise FailureError(FailureKind.INTERNAL, text)
        headers["Content-Type"] = context.get("content-type", "application/octet-stream")
        path = f"/v1/models/{quote(self._model, safe='')}:predict"
        received = await client.send(Call("POST", path, bytes(payload), headers, left_s))
        is_json = received.headers.get("content-type", "").startswith("application/json")
        return received.json() if is_json else received.body

    def _left_s(self, context: Context) -> float:
        left_s = context.remaining_s()
        return self._shared.timeout_s if left_s is None else min(left_s, self._shared.timeout_s)


def _forwarded(context: Context) -> dict[str, str]:
    headers: Mapping[str, str] = context
    found = {name: headers[name] for name in FORWARDED if name in headers}
    if context.request_id:
        found["x-request-id"] = context.request_id
    return found


async def _begun(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """``parts`` once the first one has come: an error before it is an answer of its own, not a broken stream."""
    first = await anext(parts, None)

    async def all_parts() -> AsyncIterator[bytes]:
        try:
            if first is not None:
                yield first
            async for part in parts:
                yield part
        finally:
            await parts.aclose()  # type: ignore[attr-defined]

    return all_parts()


def connect(models: Sequence[Model], settings: Settings) -> PredictorClient | None:
    """Give each model its predictor where ``settings`` name one. Raises ``SettingsError`` with one sentence."""
    if not settings.predictor_host:
        return None
    if settings.predictor_protocol not in PROTOCOLS:
        text = f"--predictor_protocol is {settings.predictor_protocol!r}: it takes {', '.join(PROTOCOLS)}"
        raise SettingsError(text)
    address = Address(
        settings.predictor_host,
        settings.predictor_protocol,
        settings.predictor_use_ssl,
        settings.predictor_request_timeout_seconds,
        settings.predictor_request_retries,
        settings.predictor_max_answer_bytes,
    )
    try:
        shared = PredictorClient(address)
    except targets.TargetError as error:
        raise SettingsError(f"--predictor_host: {error}") from error
    for model in models:
        if model.predictor is None:
            model.predictor = shared.of(model.name)
    return shared
