"""One worker process's side of its supervisor: say when loaded, wait for the word to listen, report metrics, ask for all,
load and unload models with all.

Used by ``server`` in a forked worker. Messages are JSON lines over a socket pair: ``loaded``, ``ask`` and ``page`` up,
``go``, ``report`` and ``pages`` down; of changes (``worker_changes``) ``change`` and ``did`` up, ``do``, ``changed`` and ``missed`` down.
Invariant: a scrape is answered within ``PAGES_S``, if need be with this worker's own numbers.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from wakeful.serving import worker_changes, worker_pages
from wakeful.serving.model import LoadError

PAGES_S = 2.0
LINE_BYTES = 64 << 20
CarryOut = Callable[[str, str], Awaitable[None]]


class Worker:
    """This process as one of several. ``sockets`` are to be listened on once ``may_listen`` has returned."""

    def __init__(
        self, place: int, control: socket.socket, sockets: list[socket.socket], unloaded: frozenset[str]
    ) -> None:
        self.place = place
        self.unloaded = unloaded
        """The models that are unloaded in the other workers: not to be loaded here either."""
        self.sockets = sockets
        self._control = control
        self._writer: asyncio.StreamWriter | None = None
        self._go = asyncio.Event()
        self._asked: dict[int, asyncio.Future[list[worker_pages.Family]]] = {}
        self._number = 0
        self._report: Callable[[], list[worker_pages.Family]] = list
        self._changed: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.carry_out: CarryOut | None = None
        """How this process loads or unloads a model (verb and name). Raises ``LoadError``."""
        self._failure: LoadError | None = None

    async def may_listen(self, report: Callable[[], list[worker_pages.Family]]) -> None:
        """Say that every model is loaded, and return when this worker is to listen. ``report`` gives its metrics.

        Raises ``LoadError`` where a model that the others have loaded anew meanwhile cannot be.
        """
        self._report = report
        reader, self._writer = await asyncio.open_connection(sock=self._control, limit=LINE_BYTES)
        self._start(self._read(reader))
        self._send({"loaded": True})
        await self._go.wait()
        if self._failure is not None:
            raise self._failure

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
        for task in list(self._tasks):
            task.cancel()
        if self._writer is not None:
            self._writer.close()

    async def change(self, verb: str, name: str) -> None:
        """Have every worker load or unload a model. Raises ``LoadError`` that says which could not, when all have answered."""
        self._number += 1
        number = self._number
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._changed[number] = waiting
        self._send({"change": number, "verb": verb, "name": name})
        try:
            told = {key: (await waiting)[key] for key in ("count", "errors", "is_undone")}
        finally:
            del self._changed[number]
        if told["errors"]:
            raise LoadError(worker_changes.sentence(verb, name, **told))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, number: int, verb: str, name: str) -> None:
        """Carry out a change that goes on in all workers."""
        error: str | None = None
        try:
            assert self.carry_out is not None
            await self.carry_out(verb, name)
        except LoadError as failure:
            error = str(failure)
        except Exception as failure:  # an answer there must be: the others wait for it
            error = f"{type(failure).__name__}: {failure}"[:500]
        self._send({"did": number, "error": error})

    async def _make_up(self, missed: list[tuple[str, str]]) -> None:
        """Carry out what the other workers did while this one started."""
        assert self.carry_out is not None
        for verb, name in missed:
            try:
                await self.carry_out(verb, name)
            except LoadError as failure:
                if verb == worker_changes.LOAD:  # an unloaded model is out of service whatever it says
                    self._failure = failure
                    self._go.set()
                    return
        self._send({"loaded": True})

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = orjson.loads(line)
            if "go" in message:
                self._go.set()
            elif "report" in message:
                self._send({"page": message["report"], "families": self._report()})
            elif "do" in message:
                self._start(self._do(message["do"], message["verb"], message["name"]))
            elif "missed" in message:
                self._start(self._make_up(message["missed"]))
            elif "changed" in message:
                changed = self._changed.get(message["changed"])
                if changed is not None and not changed.done():
                    changed.set_result(message)
            elif "pages" in message:
                waiting = self._asked.get(message["pages"])
                if waiting is not None and not waiting.done():
                    waiting.set_result(message["families"])

    def _send(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(orjson.dumps(message) + b"\n")
