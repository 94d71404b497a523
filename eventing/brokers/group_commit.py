"""One writer thread for one SQLite file: concurrent operations share a transaction and its fsync (group commit).

Called by ``sqlite.SqliteBroker``. An operation is a function of the connection; it is durable when its future is done.
Operations that nobody is promised (a lease: after a power cut the delivery is simply due again) are marked
``durable=False``, and a transaction of only those is committed without fsync; a killed process loses neither.
Operations of one turn of the event loop go to the thread together: a hand-over costs a switch of threads.
Invariant: an operation's future succeeds only after the commit that holds it; a failed commit fails all of its group,
and an operation that raises ``Refusal`` has written nothing and fails alone.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
MAX_GROUP = 512


class Refusal(Exception):
    """Wraps an error that an operation raises before it has written anything."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class _Operation(Generic[T]):
    run: Callable[[sqlite3.Connection], T]
    is_durable: bool
    future: asyncio.Future[T]
    loop: asyncio.AbstractEventLoop


class GroupCommit:
    """The thread and its queue. ``close`` waits for what was asked before."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        translate: Callable[[sqlite3.Error], Exception],
        on_rollback: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._connection = connection
        self._translate = translate
        self._on_rollback = on_rollback
        self._queue: queue.SimpleQueue[list[_Operation[Any]] | None] = queue.SimpleQueue()
        self._turn: list[_Operation[Any]] = []
        self._synchronous = ""
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="events-writer", daemon=True)
        self._thread.start()

    def submit(self, run: Callable[[sqlite3.Connection], T], is_durable: bool = True) -> asyncio.Future[T]:
        """The future of ``run``'s result, done after the commit. From one event loop."""
        if self._closed:
            raise RuntimeError("the store is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._turn.append(_Operation(run, is_durable, future, loop))
        if len(self._turn) == 1:
            loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        turn, self._turn = self._turn, []
        if turn:
            self._queue.put(turn)

    async def close(self) -> None:
        """Finish what is queued, then close the connection."""
        if not self._closed:
            self._closed = True
            self._hand_over()
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        is_open = True
        while is_open:
            first = self._queue.get()
            group = first or []
            is_open = first is not None
            while is_open and len(group) < MAX_GROUP:
                try:
                    following = self._queue.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    is_open = False
                else:
                    group += following
            if group:
                self._commit(group)
        self._connection.close()

    def _commit(self, group: list[_Operation[Any]]) -> None:
        results: list[tuple[_Operation[Any], Any, Exception | None]] = []
        try:
            self._set_synchronous("FULL" if any(operation.is_durable for operation in group) else "NORMAL")
            self._connection.execute("BEGIN IMMEDIATE")
            for operation in group:
                try:
                    results.append((operation, operation.run(self._connection), None))
                except Refusal as refusal:
                    results.append((operation, None, refusal.error))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            results = [(operation, None, self._translate(error)) for operation in group]
        except Exception as error:  # a defect in one operation must not end the thread nor keep half a group
            self._roll_back()
            results = [(operation, None, error) for operation in group]
        _answer(results)

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._on_rollback(self._connection)
        except sqlite3.Error:
            return  # the disk itself is broken: the next group meets the same error and reports it

    def _set_synchronous(self, level: str) -> None:
        if level != self._synchronous:
            self._connection.execute(f"PRAGMA synchronous={level}")
            self._synchronous = level


def _answer(results: list[tuple[_Operation[Any], Any, Exception | None]]) -> None:
    loops = {operation.loop for operation, _, _ in results}
    for loop in loops:
        mine = [result for result in results if result[0].loop is loop]
        try:
            loop.call_soon_threadsafe(_resolve, mine)
        except RuntimeError:
            continue  # the loop is closed: nobody waits any more


def _resolve(results: list[tuple[_Operation[Any], Any, Exception | None]]) -> None:
    for operation, value, error in results:
        if operation.future.done():
            continue
        if error is None:
            operation.future.set_result(value)
        else:
            operation.future.set_exception(error)
