"""Measure what relaying a stream of tokens adds to each token: 100 streams, straight from an engine, through the server, and
through a floor that only copies bytes between the two sockets: what the machine itself adds to any relay.

    .venv/bin/python -m benchmarks.sse [--streams 100] [--tokens 60] [--interval_ms 50] [--rounds 5] [--burst]

The engine is a few lines of asyncio on a unix socket that speaks what vLLM's server speaks; every event carries the
monotonic time at which it was written, which the client compares with its own on arrival (one machine, one clock).
The three kinds of rounds alternate. Tokens of the streams are spread over the interval; with ``--burst`` all streams get
theirs in the same moment, as an engine that steps in batches gives them. Server and floor run on one core, engine and
client on the other, where there are two. Prints one JSON object, microseconds; ``added`` are differences of medians over rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import uvloop

from benchmarks._ports import free_port

BODY = b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}'
MARK = b'"at":'
START_S = 30.0
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
FILLING = (
    b'"object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" token"},'
    b'"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n'
)


class Engine:
    """The streams that are open, and one clock for all."""

    def __init__(self, tokens: int, interval_s: float, is_burst: bool) -> None:
        self.tokens = tokens
        self.interval_s = interval_s
        self.is_burst = is_burst
        self.opened = 0

    def begin(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        phase_s = 0.0 if self.is_burst else (self.opened * 0.6180339887 % 1) * self.interval_s
        self.opened += 1
        transport.write(HEAD)
        first = (loop.time() // self.interval_s + 2) * self.interval_s + phase_s
        loop.call_at(first, self._token, transport, first, 0)

    def _token(self, transport: asyncio.Transport, due: float, count: int) -> None:
        if transport.is_closing():
            return
        if count == self.tokens:
            data = b"data: [DONE]\n\n"
            transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))
            return
        event = b'data: {"id":"chatcmpl-1","at":%d,%b' % (time.monotonic_ns(), FILLING)
        transport.write(b"%x\r\n%b\r\n" % (len(event), event))
        due += self.interval_s
        asyncio.get_running_loop().call_at(due, self._token, transport, due, count + 1)


class Connection(asyncio.Protocol):
    """One connection to the engine; requests are told by what they hold."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._held += data
        if b"\r\n\r\n" not in self._held:
            return
        if self._held.startswith(b"POST"):
            if b"content" in self._held.partition(b"\r\n\r\n")[2]:
                self._held = b""
                self._engine.begin(self._transport)
            return
        body = b'{"paths":{"/v1/chat/completions":{}}}' if b"openapi" in self._held else b"{}"
        self._held = b""
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


class Reader(asyncio.Protocol):
    """One stream at the client: notes how old each event is when it arrives."""

    def __init__(self, delays: list[int]) -> None:
        self._delays = delays
        self._held = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        data = self._held + data
        place = data.find(MARK)
        while place >= 0:
            end = data.find(b",", place)
            if end < 0:
                break
            self._delays.append(now - int(data[place + len(MARK) : end]))
            place = data.find(MARK, end)
        self._held = data[data.rfind(b"\n\n") :] if b"\n\n" in data else data
        if b"[DONE]" in data and not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the stream was cut"))


async def one_round(streams: int, socket: str, port: int) -> list[int]:
    """The age in nanoseconds of every event; ``port`` 0 asks the engine itself."""
    loop = asyncio.get_running_loop()
    delays: list[int] = []
    readers: list[Reader] = []
    transports: list[asyncio.BaseTransport] = []
    request = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: m\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    for _ in range(streams):
        make = lambda: Reader(delays)  # noqa: E731
        if port:
            transport, reader = await loop.create_connection(make, "127.0.0.1", port)
        else:
            transport, reader = await loop.create_unix_connection(make, socket)
        transport.write(request)
        readers.append(reader)
        transports.append(transport)
    await asyncio.gather(*(reader.done for reader in readers))
    for opened in transports:
        opened.close()
    return delays


async def ready(port: int) -> None:
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            except OSError:
                await asyncio.sleep(0.05)


def pin(core: int) -> None:
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {core})


def cpu_s(pid: int) -> float:
    """CPU time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    engine = Engine(options.tokens, options.interval_ms / 1000, options.burst)
    rounds: dict[str, list[list[int]]] = {"straight": [], "floor": [], "relayed": []}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as started:
        socket = f"{folder}/engine.sock"
        server = await loop.create_unix_server(lambda: Connection(engine), socket, backlog=1024)
        started.callback(server.close)
        # The program vllm of this run only waits; the front is told of our socket by its --uds, a link to which it gets.
        program = Path(folder) / "vllm"
        program.write_text(
            f'#!/bin/sh\nwhile [ "$1" != --uds ]; do shift; done\nln -s {socket} "$2"\nexec sleep 3600\n'
        )
        program.chmod(0o755)
        ports = {"straight": 0, "floor": free_port(), "relayed": free_port()}
        start(started, "benchmarks._sse_floor", socket, str(ports["floor"]))
        front = start(
            started, "runtimes.vllm", "--model_name=m", f"--model_dir={folder}", "--http_address=127.0.0.1",
            f"--http_port={ports['relayed']}", f"--vllm_command={program}",
        )  # fmt: skip
        for port in (ports["floor"], ports["relayed"]):
            await ready(port)
            await one_round(options.streams, socket, port)
        before_s = cpu_s(front.pid)
        for _ in range(options.rounds):
            for name, port in ports.items():
                rounds[name].append(await one_round(options.streams, socket, port))
        used_s = cpu_s(front.pid) - before_s
    events = sum(map(len, rounds["relayed"]))
    return {"server_cpu_us_per_event": round(used_s / events * 1e6, 1), **report(options, rounds)}


def start(started: contextlib.ExitStack, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    """A server on the second core; it ends with ``started``."""
    command = [sys.executable, "-m", module, *arguments]
    program = subprocess.Popen(command, stderr=subprocess.DEVNULL, preexec_fn=lambda: pin(1))
    started.callback(program.wait, 30)
    started.callback(program.terminate)
    return program


def report(options: argparse.Namespace, rounds: dict[str, list[list[int]]]) -> dict[str, Any]:
    shares = {"p50": 50, "p99": 99}
    found: dict[str, Any] = {"load": os.getloadavg()[0], **vars(options)}
    for name, all_delays in rounds.items():
        for label, share in shares.items():
            each = [statistics.quantiles(delays, n=100)[share - 1] / 1000 for delays in all_delays]
            found[f"{name}_{label}_us"] = round(statistics.median(each))
            found[f"{name}_{label}_us_from_to"] = [round(min(each)), round(max(each))]
    for label in shares:
        found[f"floor_added_{label}_us"] = found[f"floor_{label}_us"] - found[f"straight_{label}_us"]
        found[f"added_{label}_us"] = found[f"relayed_{label}_us"] - found[f"straight_{label}_us"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--tokens", type=int, default=60)
    parser.add_argument("--interval_ms", type=float, default=50.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--burst", action="store_true")
    options = parser.parse_args()
    pin(0)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(measure(options)), indent=1))


if __name__ == "__main__":
    main()
