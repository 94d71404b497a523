"""A transformer in front of a real predictor: protocols, headers, errors, deadlines, streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from http_rig import serving

from wakeful import (
    AsyncInferenceClient,
    Context,
    FailureError,
    FailureKind,
    InferRequest,
    InferResponse,
    InvalidError,
    Model,
    from_array,
    to_array,
)
from wakeful.client import UpstreamError

Start = Callable[..., Awaitable[str]]


class Doubler(Model):
    """The predictor: twice what it is sent."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.seen: list[dict[str, str]] = []
        self.gate = asyncio.Event()

    async def predict(self, payload: Any, context: Context) -> Any:
        self.seen.append(dict(context))
        if isinstance(payload, InferRequest):
            return InferResponse([from_array("doubled", to_array(payload.inputs[0]) * 2)])
        match payload.get("do"):
            case "invalid":
                raise InvalidError("the third row is upside down")
            case "raise":
                raise KeyError("x")
            case "wait":
                await asyncio.wait_for(self.gate.wait(), 10)
        return {"predictions": [[2 * x for x in row] for row in payload["instances"]]}

    async def stream(self, payload: Any, context: Context) -> AsyncIterator[Any]:
        if payload.get("do") == "invalid":
            raise InvalidError("no stream of that")
        yield {"token": 1}
        yield {"token": 2}


class PlusOne(Model):
    """The transformer: adds one before, keeps the rest."""

    def preprocess(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            first = payload.inputs[0]
            return InferRequest([from_array(first.name, to_array(first) + 1)])
        if "instances" in payload:
            payload["instances"] = [[x + 1 for x in row] for row in payload["instances"]]
        return payload


async def chain(start: Start, protocol: str, **options: Any) -> tuple[Doubler, AsyncInferenceClient]:
    predictor = Doubler("m")
    host = (await start(predictor)).removeprefix("http://")
    base = await start(PlusOne("m"), predictor_host=host, predictor_protocol=protocol, **options)
    return predictor, AsyncInferenceClient(base)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
async def test_every_question_is_answered_in_its_own_protocol(start: Start, protocol: str) -> None:
    _, client = await chain(start, protocol)
    async with client:
        assert await client.predict("m", {"instances": [[1, 2], [3, 4]]}) == {
            "predictions": [[4, 6], [8, 10]]
        }
        answer = await client.infer("m", {"x": np.array([[1.0, 2.0]], dtype=np.float32)})
        np.testing.assert_array_equal(answer.only(), [[4, 6]])


async def test_a_v2_question_in_json_as_a_v1_payload_passes_through(start: Start) -> None:
    predictor = Doubler("m")
    host = (await start(predictor)).removeprefix("http://")
    base = await start(Model("m"), predictor_host=host, predictor_protocol="v2")
    async with AsyncInferenceClient(base) as client:
        tensor = {"name": "x", "shape": [1, 2], "datatype": "INT64", "data": [1, 2]}
        answer = await client.predict("m", {"inputs": [tensor]})
    assert answer["outputs"][0]["data"] == [2, 4]


async def test_identity_trace_and_credentials_travel_and_nothing_else(start: Start) -> None:
    predictor, client = await chain(start, "v1")
    sent = {
        "X-Request-Id": "r-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "Authorization": "Bearer t",
        "X-B3-TraceId": "463ac35c9f6413ad",
        "Cookie": "a=b",
        "X-Other": "x",
    }
    async with client:
        await client.predict("m", {"instances": [[1]]}, headers=sent)
    (seen,) = predictor.seen
    assert seen["x-request-id"] == "r-1"
    assert seen["traceparent"].split("-")[1] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert (seen["authorization"], seen["x-b3-traceid"]) == ("Bearer t", "463ac35c9f6413ad")
    assert "cookie" not in seen
    assert "x-other" not in seen


@pytest.mark.parametrize(
    ("payload", "status", "text"),
    [
        ({"do": "invalid"}, 400, "the third row is upside down"),
        ({"do": "raise"}, 500, "KeyError : 'x'"),
    ],
)
async def test_errors_of_the_predictor_pass_with_their_status(
    start: Start, payload: Any, status: int, text: str
) -> None:
    _, client = await chain(start, "v1")
    async with client:
        with pytest.raises(UpstreamError, match=text) as caught:
            await client.predict("m", payload)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [404, 409, 418, 422, 429, 500, 502, 503, 507])
async def test_any_status_of_a_foreign_predictor_passes(start: Start, status: int) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text="said in plain words")

    async with serving(handle) as upstream:
        base = await start(Model("m"), predictor_host=upstream.removeprefix("http://"))
        async with AsyncInferenceClient(base, retries=0) as client:
            with pytest.raises(UpstreamError, match="said in plain words") as caught:
                await client.predict("m", {"instances": []})
    assert caught.value.status == status


async def test_a_predictor_that_is_away_is_503_and_a_slow_one_504(start: Start) -> None:
    base = await start(Model("m"), predictor_host="127.0.0.1:1", predictor_request_retries=0)
    async with AsyncInferenceClient(base, retries=0) as client:
        with pytest.raises(UpstreamError, match="cannot connect to 127") as caught:
            await client.predict("m", {"instances": []})
        assert caught.value.status == 503
    predictor, client = await chain(start, "v1", predictor_request_timeout_seconds=0.3)
    async with client:
        began = time.monotonic()
        with pytest.raises(UpstreamError, match=r"no answer within 0\.3 s") as caught:
            await client.predict("m", {"do": "wait"})
        assert caught.value.status == 504
        assert time.monotonic() - began < 5
    predictor.gate.set()


async def test_a_predictor_that_is_waking_is_waited_for(start: Start) -> None:
    woken = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        await woken.wait()
        return web.json_response({"predictions": ["awake"]})

    async with serving(handle) as upstream:
        base = await start(Model("m"), predictor_host=upstream.removeprefix("http://"))
        async with AsyncInferenceClient(base) as client:
            call = asyncio.create_task(client.predict("m", {"instances": []}))
            done, _ = await asyncio.wait({call}, timeout=0.3)
            assert not done
            woken.set()
            assert await call == {"predictions": ["awake"]}


async def test_parts_pass_as_they_come_and_an_early_error_is_an_answer(start: Start) -> None:
    _, client = await chain(start, "v1")
    async with client:
        parts = [part async for part in client.predict_stream("m", {})]
        assert b"".join(parts) == b'data: {"token":1}\n\ndata: {"token":2}\n\n'
        with pytest.raises(FailureError):
            async for _ in client.predict_stream("m", {"instances": "x"}):
                pass


async def test_raw_bytes_pass_as_they_are(start: Start) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        return web.Response(body=body[::-1], content_type=request.content_type)

    async with serving(handle) as upstream:
        base = await start(Model("m"), predictor_host=upstream.removeprefix("http://"))
        async with AsyncInferenceClient(base) as client:
            from wakeful.client.http_transport import Call

            received = await client.send(
                Call("POST", "/v1/models/m:predict", b"avro", {"Content-Type": "application/avro"})
            )
    assert received.body == b"orva"


async def test_sync_code_asks_the_predictor_from_its_thread(start: Start) -> None:
    class Twice(Model):
        def predict(self, payload: Any, context: Context) -> Any:
            assert self.predictor is not None
            once = self.predictor.predict_blocking(payload, context)
            return self.predictor.predict_blocking({"instances": once["predictions"]}, context)

    host = (await start(Doubler("m"))).removeprefix("http://")
    async with AsyncInferenceClient(await start(Twice("m"), predictor_host=host)) as client:
        assert await client.predict("m", {"instances": [[1]]}) == {"predictions": [[4]]}


@pytest.mark.parametrize("protocol", ["v1", "v2"])
async def test_readiness_of_the_predictor(start: Start, protocol: str) -> None:
    transformer = Model("m")
    host = (await start(Doubler("m"))).removeprefix("http://")
    await start(transformer, predictor_host=host, predictor_protocol=protocol)
    assert transformer.predictor is not None
    assert await transformer.predictor.is_ready()
    away = Model("m")
    await start(away, predictor_host="127.0.0.1:1", predictor_protocol=protocol)
    assert away.predictor is not None
    assert not await away.predictor.is_ready()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
async def test_a_transformer_may_be_as_ready_as_its_predictor(start: Start, scheme: str) -> None:
    host = (await start(Doubler("m"))).removeprefix("http://")
    for where, is_ready in ((host, True), ("127.0.0.1:1", False)):
        base = await start(Model("m"), predictor_host=where, enable_predictor_health_check=True)
        async with AsyncInferenceClient(base.replace("http", scheme)) as client:
            assert await client.is_live()
            assert (await client.is_ready(), await client.is_ready("m")) == (is_ready, is_ready)
        base = await start(Model("m"), predictor_host=where)
        async with AsyncInferenceClient(base.replace("http", scheme)) as client:
            assert await client.is_ready()


async def test_without_a_predictor_the_sentence_says_so(start: Start) -> None:
    async with AsyncInferenceClient(await start(Model("m"))) as client:
        with pytest.raises(UpstreamError, match="has no predict") as caught:
            await client.predict("m", {})
    assert caught.value.kind is FailureKind.UNSUPPORTED


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "parts"])
async def test_a_redirect_of_the_predictor_is_a_bad_gateway_that_names_it(
    start: Start, is_stream: bool
) -> None:
    followed: list[str] = []

    async def redirects(request: web.Request) -> web.Response:
        followed.append(request.path)
        return web.Response(status=302, headers={"Location": "/v1/models/other:predict"}, text="{}")

    async with serving(redirects) as predictor:
        base = await start(Model("m"), predictor_host=predictor.removeprefix("http://"))
        async with AsyncInferenceClient(base) as client:
            with pytest.raises(
                UpstreamError, match="answered 302, a redirect to '/v1/models/other"
            ) as caught:
                await client.predict("m", {"instances": [[1]], "stream": is_stream})
    assert (caught.value.status, followed) == (502, ["/v1/models/m:predict"])


async def test_an_answer_over_the_transformers_own_limit_names_its_flag(start: Start) -> None:
    host = (await start(Doubler("m"))).removeprefix("http://")
    base = await start(Model("m"), predictor_host=host, predictor_max_answer_bytes=100)
    async with AsyncInferenceClient(base) as client:
        assert await client.predict("m", {"instances": [[1]]})
        with pytest.raises(UpstreamError, match=r"larger than 100 bytes.*--predictor_max_answer_bytes"):
            await client.predict("m", {"instances": [[1] * 100]})
