"""A shim that answers too late (a machine that swaps): what it started then belongs to nobody, and must not live on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from standalone.node.ports import Exit
from standalone.node.shim import PROTOCOL
from standalone.node.shim_client import ShimClient, ShimError

START = {"id": "u/c/0", "argv": ["true"]}


class SlowShim:
    """Speaks the protocol; answers ``start`` when ``awake`` is set, in order, and keeps one process."""

    def __init__(self) -> None:
        self.awake = asyncio.Event()
        self.seen: list[tuple[str, Any]] = []
        self.forgotten = asyncio.Event()
        self._is_running = False

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            request = json.loads(line)
            self.seen.append((request["op"], request.get("signal")))
            for message in await self._answer(request):
                writer.write(json.dumps(message).encode() + b"\n")
        writer.close()

    async def _answer(self, request: dict[str, Any]) -> list[dict[str, Any]]:
        tag = request["tag"]
        match request["op"]:
            case "hello":
                return [{"tag": tag, "protocol": PROTOCOL}]
            case "list":
                return [{"tag": tag, "processes": []}]
            case "start":
                await self.awake.wait()
                if self._is_running:
                    return [{"tag": tag, "error": "u/c/0 was started before"}]
                self._is_running = True
                return [{"tag": tag, "pid": 7, "at": 1.0}]
            case "signal":
                ended = {"event": "exit", "id": "u/c/0", "pid": 7, "at": 1.0, "meta": {}}
                return [{"tag": tag}, {**ended, "code": 137, "ended_at": 2.0}]
            case "forget":
                self._is_running = False
                self.forgotten.set()
        return [{"tag": tag}]


async def test_a_start_that_was_given_up_is_undone_and_may_be_tried_again(tmp_path: Path) -> None:
    """The process ran on beside its successor, known to nobody; its id could never be started again."""
    shim = SlowShim()
    server = await asyncio.start_unix_server(shim.serve, tmp_path / "s")
    client = ShimClient(tmp_path / "s", "", tmp_path / "log", answer_s=0.2)
    try:
        await client.connect(5.0)
        for _ in range(2):
            with pytest.raises(ShimError, match="does not answer start"):
                await client.start(START)
        shim.awake.set()
        await asyncio.wait_for(shim.forgotten.wait(), 5)
        assert ("signal", 9) in shim.seen
        assert client.exits == {}
        started = await client.start(START)
        assert started.pid == 7
        await client.call("signal", id="u/c/0", signal=15)
        assert await asyncio.wait_for(client.exits["u/c/0"], 5) == Exit(137, 2.0)
    finally:
        await client.close()
        server.close()
