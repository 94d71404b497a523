"""Requests that are no requests count for the model that they name, in every protocol; unknown names make no labels."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest

from wakeful.core.protocol import oip_proto
from wakeful.core.protocol.oip_messages import ModelInferRequest

SERVICE = "/inference.GRPCInferenceService/"
SHORT = ModelInferRequest(
    model_name="m",
    inputs=[{"name": "x", "datatype": "FP32", "shape": [2]}],
    raw_input_contents=[b"\0\0\0\0"],
).SerializeToString()


def large(name: str) -> bytes:
    """A message that is decoded in a thread, and has no inputs."""
    content: bytes = ModelInferRequest(model_name=name, id="a" * 300_000).SerializeToString()
    return content


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (SHORT, "m"),
        (SHORT[:-2], "m"),
        (large("m"), "m"),
        (ModelInferRequest(model_name="m").SerializeToString(), "m"),
        (ModelInferRequest(model_name="other").SerializeToString(), "-"),
        (b"\x0a\x01\xff", "-"),
        (b"\xff" * 20, "-"),
        (b"", "-"),
    ],
    ids=["size", "cut-off", "large", "no-inputs", "unknown", "no-text", "no-message", "empty"],
)
@pytest.mark.parametrize("method", ["ModelInfer", "ModelStreamInfer"])
async def test_an_invalid_message_counts_for_the_model_it_names(
    start: Any, content: bytes, name: str, method: str
) -> None:
    client = await start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{client.server.port}") as channel:
        if method == "ModelInfer":
            with pytest.raises(grpc.aio.AioRpcError):
                await channel.unary_unary(SERVICE + method)(content, timeout=10)
        else:
            call = channel.stream_stream(SERVICE + method)(iter([content]), timeout=10)
            assert await call.read()
    ((model, protocol, status),) = client.server.edge.plane.metrics.counts()
    assert (model, protocol, status) == (name, "grpc", 400)


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/v2/models/m/infer"])
async def test_a_model_that_is_not_ready_is_named(start: Any, path: str) -> None:
    client = await start(enable_repository=True)
    assert (await client.ask("POST", "/v2/repository/models/m/unload"))[0] == 200
    assert (await client.ask("POST", path, json={}))[0] == 503
    ((model, _, status),) = client.server.edge.plane.metrics.counts()
    assert (model, status) == ("m", 503)


def test_a_name_is_found_behind_other_fields_and_not_beyond_the_end() -> None:
    assert oip_proto.name_in(b"\x08\x05\x11" + bytes(8) + b"\x1d" + bytes(4) + b"\x1a\x02id\x0a\x01m") == "m"
    assert oip_proto.name_in(b"\x0a\x05m") == oip_proto.name_in(b"\x0b") == oip_proto.name_in(b"\x1a") == ""
