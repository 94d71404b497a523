"""The inference client against Wakeful's own model server, and against servers that fail in every way."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from http_rig import serving

from wakeful import AsyncInferenceClient, Context, InferenceClient, InferRequest, InferResponse, Model, Tensor
from wakeful.client import FailureError, FailureKind, UpstreamError
from wakeful.client.http_transport import DEADLINE_HEADER

Start = Callable[..., Awaitable[str]]


class Echo(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            return InferResponse([Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs])
        return {"predictions": payload["instances"], "asked": context.get("x-asked")}

    def explain(self, payload: Any, context: Context) -> Any:
        return {"explanations": len(payload["instances"])}

    def stream(self, payload: Any, context: Context) -> Any:
        yield {"token": 1}
        yield {"token": 2}


ARRAYS = [
    np.array([[True, False]]),
    np.arange(6, dtype=np.uint8).reshape(2, 3),
    np.array([[-5, 2**62]], dtype=np.int64),
    np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 2, 2),
    np.array([1.5, float("nan")]),
    np.array(["a", "größer", ""], dtype=object),
]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
async def test_arrays_come_back_as_they_went(start: Start, array: Any, binary: bool) -> None:
    async with AsyncInferenceClient(await start(Echo("m")), binary=binary) as client:
        answer = await client.infer("m", {"x": array, "y": array[:1]}, outputs=["x"])
    back = answer.only()
    assert list(answer) == ["x"]
    assert back.shape == array.shape
    if array.dtype.kind == "O":
        assert [v.decode() if isinstance(v, bytes) else v for v in back] == array.tolist()
    else:
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


async def test_half_floats_go_in_binary_form_even_where_json_is_asked_for(start: Start) -> None:
    array = np.array([0.5, 2.0], dtype=np.float16)
    async with AsyncInferenceClient(await start(Echo("m")), binary=False) as client:
        np.testing.assert_array_equal((await client.infer("m", {"x": array})).only(), array)


async def test_v1_health_and_metadata(start: Start) -> None:
    async with AsyncInferenceClient(await start(Echo("m")), headers={"X-Asked": "yes"}) as client:
        assert await client.predict("m", {"instances": [[1]]}) == {"predictions": [[1]], "asked": "yes"}
        assert await client.explain("m", {"instances": [1, 2]}) == {"explanations": 2}
        assert [part async for part in client.predict_stream("m", {"instances": []})] != []
        assert (await client.is_live(), await client.is_ready(), await client.is_ready("m")) == (True,) * 3
        assert await client.is_ready("other") is False
        assert await client.models() == ["m"]
        assert (await client.metadata("m"))["name"] == "m"


async def test_blocking_client_in_threads(start: Start) -> None:
    base = await start(Echo("m"))

    def use() -> list[Any]:
        with InferenceClient(base) as client:
            return (
                client.predict("m", {"instances": [[7]]})["predictions"]
                + client.infer("m", {"x": np.array([1, 2])}).only().tolist()
            )

    assert await asyncio.gather(*[asyncio.to_thread(use) for _ in range(4)]) == [[[7], 1, 2]] * 4
    with pytest.raises(RuntimeError, match="AsyncInferenceClient"):
        InferenceClient(base).is_live()


async def test_errors_of_the_server_keep_status_and_text(start: Start) -> None:
    async with AsyncInferenceClient(await start(Echo("m"))) as client:
        with pytest.raises(UpstreamError, match="Model with name gone does not exist") as caught:
            await client.predict("gone", {"instances": []})
        assert (caught.value.status, caught.value.kind) == (404, FailureKind.NOT_FOUND)
        with pytest.raises(UpstreamError) as caught:
            await client.infer("m", {"x": np.array([1])}, outputs=["nope"])
        assert caught.value.status == 400
        with pytest.raises(FailureError, match="complex128"):
            await client.infer("m", {"x": np.array([1j])})


class Script:
    """A server that answers by a list of answers and remembers what it was asked."""

    def __init__(self, *answers: web.Response | float | None) -> None:
        self.answers = list(answers)
        self.requests: list[web.Request] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        await request.read()
        answer = self.answers.pop(0)
        if isinstance(answer, web.Response):
            return answer
        if answer is not None:
            await asyncio.sleep(answer)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


def busy() -> web.Response:
    return web.json_response({"error": "full"}, status=503, headers={"Retry-After": "0"})


def fine(body: Any = None) -> web.Response:
    return web.json_response(body or {"predictions": []})


CASES = {
    "a refusal with Retry-After is tried again": ([busy(), fine()], 2, None),
    "a refusal without it is not": ([web.json_response({"error": "down"}, status=503)], 1, 503),
    "three refusals are enough": ([busy(), busy(), busy()], 3, 503),
    "a broken connection is not tried again": ([None], 1, FailureKind.UNAVAILABLE),
    "a client error is not tried again": ([web.json_response({"error": "no"}, status=422)], 1, 422),
    "a redirect is an error": ([web.Response(status=302, headers={"Location": "/x"})], 1, 302),
    "no JSON is an error": ([web.Response(text="hello")], 1, FailureKind.INTERNAL),
    "a list is an error": ([web.json_response([1])], 1, FailureKind.INTERNAL),
}


@pytest.mark.parametrize("case", CASES)
async def test_what_is_tried_again(case: str) -> None:
    answers, requests, failure = CASES[case]
    script = Script(*answers)
    async with serving(script.handle) as base, AsyncInferenceClient(base) as client:
        if failure is None:
            await client.predict("m", {})
        else:
            with pytest.raises(FailureError) as caught:
                await client.predict("m", {})
            assert failure in (caught.value.kind, getattr(caught.value, "status", None))
    assert len(script.requests) == requests


async def test_a_get_on_a_broken_connection_is_tried_again() -> None:
    script = Script(None, fine({"ready": True}))
    async with serving(script.handle) as base, AsyncInferenceClient(base) as client:
        assert await client.is_ready()
    assert len(script.requests) == 2


async def test_a_server_that_comes_later_is_waited_for_within_the_deadline(start: Start) -> None:
    async with AsyncInferenceClient("http://127.0.0.1:1", timeout_s=5) as client:
        began = time.monotonic()
        with pytest.raises(FailureError, match=r"cannot connect to 127\.0\.0\.1:1") as caught:
            await client.predict("m", {})
        assert caught.value.kind is FailureKind.UNAVAILABLE
        assert time.monotonic() - began < 3


async def test_the_deadline_ends_a_call_and_travels_with_it() -> None:
    script = Script(30.0)
    async with serving(script.handle) as base, AsyncInferenceClient(base) as client:
        with pytest.raises(FailureError, match=r"no answer within 0\.2 s") as caught:
            await client.predict("m", {}, timeout_s=0.2)
    assert caught.value.kind is FailureKind.DEADLINE
    assert 0 < float(script.requests[0].headers[DEADLINE_HEADER]) <= 0.2


BROKEN = {
    "no outputs": {"model_name": "m"},
    "outputs are no list": {"outputs": 3},
    "an output is text": {"outputs": ["x"]},
    "shape and data differ": {"outputs": [{"name": "o", "shape": [3], "datatype": "FP32", "data": [1]}]},
    "unknown datatype": {"outputs": [{"name": "o", "shape": [1], "datatype": "FP8", "data": [1]}]},
    "negative shape": {"outputs": [{"name": "o", "shape": [-1], "datatype": "FP32", "data": [1]}]},
    "ragged": {"outputs": [{"name": "o", "shape": [3], "datatype": "FP32", "data": [[1], [2, 3]]}]},
    "bytes that are not there": {
        "outputs": [{"name": "o", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}}]
    },
    "no data": {"outputs": [{"name": "o", "shape": [1], "datatype": "FP32"}]},
}


@pytest.mark.parametrize("case", BROKEN)
async def test_a_broken_v2_answer_is_one_sentence(case: str) -> None:
    script = Script(fine(BROKEN[case]))
    async with serving(script.handle) as base, AsyncInferenceClient(base) as client:
        with pytest.raises(FailureError, match="V2 answer cannot be read") as caught:
            await client.infer("m", {"x": np.array([1.0])})
    assert caught.value.kind is FailureKind.INTERNAL


async def test_an_answer_without_end_is_given_up() -> None:
    script = Script(web.Response(body=b"x" * 100_000))
    async with serving(script.handle) as base, AsyncInferenceClient(base, max_answer_bytes=1000) as client:
        with pytest.raises(FailureError, match=r"larger than 1000 bytes.*raise max_answer_bytes"):
            await client.predict("m", {})


@pytest.mark.parametrize(
    "address", ["ftp://x", "http://", "http://x?y=1", "http://u:p@x", "http://x:99999", ""]
)
def test_addresses_are_checked_when_the_client_is_made(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        AsyncInferenceClient(address)


async def test_a_client_that_nobody_closed_leaves_without_a_word(start: Start) -> None:
    base = await start(Echo("m"))
    code = f"from wakeful import InferenceClient; print(InferenceClient({base!r}).models())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert (process.returncode, out.decode().strip(), err.decode()) == (0, "['m']", "")
