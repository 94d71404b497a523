"""``ModelStreamInfer``: order, errors inside the stream, answers in parts, back-pressure both ways, the ends of streams."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from waiting_rig import until


async def test_answers_come_in_order_and_errors_stay_inside(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    for n in range(30):
        await stream.write(infer(model="nope" if n == 7 else "m", say=str(n)))
    await stream.done_writing()
    answers = [answer async for answer in stream]
    told = [a.error_message or a.infer_response.parameters["told"].string_param for a in answers]
    wanted = [str(n) for n in range(30)]
    wanted[7] = "Model with name nope does not exist."
    assert told == wanted
    assert await stream.code() is grpc.StatusCode.OK


async def test_each_answer_comes_before_the_next_request(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    for n in range(3):
        await stream.write(infer(say=str(n)))
        answer = await asyncio.wait_for(stream.read(), 5)
        assert answer.infer_response.parameters["told"].string_param == str(n)
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF


async def test_model_that_answers_in_parts(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    await stream.write(infer(do="parts"))
    await stream.done_writing()
    assert len([a async for a in stream if not a.error_message]) == 3


async def test_model_failure_is_a_message(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    request = infer(do="raise")
    request.id = "r1"
    await stream.write(request)
    await stream.done_writing()
    answers = [answer async for answer in stream]
    assert "KeyError" in answers[0].error_message and answers[0].infer_response.id == "r1"


async def test_message_larger_than_every_window(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    body = bytes(20 << 20)
    await stream.write(infer(body))
    await stream.done_writing()
    answer = await stream.read()
    assert answer.infer_response.raw_output_contents == [body]


async def test_reader_that_rests_holds_the_server_back(rig: Any, infer: Any) -> None:
    stream = rig.stream()

    async def write() -> None:
        for _ in range(40):
            await stream.write(infer(bytes(1 << 20)))
        await stream.done_writing()

    writing = asyncio.create_task(write())
    await until(lambda: len(rig.model.seen) >= 16)
    await asyncio.sleep(0.3)  # time in which an unbounded server would go on
    wire = next(iter(rig.server.connections.wires))
    assert wire.connection.pending_bytes < 4 << 20 and len(rig.model.seen) < 40
    assert len([answer async for answer in stream]) == 40
    await writing


async def test_cancelled_stream_cancels_its_requests(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    await stream.write(infer(do="wait"))
    await until(lambda: len(rig.model.seen) == 1)
    stream.cancel()
    await until(lambda: rig.model.cancelled == 1)
    await until(lambda: rig.server.edge.flights.count == 0)


async def test_idle_stream_does_not_hold_the_drain(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    await stream.write(infer())
    await stream.read()
    assert await asyncio.wait_for(rig.server.drain(), 2) is True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_streams_are_bounded(rig: Any, infer: Any) -> None:
    stream = rig.stream()
    await stream.write(infer())
    await stream.read()
    server = rig.server._grpc.__self__
    server.open_streams += server.limits.streams
    assert await rig.stream().code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    server.open_streams -= server.limits.streams
    stream.cancel()
    counted = rig.server.edge.plane.metrics.registry.get_sample_value
    assert counted("wakeful_serving_rejected_total", {"reason": "streams"}) == 1


async def test_deadline_ends_a_stream(rig: Any, infer: Any) -> None:
    method = rig.channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
    call = method(timeout=0.3)
    await call.write(infer(do="wait").SerializeToString())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: rig.model.cancelled == 1)
