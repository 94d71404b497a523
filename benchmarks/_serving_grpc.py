"""The load generator of ``hack/bench serving`` for gRPC: raw HTTP/2 frames, one call at a time on each connection.

The same few bytes again and again, as ``_serving_load`` does it: a head of index bytes and a prebuilt message, the stream's
number counted on. An answer counts when its stream ends with trailers that say grpc-status 0. As grpcio's clients do
(seen with 1.85), it takes frames of 4 MiB and sends DATA frames as large as the server says it takes (16 KiB where it says
nothing).
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import hpack

from benchmarks._serving_load import Round
from wakeful.core.protocol.oip_messages import ModelInferRequest
from wakeful.kit.http2 import frames

FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/inference.GRPCInferenceService/ModelInfer"),
    (":authority", "127.0.0.1"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("user-agent", "grpc-python/1.85.1 grpc-c/52.0.0 (linux; chttp2)"),
    ("grpc-accept-encoding", "identity, deflate, gzip"),
]
FRAME_BYTES = 4 << 20
"""Of an answer's frames: what grpcio's clients say they take."""


def message(model: str, datatype: str, shape: list[int], raw: bytes) -> bytes:
    """A ``ModelInferRequest`` with its prefix."""
    request = ModelInferRequest(model_name=model)
    request.inputs.add(name="input-0", datatype=datatype, shape=shape)
    request.raw_input_contents.append(raw)
    content: bytes = request.SerializeToString()
    return b"\0" + len(content).to_bytes(4, "big") + content


class _Caller(asyncio.Protocol):
    """One connection."""

    def __init__(self, content: bytes, latencies_s: list[float]) -> None:
        self._content = memoryview(content)
        self._left = 0
        self._skip = 0
        """Bytes of an answer's DATA frame that are still to come."""
        self._frame_bytes = frames.DEFAULT_FRAME_BYTES
        self._window = self._first_window = self._stream_window = frames.DEFAULT_WINDOW
        self._latencies_s = latencies_s
        self._decoder, encoder = hpack.Decoder(), hpack.Encoder()
        first, self._head = encoder.encode(FIELDS), encoder.encode(FIELDS)
        self._next = first
        self._number = -1
        self._asked = 0.0
        self._buffer = b""
        self.failed = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        window = frames.window_update(0, 1 << 30)
        self._transport.write(
            frames.PREFACE
            + frames.settings(
                {
                    frames.Setting.INITIAL_WINDOW_SIZE: 1 << 30,
                    frames.Setting.MAX_FRAME_SIZE: FRAME_BYTES,
                }
            )
            + window
        )

    def ask(self) -> None:
        self._number += 2
        self._left, self._stream_window = len(self._content), self._first_window
        self._asked = time.perf_counter()
        self._push(frames.headers(self._number, self._next, is_last=False))
        self._next = self._head

    def _push(self, *out: Any) -> None:
        """Send what the windows allow of the message."""
        parts = list(out)
        while self._left and (room := min(self._window, self._stream_window, self._frame_bytes)) > 0:
            start = len(self._content) - self._left
            piece = self._content[start : start + room]
            self._left -= len(piece)
            self._window -= len(piece)
            self._stream_window -= len(piece)
            parts += (frames.head(len(piece), frames.DATA, int(not self._left), self._number), piece)
        if parts:
            self._transport.write(b"".join(parts))

    def data_received(self, data: bytes) -> None:
        place = min(self._skip, len(data))
        self._skip -= place
        if self._buffer:
            data = self._buffer + data
        while len(data) - place >= frames.HEAD_BYTES:
            high, low, kind, flags, number = frames.unpack_head(data, place)
            end = place + frames.HEAD_BYTES + (high << 8 | low)
            if kind == frames.DATA:  # nobody reads it
                self._skip, place = max(0, end - len(data)), min(end, len(data))
                continue
            if end > len(data):
                break
            payload, place = data[place + frames.HEAD_BYTES : end], end
            self._on_frame(kind, flags, number, payload)
        self._buffer = data[place:]

    def _on_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == frames.HEADERS:
            fields: dict[Any, Any] = dict(self._decoder.decode(payload))
            if not flags & frames.END_STREAM:
                return
            if fields.get("grpc-status") != "0":
                self.failed = str(fields)
                self._transport.close()
                return
            self._latencies_s.append(time.perf_counter() - self._asked)
            self.ask()
        elif kind == frames.SETTINGS and not flags & frames.ACK:
            for place in range(0, len(payload), 6):
                if payload[place : place + 2] == b"\0\x05":
                    self._frame_bytes = int.from_bytes(payload[place + 2 : place + 6], "big")
                if payload[place : place + 2] == b"\0\x04":
                    window = int.from_bytes(payload[place + 2 : place + 6], "big")
                    self._stream_window += window - self._first_window
                    self._first_window = window
            self._push(frames.SETTINGS_ACK)
        elif kind == frames.WINDOW_UPDATE:
            if number == 0:
                self._window += int.from_bytes(payload, "big")
            elif number == self._number:
                self._stream_window += int.from_bytes(payload, "big")
            self._push()
        elif kind == frames.PING and not flags & frames.ACK:
            self._transport.write(frames.ping(payload, is_answer=True))
        elif kind in (frames.RST_STREAM, frames.GOAWAY):
            self.failed = f"the server ended the call: {payload!r}"
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.failed = self.failed or "the server closed the connection"

    def close(self) -> None:
        self._transport.abort()


async def saturate(port: int, content: bytes, connections: int, seconds: float) -> Round:
    """As many calls as the server answers. Raises ``RuntimeError`` for any status but OK."""
    loop = asyncio.get_running_loop()
    found = Round()
    callers = []
    for _ in range(connections):
        _, caller = await loop.create_connection(
            lambda: _Caller(content, found.latencies_s), "127.0.0.1", port
        )
        callers.append(caller)
    began, computed_s = time.perf_counter(), time.process_time()
    for caller in callers:
        caller.ask()
    await asyncio.sleep(seconds)
    found.seconds = time.perf_counter() - began
    found.busy = (time.process_time() - computed_s) / found.seconds
    found.latencies_s = list(found.latencies_s)
    failed = next((caller.failed for caller in callers if caller.failed), "")
    for caller in callers:
        caller.close()
    await asyncio.sleep(0.02)
    if failed:
        raise RuntimeError(failed)
    return found
