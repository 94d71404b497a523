"""The objects: all of them in memory, every change durable before it is seen or answered.

Writes are checked against the newest state at once (also one not yet on the disk), then queued; one thread commits
all that is queued as one group with one fsync, so concurrent writers share it. When a group is on the disk its
entries become visible, listeners hear of the events in order, and only then the writers are answered.
Called by the write handlers and the controllers in this process; read by everybody.

Invariants: versions rise by one a change and are never used twice; readers only ever see durable state; when a
group fails, it and everything queued behind it fail, because later writes may build on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from standalone.apiserver import errors
from standalone.apiserver.store_bucket import Bucket, OwnerIndex
from standalone.apiserver.store_db import CommitError, Database, Row
from standalone.apiserver.store_entries import (
    ADDED,
    DELETED,
    MODIFIED,
    Entry,
    Event,
    Key,
    Obj,
    build_entry,
    restore_entry,
)
from standalone.apiserver.store_history import History
from wakeful.kit import logs

Listener = Callable[[list[Event]], None]
MAX_QUEUED = 10_000
_log = logs.get("apiserver.store")


class StaleWriteError(Exception):
    """The object is no longer the entry the write was computed from."""


@dataclass(frozen=True, slots=True, eq=False)
class _Write:
    event: Event
    row: Row
    state: Entry | None
    """What is there afterwards; None after a removal."""
    done: asyncio.Future[Entry]


class Store:
    """See the module. All methods belong to the event loop's thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._buckets: dict[str, Bucket] = {}
        self._overlay: dict[tuple[str, Key], _Write] = {}
        self._queued: list[_Write] = []
        self._is_committing = False
        self._listeners: list[Listener] = []
        self.owners = OwnerIndex()
        self.failure = ""
        """Why the last group could not be stored; empty when it was."""
        self.version = 0
        """The highest version that readers can see."""
        self._load()
        self._issued = self.version
        self.history = History(self.version)

    def _load(self) -> None:
        self.version, rows = self._database.load()
        for row in rows:
            key = (row.namespace, row.name)
            entry = restore_entry(row.id, row.resource, key, row.raw or b"")
            self.bucket(row.resource).put(entry)
            self.owners.put(None, entry)

    # -- reading

    def bucket(self, resource: str) -> Bucket:
        """The visible objects of a resource."""
        found = self._buckets.get(resource)
        if found is None:
            found = self._buckets[resource] = Bucket()
        return found

    def resources(self) -> list[str]:
        """The resources that have had objects."""
        return list(self._buckets)

    def get(self, resource: str, key: Key) -> Entry | None:
        """The visible entry."""
        bucket = self._buckets.get(resource)
        return bucket.entries.get(key) if bucket else None

    def latest(self, resource: str, key: Key) -> Entry | None:
        """The newest entry, visible or about to be: what a write must be computed from."""
        write = self._overlay.get((resource, key))
        return write.state if write is not None else self.get(resource, key)

    async def settled(self, resource: str, key: Key) -> None:
        """Wait until ``latest`` is durable. Raises ``StatusError`` when it could not be stored."""
        write = self._overlay.get((resource, key))
        if write is not None:
            await asyncio.shield(write.done)

    # -- writing

    def listen(self, listener: Listener) -> None:
        """Call ``listener`` with each group's events, in order, before their writers are answered."""
        self._listeners.append(listener)

    def put(self, resource: str, key: Key, obj: Obj, expected: Entry | None) -> asyncio.Future[Entry]:
        """Store ``obj`` in place of ``expected`` (None: create it). Raises ``StaleWriteError``.

        The future is done when the object is durable and visible, or raises ``StatusError`` when it is not.
        """
        self._check(resource, key, expected)
        version = self._issued + 1
        entry = build_entry(expected.id if expected else version, resource, key, version, obj)
        event = Event(MODIFIED if expected else ADDED, entry, expected)
        return self._enqueue(event, entry, Row(entry.id, resource, *key, entry.raw))

    def remove(self, resource: str, key: Key, obj: Obj, expected: Entry) -> asyncio.Future[Entry]:
        """Remove ``expected``; ``obj`` is the last state that watchers are shown."""
        self._check(resource, key, expected)
        entry = build_entry(expected.id, resource, key, self._issued + 1, obj)
        return self._enqueue(Event(DELETED, entry, expected), None, Row(entry.id, resource, *key, None))

    def _check(self, resource: str, key: Key, expected: Entry | None) -> None:
        if self.latest(resource, key) is not expected:
            raise StaleWriteError
        if len(self._queued) >= MAX_QUEUED:
            raise errors.too_many("too many writes are waiting for the disk: try again")

    def _enqueue(self, event: Event, state: Entry | None, row: Row) -> asyncio.Future[Entry]:
        self._issued = event.version
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Entry] = loop.create_future()
        write = _Write(event, row, state, done)
        self._overlay[(row.resource, event.entry.key)] = write
        self._queued.append(write)
        if not self._is_committing:
            self._is_committing = True
            loop.call_soon(self._flush)
        # a writer that gives up must not cancel what others wait for in ``settled``
        return asyncio.shield(done)

    def _flush(self) -> None:
        group, self._queued = self._queued, []
        rows = [write.row for write in group]
        version = group[-1].event.version
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, self._database.commit, rows, version)
        work.add_done_callback(lambda future: self._committed(group, future))

    def _committed(self, group: list[_Write], future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if future.cancelled() or error is not None:
            self._fail(group, error)
        else:
            self.failure = ""
            self._publish(group)
        if self._queued:
            self._flush()
        else:
            self._is_committing = False

    def _publish(self, group: list[_Write]) -> None:
        for write in group:
            self._apply(write)
        events = [write.event for write in group]
        for listener in self._listeners:
            try:
                listener(events)
            except Exception as error:  # a listener's fault must not undo a durable write
                _log.error("listener failed", error=repr(error))
        for write in group:
            if not write.done.done():
                write.done.set_result(write.event.entry)

    def _apply(self, write: _Write) -> None:
        event, state = write.event, write.state
        entry = event.entry
        place = (entry.resource, entry.key)
        if self._overlay.get(place) is write:
            del self._overlay[place]
        if state is None:
            self.bucket(entry.resource).drop(entry.key)
        else:
            self.bucket(entry.resource).put(entry)
        self.owners.put(event.previous, state)
        self.version = event.version
        self.history.add(event)

    def _fail(self, group: list[_Write], error: BaseException | None) -> None:
        is_full = isinstance(error, CommitError) and error.is_full
        self.failure = str(error) or repr(error)
        _log.error("commit failed", error=self.failure, writes=len(group) + len(self._queued))
        failed, self._queued = group + self._queued, []
        self._overlay.clear()
        for write in failed:
            if not write.done.done():
                write.done.set_exception(errors.storage_failed(self.failure, is_full))
                write.done.exception()

    async def close(self) -> None:
        """Wait for queued writes, then close the database."""
        while self._is_committing:  # noqa: ASYNC110 once, at shutdown
            await asyncio.sleep(0.001)
        self._thread.shutdown()
        self._database.close()
