"""Headers that model code gives its answer: odd ones are said or left out, never a connection without an answer."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest

from wakeful.core.protocol import oip_messages
from wakeful.serving import Context, InferRequest, InferResponse, Model


class Says(Model):
    def __init__(self, headers: Any) -> None:
        super().__init__("m")
        self._headers = headers

    def predict(self, payload: Any, context: Context) -> Any:
        context.response_headers.update(self._headers)
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


async def test_binary_metadata_is_encoded_and_no_name_ends_a_call(start: Any) -> None:
    client = await start(Says({"X-Bin": "not base64", "y-bin": b"\0\xff", 5: "a", "z": ["a"]}))
    request = oip_messages.ModelInferRequest(
        model_name="m",
        inputs=[{"name": "x", "datatype": "INT8", "shape": [1]}],
        raw_input_contents=[b"\1"],
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{client.server.port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(
            request.SerializeToString(), timeout=10
        )
        await call
        told = dict(await call.trailing_metadata())
    assert (told["x-bin"], told["y-bin"], told["z"]) == (b"not base64", b"\0\xff", "['a']")
