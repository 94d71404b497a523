"""HTTP/2 made to hurt (attack checklist 9 and 18): refused at the bound, memory held, everybody else served."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import hpack
import pytest
from raw_http2 import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    INFER,
    PING,
    PREFACE,
    PRIORITY,
    PUSH,
    RST,
    SETTINGS,
    WINDOW,
    block,
    connected,
    frame,
    message,
)  # fmt: skip
from waiting_rig import until

CALM = 11
PROTOCOL, FLOW, FRAME_SIZE, COMPRESSION = 1, 3, 6, 9


@pytest.fixture
async def alive(rig: Any, infer: Any) -> AsyncIterator[Any]:
    """After the attack another client is served, and nothing is left."""
    yield rig
    assert await rig.method("ModelInfer")(infer(), timeout=10)
    await until(lambda: rig.server.edge.flights.count == 0)
    await until(lambda: rig.server.connections.budget.held_bytes == 0)


def bad_frames() -> dict[str, tuple[bytes, int]]:
    """What ends the connection, and its code."""
    opened = frame(HEADERS, 0x4, 1, block())
    return {
        "window-over-its-limit": (frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff"), FLOW),
        "window-of-nothing": (frame(WINDOW, 0, 0, bytes(4)), FLOW),
        "window-of-3-bytes": (frame(WINDOW, 0, 0, bytes(3)), FRAME_SIZE),
        "initial-window-over": (frame(SETTINGS, 0, 0, b"\0\x04\x80\0\0\0"), FLOW),
        "frame-size-setting": (frame(SETTINGS, 0, 0, b"\0\x05\0\0\0\1"), PROTOCOL),
        "push-setting": (frame(SETTINGS, 0, 0, b"\0\x02\0\0\0\2"), PROTOCOL),
        "odd-settings": (frame(SETTINGS, 0, 0, b"\0\x02\0"), FRAME_SIZE),
        "ping-of-7-bytes": (frame(PING, 0, 0, bytes(7)), FRAME_SIZE),
        "data-on-no-stream": (frame(DATA, 0, 0, b"x"), PROTOCOL),
        "data-on-idle-stream": (frame(DATA, 0, 5, b"x"), PROTOCOL),
        "reset-of-idle-stream": (frame(RST, 0, 5, bytes(4)), PROTOCOL),
        "even-stream": (frame(HEADERS, 0x5, 2, block()), PROTOCOL),
        "push-promise": (frame(PUSH, 0x4, 1, bytes(4)), PROTOCOL),
        "continuation-alone": (frame(CONTINUATION, 0x4, 1), PROTOCOL),
        "interrupted-block": (frame(HEADERS, 0, 1, b"\x82") + frame(PING, 0, 0, bytes(8)), PROTOCOL),
        "other-stream-continues": (frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0x4, 3), PROTOCOL),
        "huge-frame": (b"\xff\xff\xff" + bytes((HEADERS, 0x4)) + b"\0\0\0\1", FRAME_SIZE),
        "padding-over": (opened + frame(DATA, 0x8, 1, b"\xffx"), PROTOCOL),
        "no-hpack": (frame(HEADERS, 0x5, 1, b"\xff\xff\xff\xff\xff"), COMPRESSION),
        "table-over-the-limit": (frame(HEADERS, 0x5, 1, b"\x3f\xff\xff\xff\x07" + block()), COMPRESSION),
        "data-frame-over-its-limit": (opened + frame(DATA, 0, 1, bytes(300_000)), FRAME_SIZE),
    }  # fmt: skip


@pytest.mark.parametrize("name", bad_frames())
async def test_broken_frames_end_the_connection_with_a_code(alive: Any, name: str) -> None:
    raw_bytes, code = bad_frames()[name]
    rig = alive
    async with connected(rig.server.port) as raw:
        raw.send(raw_bytes)
        told = await raw.end()
        assert told is not None and told[0] == code and told[1], told


FLOODS = {
    "ping": frame(PING, 0, 0, bytes(8)) * 20_000,
    "settings": frame(SETTINGS, 0, 0, b"\0\x04\0\0\xff\xff" * 100) * 5_000,
    "priority": frame(PRIORITY, 0, 1, bytes(5)) * 20_000,
    "unknown": frame(0x77, 0, 1, b"x") * 20_000,
    "window": frame(WINDOW, 0, 0, b"\0\0\0\1") * 20_000,
    "empty-data": frame(HEADERS, 0x4, 1, block()) + frame(DATA, 0, 1) * 20_000,
    "goaway": frame(GOAWAY, 0, 0, bytes(8)) * 20_000,
    "empty-continuation": frame(HEADERS, 0, 1, b"\x82") + frame(CONTINUATION, 0, 1) * 20_000,
    "refused-heads": b"".join(frame(HEADERS, 0x5, n, b"\x82") for n in range(1, 40_000, 2)),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_are_cut_off(alive: Any, name: str) -> None:
    async with connected(alive.server.port) as raw:
        raw.send(FLOODS[name])
        told = await raw.end()
        assert told is None or told[0] == CALM, told


async def test_rapid_reset_is_cut_off_and_no_work_is_left(alive: Any, infer: Any) -> None:
    body = message(infer(do="wait").SerializeToString())
    attack = b"".join(
        frame(HEADERS, 0x4, n, block()) + frame(DATA, 1, n, body) + frame(RST, 0, n, b"\0\0\0\x08")
        for n in range(1, 10_000, 2)
    )
    async with connected(alive.server.port) as raw:
        raw.send(attack)
        told = await raw.end()
        assert told is None or told[0] == CALM
    await until(lambda: alive.server.pool.calls == 0)


async def test_huge_metadata_is_refused(alive: Any) -> None:
    for size, words in ((100_000, "metadata is larger"), (1_000_000, "")):
        async with connected(alive.server.port) as raw:
            content = block(INFER, ("x-big", "x" * size))
            raw.send(frame(HEADERS, 0, 1, content[:16_000]))
            for start in range(16_000, len(content), 16_000):
                raw.send(
                    frame(
                        CONTINUATION,
                        0x4 if start + 16_000 >= len(content) else 0,
                        1,
                        content[start : start + 16_000],
                    )
                )
            if words:
                code, text = await raw.status(1)
                assert code == 8 and words in text
            else:
                told = await raw.end()
                assert told is None or told[0] == CALM


async def test_small_block_of_a_huge_list_is_refused(alive: Any) -> None:
    """HPACK's bomb: one large entry in the table, named by thousands of single bytes."""
    head = [(":method", "POST"), (":scheme", "http"), (":path", INFER), ("content-type", "application/grpc")]
    plain = bytes(hpack.Encoder().encode([(name, value, True) for name, value in head], huffman=False))
    big = bytes(hpack.Encoder().encode([("x", "y" * 3_900)], huffman=False))
    async with connected(alive.server.port) as raw:
        raw.send(frame(HEADERS, 0x5, 1, plain + big))
        assert (await raw.status(1))[0] == 3
        raw.send(frame(HEADERS, 0x5, 3, plain + b"\xbe" * 15_000))
        told = await raw.end()
        assert told is not None and told[0] == CALM


async def test_streams_at_once_are_bounded(alive: Any, infer: Any) -> None:
    body = message(infer(do="wait").SerializeToString())
    async with connected(alive.server.port) as raw:
        for n in range(1, 1_000, 2):
            raw.send(frame(HEADERS, 0x4, n, block()), frame(DATA, 1, n, body))
        refused = await raw.wait_for(RST)
        assert refused.payload == b"\0\0\0\x07"
        wire = next(iter(alive.server.connections.wires))
        assert len(wire.connection.streams) <= 256


async def test_no_read_client_is_bounded(alive: Any, infer: Any) -> None:
    """Answers of 8 MiB for a client whose windows are shut."""
    body = message(infer(do="big").SerializeToString())
    async with connected(alive.server.port, PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0")) as raw:
        for n in range(1, 60, 2):
            raw.send(frame(HEADERS, 0x4, n, block()), frame(DATA, 1, n, body))
            await asyncio.sleep(0.01)
        refused = await raw.wait_for(RST)
        assert refused.payload == b"\0\0\0\x07"
        wires = [wire for wire in alive.server.connections.wires if wire.connection.streams]
        assert sum(wire.connection.pending_bytes for wire in wires) < 100 << 20
    await until(lambda: not [w for w in alive.server.connections.wires if w.connection.streams])


async def test_client_that_reads_nothing_at_all_is_cut_off(alive: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", alive.server.port, limit=1)
    writer.write(PREFACE + frame(SETTINGS))
    writer.transport.pause_reading()
    for _ in range(200):
        writer.write(frame(PING, 0, 0, bytes(8)) * 100)
        if writer.transport.is_closing():
            break
        await asyncio.sleep(0.001)
    await until(lambda: len(alive.server.connections.wires) <= 1)
    writer.close()
    del reader
    gc.collect()


async def test_bodies_that_stop_coming_get_their_answer(start: Any) -> None:
    rig = await start(body_timeout_s=0.3)
    async with connected(rig.server.port) as raw:
        raw.send(frame(HEADERS, 0x4, 1, block()), frame(DATA, 0, 1, b"\0\0\0"))
        code, text = await raw.status(1)
        assert code == 4 and "did not arrive" in text
        raw.send(frame(HEADERS, 0x4, 3, block("/v1/models/m:predict", kind="")), frame(DATA, 0, 3, b"{"))
        assert raw.fields(await raw.wait_for(HEADERS))[":status"] == "408"
    await until(lambda: rig.server.connections.budget.held_bytes == 0)


async def test_answer_that_nobody_takes_is_given_up(start: Any, infer: Any) -> None:
    rig = await start(body_timeout_s=0.3)
    async with connected(rig.server.port, PREFACE + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0")) as raw:
        raw.send(
            frame(HEADERS, 0x4, 1, block()), frame(DATA, 1, 1, message(infer(do="big").SerializeToString()))
        )
        assert (await raw.wait_for(RST)).stream == 1
    await until(lambda: rig.server.edge.flights.count == 0)


async def test_idle_connection_is_closed_with_goaway(start: Any) -> None:
    rig = await start(timeout_keep_alive=1)
    async with connected(rig.server.port) as raw:
        assert await raw.end() == (0, "")


async def test_upgrade_from_http_1_is_no_way_in(alive: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", alive.server.port)
    writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: m\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                 b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n")  # fmt: skip
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_ping_is_answered_and_window_credit_flows(alive: Any) -> None:
    async with connected(alive.server.port) as raw:
        raw.send(frame(PING, 0, 0, b"12345678"))
        answer = await raw.wait_for(PING)
        assert (answer.flags, answer.payload) == (1, b"12345678")
