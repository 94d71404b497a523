"""One worker process's side of its supervisor: say when loaded, wait for the word to listen, report metrics, ask for all.

Used by ``server`` in a forked worker. Messages are JSON lines over a socket pair: ``loaded``, ``ask`` and ``page`` up,
``go``, ``report`` and ``pages`` down. Invariant: a scrape is answered within ``PAGES_S``, if need be with this worker's own numbers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from wakeful.serving import worker_pages

PAGES_S = 2.0
LINE_BYTES = 64 << 20


class Worker:
    """This process as one of several. ``sockets`` are to be listened on once ``may_listen`` has returned."""

    def __init__(self, place: int, control: socket.socket, sockets: list[socket.socket]) -> None:
        self.place = place
        self.sockets = sockets
        self._control = control
        self._writer: asyncio.StreamWriter | None = None
        self._go = asyncio.Event()
        self._asked: dict[int, asyncio.Future[list[worker_pages.Family]]] = {}
        self._number = 0
        self._report: Callable[[], list[worker_pages.Family]] = list
        self._task: asyncio.Task[None] | None = None

    async def may_listen(self, report: Callable[[], list[worker_pages.Family]]) -> None:
        """Say that every model is loaded, and return when this worker is to listen. ``report`` gives its metrics."""
        self._report = report
        reader, self._writer = await asyncio.open_connection(sock=self._control, limit=LINE_BYTES)
        self._task = asyncio.create_task(self._read(reader))
        self._send({"loaded": True})
        await self._go.wait()

    async def pages(self) -> CollectorRegistry | None:
        """The page of all workers; None where the supervisor does not answer in time."""
        self._number += 1
        waiting: asyncio.Future[list[worker_pages.Family]] = asyncio.get_running_loop().create_future()
        self._asked[self._number] = waiting
        self._send({"ask": self._number})
        try:
            async with asyncio.timeout(PAGES_S):
                return worker_pages.Merged(await waiting).registry()
        except TimeoutError:
            return None
        finally:
            self._asked.pop(self._number, None)

    def close(self) -> None:
        """Stop listening to the supervisor."""
        if self._task is not None:
            self._task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = orjson.loads(line)
            if "go" in message:
                self._go.set()
            elif "report" in message:
                self._send({"page": message["report"], "families": self._report()})
            elif "pages" in message:
                waiting = self._asked.get(message["pages"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message["families"])

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(orjson.dumps(message) + b"\n")
