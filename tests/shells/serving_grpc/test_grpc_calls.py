"""Unary gRPC calls with the real grpcio client: answers, statuses, metadata, deadlines, cancellation, limits, drain."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from waiting_rig import until

from wakeful.core.protocol.oip_messages import message
from wakeful.serving.grpc_call import UnaryCall

CODE = grpc.StatusCode


async def failure(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_inference_raw_and_typed(rig: Any, infer: Any) -> None:
    answer = await rig.method("ModelInfer")(infer())
    assert answer.raw_output_contents == [bytes(range(16))]
    assert answer.outputs[0].parameters["binary_data_size"].int64_param == 16
    typed = await rig.method("ModelInfer")(infer(raw=False))
    assert list(typed.outputs[0].contents.fp32_contents) == [1.0, 2.0, 3.0, 4.5]
    assert not typed.raw_output_contents and typed.model_name == "m" and typed.id


async def test_raw_tensor_is_a_view_of_what_was_received(rig: Any, infer: Any) -> None:
    body = bytes(3 * 224 * 224 * 4)
    answer = await rig.method("ModelInfer")(infer(body))
    assert answer.raw_output_contents == [body]
    data = rig.model.seen[-1].inputs[0].data
    assert isinstance(data, memoryview) and len(data.obj) > len(body)


async def test_parameters_go_in_and_out(rig: Any, infer: Any) -> None:
    answer = await rig.method("ModelInfer")(infer(say="ä"))
    assert answer.parameters["told"].string_param == "ä"


async def test_metadata_reaches_the_model_and_its_headers_come_back(rig: Any, infer: Any) -> None:
    call = rig.method("ModelInfer")(
        infer(do="headers"), metadata=(("x-asked", "yes"), ("x-request-id", "abc"))
    )
    await call
    assert dict(await call.trailing_metadata())["x-model"] == "yes"
    assert dict(await call.initial_metadata())["x-request-id"] == "abc"
    assert "text/evil" not in str(await call.trailing_metadata())


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"model": "nope"}, CODE.NOT_FOUND, "Model with name nope does not exist."),
        ({"do": "raise"}, CODE.INTERNAL, "KeyError"),
        ({"do": "overload"}, CODE.RESOURCE_EXHAUSTED, "no room"),
        ({"do": "parts"}, CODE.UNIMPLEMENTED, "call ModelStreamInfer"),
    ],
    ids=["unknown-model", "model-raises", "overload", "parts"],
)
async def test_failures_have_the_status_of_their_kind(
    rig: Any, infer: Any, change: dict[str, str], code: CODE, words: str
) -> None:
    error = await failure(rig.method("ModelInfer")(infer(**change)))
    assert error.code() is code and words in (error.details() or "")
    assert await rig.method("ModelInfer")(infer())


@pytest.mark.parametrize("change", [{}, {"model": "nope"}, {"do": "raise"}])
async def test_a_call_that_has_ended_is_gone_with_its_message(
    rig: Any, infer: Any, change: dict[str, str]
) -> None:
    """Left to the garbage collector, calls of 4 MiB kept 245 MiB: it counts objects, not bytes."""
    await asyncio.gather(rig.method("ModelInfer")(infer(**change)), return_exceptions=True)
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            await asyncio.gather(rig.method("ModelInfer")(infer(**change)), return_exceptions=True)
        assert [it for it in gc.get_objects() if type(it) is UnaryCall] == []
    finally:
        gc.enable()


async def test_overload_says_when_to_come_back(rig: Any, infer: Any) -> None:
    error = await failure(rig.method("ModelInfer")(infer(do="overload")))
    assert dict(error.trailing_metadata())["grpc-retry-pushback-ms"] == "2000"


async def test_requests_at_once_are_limited_as_over_http(start: Any, infer: Any) -> None:
    rig = await start(max_concurrency=1)
    waiting = rig.method("ModelInfer")(infer(do="wait"))
    await until(lambda: len(rig.model.seen) == 1)
    error = await failure(rig.method("ModelInfer")(infer()))
    assert error.code() is CODE.RESOURCE_EXHAUSTED and "max_concurrency" in (error.details() or "")
    rig.model.gate.set()
    assert (await waiting).model_name == "m"


async def test_unknown_method_is_named(rig: Any) -> None:
    error = await failure(rig.channel.unary_unary("/inference.GRPCInferenceService/Dance")(b""))
    assert error.code() is CODE.UNIMPLEMENTED and "Dance" in (error.details() or "")


async def test_garbage_is_invalid(rig: Any) -> None:
    for body in (b"\xff\xff\xff", b"\x0a\x02\xff\xfe", b"\xff" * 100_000):
        error = await failure(rig.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")(body))
        assert error.code() is CODE.INVALID_ARGUMENT, body[:4]


async def test_deadline_ends_the_call_and_the_model_knows(rig: Any, infer: Any) -> None:
    error = await failure(rig.method("ModelInfer")(infer(do="wait"), timeout=0.3))
    assert error.code() is CODE.DEADLINE_EXCEEDED
    assert rig.model.contexts[-1].deadline is not None
    await until(lambda: rig.model.cancelled == 1)
    await until(lambda: rig.server.edge.flights.count == 0)


async def test_cancellation_reaches_the_model(rig: Any, infer: Any) -> None:
    call = rig.method("ModelInfer")(infer(do="wait"))
    await until(lambda: len(rig.model.seen) == 1)
    call.cancel()
    await until(lambda: rig.model.cancelled == 1)
    await until(lambda: rig.server.pool.calls == 0)
    assert rig.server.edge.plane.metrics.counts()["m", "grpc", 499] == 1


async def test_many_calls_at_once(rig: Any, infer: Any) -> None:
    calls = [rig.method("ModelInfer")(infer(say=str(n))) for n in range(200)]
    answers = await asyncio.gather(*calls)
    assert [a.parameters["told"].string_param for a in answers] == [str(n) for n in range(200)]


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compression_both_ways(rig: Any, infer: Any, algorithm: Any) -> None:
    for size in (100, 400_000):
        answer = await rig.method("ModelInfer")(infer(bytes(size)), compression=algorithm)
        assert answer.raw_output_contents == [bytes(size)]


async def test_message_limits_both_ways(start: Any, infer: Any) -> None:
    rig = await start(grpc_max_receive_message_length=1 << 20, grpc_max_send_message_length=1 << 20)
    error = await failure(rig.method("ModelInfer")(infer(bytes(2 << 20))))
    assert error.code() is CODE.RESOURCE_EXHAUSTED and "grpc_max_receive" in (error.details() or "")
    error = await failure(rig.method("ModelInfer")(infer(do="big")))
    assert error.code() is CODE.RESOURCE_EXHAUSTED and "grpc_max_send" in (error.details() or "")
    bomb = infer(bytes(8 << 20))
    error = await failure(rig.method("ModelInfer")(bomb, compression=grpc.Compression.Gzip))
    assert error.code() is CODE.RESOURCE_EXHAUSTED and "inflated" in (error.details() or "")
    assert await rig.method("ModelInfer")(infer())


async def test_big_answer_waits_for_the_client_and_arrives(rig: Any, infer: Any) -> None:
    answer = await rig.method("ModelInfer")(infer(do="big"))
    assert len(answer.raw_output_contents[0]) == 8 << 20


async def test_the_port_speaks_http_1_beside_it(rig: Any, infer: Any) -> None:
    assert await rig.method("ModelInfer")(infer())
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{rig.server.port}/v2/health/ready") as response,
    ):
        assert await response.json() == {"ready": True}


async def test_drain_answers_what_is_in_flight_and_says_goaway(rig: Any, infer: Any) -> None:
    waiting = rig.method("ModelInfer")(infer(do="wait"))
    await until(lambda: len(rig.model.seen) == 1)
    drain = asyncio.create_task(rig.server.drain())
    await until(lambda: rig.server.startup.is_draining)
    ready = await rig.method("ServerReady")(message("inference.ServerReadyRequest")())
    assert ready.ready is False
    rig.model.gate.set()
    assert (await waiting).model_name == "m"
    assert await drain is True
    assert (await failure(rig.method("ModelInfer")(infer(), timeout=2))).code() is CODE.UNAVAILABLE


async def test_grpc_can_be_switched_off_and_have_a_port_of_its_own(start: Any, infer: Any) -> None:
    off = await start(enable_grpc=False)
    assert (await failure(off.method("ModelInfer")(infer()))).code() is CODE.UNIMPLEMENTED
