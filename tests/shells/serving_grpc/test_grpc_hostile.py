"""gRPC messages made to hurt (attack checklist 17, 18): a status for each, memory held, the connection lives."""

from __future__ import annotations

import gzip
import resource
from typing import Any

import pytest
from raw_http2 import DATA, HEADERS, INFER, STREAM, block, connected, frame, message
from waiting_rig import until

from wakeful.core.errors import FailureError
from wakeful.core.protocol.oip_messages import message as message_class
from wakeful.serving import grpc_messages, http_body

INVALID, EXHAUSTED, UNIMPLEMENTED = 3, 8, 12
BOMB = gzip.compress(bytes(200 << 20), 1)


def split(content: bytes) -> bytes:
    """DATA frames of one stream, the last with its end."""
    pieces = [content[start : start + 16_000] for start in range(0, len(content), 16_000)] or [b""]
    return b"".join(frame(DATA, n == len(pieces) - 1, 1, piece) for n, piece in enumerate(pieces))


CASES: dict[str, tuple[bytes, bytes, int, str]] = {
    "length-of-4-gib": (block(), frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" + b"x" * 100), EXHAUSTED, "4294967295"),
    "bomb": (block(INFER, ("grpc-encoding", "gzip")), split(message(BOMB, 1)), EXHAUSTED, "inflated"),
    "half-a-message": (block(), frame(DATA, 1, 1, b"\0\0\0\0\x09abc"), INVALID, "complete"),
    "no-message": (block(), frame(DATA, 1, 1), INVALID, "complete"),
    "two-messages": (block(), frame(DATA, 1, 1, message(b"") * 2), INVALID, "one message"),
    "wrong-flag": (block(), frame(DATA, 1, 1, message(b"abc", 7)), INVALID, "flag"),
    "compressed-without-encoding": (block(), frame(DATA, 1, 1, message(b"abc", 1)), INVALID, "grpc-encoding"),
    "not-gzip": (
        block(INFER, ("grpc-encoding", "gzip")), frame(DATA, 1, 1, message(b"abc", 1)), INVALID, "not gzip",
    ),
    "unknown-encoding": (
        block(INFER, ("grpc-encoding", "snappy")), frame(DATA, 1, 1, message(b"")), UNIMPLEMENTED, "snappy",
    ),
    "timeout-of-words": (
        block(INFER, ("grpc-timeout", "soon")), frame(DATA, 1, 1, message(b"")), INVALID, "grpc-timeout",
    ),
    "get": (block(INFER, method="GET"), frame(DATA, 1, 1, message(b"")), INVALID, "POST"),
    "odd-path": (block("/../../etc/passwd"), frame(DATA, 1, 1, message(b"")), UNIMPLEMENTED, "no method"),
    "unknown-fields": (block(), split(message(b"\xf8\x7f\x01" * 1_000_000)), INVALID, "fields"),
    "empty-inputs": (block(), split(message(b"\x2a\x00" * 1_000_000)), INVALID, "fields"),
    "text-that-is-not-utf8": (block(), frame(DATA, 1, 1, message(b"\x0a\x02\xff\xfe")), INVALID, "UTF-8"),
    "stream-in-half": (block(STREAM), frame(DATA, 1, 1, b"\0\0\0\0\x09abc"), INVALID, "middle"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_each_gets_its_status_and_the_connection_lives(rig: Any, infer: Any, name: str) -> None:
    head, body, code, words = CASES[name]
    async with connected(rig.server.port) as raw:
        raw.send(frame(HEADERS, 0x4, 1, head), body)
        status, text = await raw.status(1)
        assert status == code and words in text.replace("%25", "%"), text
        raw.send(frame(HEADERS, 0x4, 3, block()), frame(DATA, 1, 3, message(infer().SerializeToString())))
        assert await raw.status(3) == (0, "")
    await until(lambda: rig.server.connections.budget.held_bytes == 0)
    await until(lambda: rig.server.edge.flights.count == 0)


async def test_contents_that_cost_more_than_they_weigh(rig: Any) -> None:
    """16 MiB of numbers as typed contents is the most; raw contents have no such bound."""
    request = message_class("inference.ModelInferRequest")(model_name="m")
    request.inputs.add(name="x", datatype="UINT64", shape=[20 << 20]).contents.uint64_contents.extend(
        [1] * (20 << 20)
    )
    body = request.SerializeToString()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with connected(rig.server.port) as raw:
        raw.send(frame(HEADERS, 0x4, 1, block()))
        raw.send(split(message(body)))
        status, text = await raw.status(1)
    assert status == INVALID and "raw_input_contents" in text
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10


async def test_server_memory_is_a_bound_for_all_calls(start: Any) -> None:
    rig = await start(max_buffered_bytes=1 << 20)
    async with connected(rig.server.port) as raw:
        raw.send(frame(HEADERS, 0x4, 1, block()), split(b"\0\x01\0\0\0" + bytes(3 << 20)))
        status, text = await raw.status(1)
        assert status == EXHAUSTED and "1048576" in text
    await until(lambda: rig.server.connections.budget.held_bytes == 0)


async def test_bytes_in_any_pieces_make_the_same_calls(rig: Any, infer: Any) -> None:
    content = message(infer().SerializeToString())
    whole = frame(HEADERS, 0x4, 1, block()) + b"".join(
        frame(DATA, 0, 1, content[n : n + 1]) for n in range(len(content))
    )
    async with connected(rig.server.port) as raw:
        for place in range(len(whole)):
            raw.send(whole[place : place + 1])
            await raw.writer.drain()
        raw.send(frame(DATA, 1, 1))
        assert await raw.status(1) == (0, "")


@pytest.mark.parametrize("piece", [1 << 12, 16_384, 100_003, 300_000])
def test_a_long_message_in_pieces_is_what_was_sent_and_charged_as_it_comes(piece: int) -> None:
    budget = http_body.Budget(1 << 22)
    unframer = grpc_messages.Unframer(1 << 21, "", budget)
    content = bytes(range(256)) * 4096
    wire = (grpc_messages.prefix(len(content)) + content) * 2
    taken = []
    for start in range(0, len(wire), piece):
        unframer.put(memoryview(wire)[start : start + piece])
        while (framed := unframer.take_framed()) is not None:
            taken.append(bytes(framed[1]))
        assert unframer.has_rest or taken
    assert taken == [content] * 2
    assert not unframer.has_rest
    unframer.release()
    assert budget.held_bytes == 0


def test_a_long_message_that_never_comes_holds_only_what_came() -> None:
    budget = http_body.Budget(1 << 20)
    unframer = grpc_messages.Unframer(1 << 26, "", budget)
    unframer.put(grpc_messages.prefix(1 << 26))
    assert budget.held_bytes < 100
    with pytest.raises(FailureError):
        for _ in range(100):
            unframer.put(bytes(16_384))
    unframer.release()
    assert budget.held_bytes == 0
