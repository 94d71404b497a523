"""Headers that model code gives its answer: odd ones are said or left out, never a connection without an answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import oip_messages
from wakeful.serving import Context, InferRequest, InferResponse, Model


class Says(Model):
    def __init__(self, headers: Any, error: str = "") -> None:
        super().__init__("m")
        self._headers = headers
        self._error = error

    def predict(self, payload: Any, context: Context) -> Any:
        context.response_headers.update(self._headers)
        if self._error:
            raise InvalidError(self._error)
        if isinstance(payload, InferRequest):
            return InferResponse(list(payload.inputs))
        return {"predictions": [1]}


@pytest.mark.parametrize(
    ("headers", "status", "sent"),
    [
        ({"X-A": ["a", "b"]}, 200, "['a', 'b']"),
        ({"X-A": {"a": 1}}, 200, "{'a': 1}"),
        ({"X-A": 5}, 200, "5"),
        ({"X-A": None}, 200, "None"),
        ({"X-A": "ü"}, 200, "ü"),
        ({5: "a"}, 200, None),
        ({b"x": "a"}, 200, None),
        ({"X-A": "a\r\nX-B: c"}, 500, None),
    ],
    ids=["list", "dict", "number", "None", "text", "name of 5", "name of bytes", "lines"],
)
async def test_any_value_gets_an_answer(start: Any, headers: Any, status: int, sent: str | None) -> None:
    client = await start(Says(headers))
    found, _, response = await client.ask("POST", "/v1/models/m:predict", json={"instances": [1]})
    assert (found, response.headers.get("X-A")) == (status, sent)
    assert "X-B" not in response.headers


@pytest.mark.parametrize("name", ["x-request-id", "X-REQUEST-ID", "X-Request-Id"])
async def test_the_request_id_is_the_servers_and_there_once(start: Any, name: str) -> None:
    client = await start(Says({name: "mine"}))
    _, _, response = await client.ask(
        "POST", "/v1/models/m:predict", json={"instances": [1]}, headers={"X-Request-Id": "asked"}
    )
    assert response.headers.getall("X-Request-Id") == ["asked"]


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Any]:
    """A call of the model over gRPC."""
    request = oip_messages.ModelInferRequest(
        model_name="m",
        inputs=[{"name": "x", "datatype": "INT8", "shape": [1]}],
        raw_input_contents=[b"\1"],
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        yield call(request.SerializeToString(), timeout=10)


async def test_binary_metadata_is_encoded_and_no_name_ends_a_call(start: Any) -> None:
    client = await start(Says({"X-Bin": "not base64", "y-bin": b"\0\xff", 5: "a", "z": ["a"]}))
    async with calling(client.server.port) as call:
        await call
        told = dict(await call.trailing_metadata())
    assert (told["x-bin"], told["y-bin"], told["z"]) == (b"not base64", b"\0\xff", "['a']")


@pytest.mark.parametrize("length", [9_000, 200_000])
async def test_metadata_that_no_client_takes_is_refused_by_its_name(start: Any, length: int) -> None:
    client = await start(Says({"X-Short": "a", "X-Long": "b" * length}))
    async with calling(client.server.port) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "the model's headers take" in str(caught.value.details())
    assert "the longest is x-long" in str(caught.value.details())


async def test_metadata_that_clients_take_comes(start: Any) -> None:
    client = await start(Says({"X-Long": "b" * 7_000}))
    async with calling(client.server.port) as call:
        await call
        assert dict(await call.trailing_metadata())["x-long"] == "b" * 7_000


@pytest.mark.parametrize("text", ["a" * 100_000, "雪" * 5_000, "%" * 4_096], ids=["plain", "snow", "percent"])
@pytest.mark.parametrize("headers", [{}, {"X-A": "a" * 6_000}], ids=["alone", "with-headers"])
async def test_a_very_long_error_is_cut_and_says_so(start: Any, text: str, headers: Any) -> None:
    client = await start(Says(headers, text))
    async with calling(client.server.port) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    details = caught.value.details() or ""
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (
        details.endswith(" [cut]") and text.startswith(details.removesuffix(" [cut]")) and len(details) > 400
    )


async def test_an_error_that_just_fits_is_whole(start: Any) -> None:
    client = await start(Says({}, "a" * 4_096))
    async with calling(client.server.port) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
    assert caught.value.details() == "a" * 4_096
