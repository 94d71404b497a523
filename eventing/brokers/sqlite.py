"""The Broker port on one SQLite file: durable, bounded, one writer thread with group commit.

Composed by ``eventing.__main__``. Accepting an event writes it and a delivery for each consumer in one transaction, so
a killed process loses nothing that was acknowledged. Publications and settlements with replies are synced to disk before
they are answered; leases and plain settlements are not, because losing them only repeats a delivery.
Left out: sharing the file between processes (the lock refuses it); ordering across deliveries.
Invariant: ``_load[b]`` equals the number and bytes stored for broker b after every commit.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson

from eventing.brokers import sqlite_schema
from eventing.brokers.group_commit import GroupCommit, Refusal
from eventing.ports import (
    Again,
    Batch,
    Depth,
    Done,
    FullError,
    Leased,
    Publication,
    Settlement,
    Stage,
    StoreError,
    ToDeadLetter,
)
from wakeful.core.protocol.cloudevents import Event

ROW_BYTES = 128
"""What a row takes besides its texts, indexes included."""
NOTHING = Depth(0, 0)
SHRINK_PAGES = 2048
LEASE_BYTES = 16 * 1024 * 1024
"""A lease ends with the event that reaches this, so that big events do not come sixteen at a time."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one broker may hold before it refuses events."""

    max_deliveries: int = 100_000
    max_bytes: int = 1024 * 1024 * 1024
    max_total_bytes: int = 4 * 1024 * 1024 * 1024
    """What all brokers may hold together."""


class SqliteBroker:
    """See the port. Make it with ``SqliteBroker.open`` and end it with ``close``."""

    def __init__(self, path: Path, bounds: Bounds, clock: Callable[[], float]) -> None:
        self._bounds = bounds
        self._clock = clock
        self._lock = sqlite_schema.lock(path)
        try:
            connection, epoch = sqlite_schema.open_database(path, clock())
        except BaseException:
            os.close(self._lock)
            raise
        self._token = epoch << 32
        self._shrunk_at = 0.0
        self._load: dict[str, tuple[int, int]] = {}
        self._read_load(connection)
        self._writer = GroupCommit(connection, _translate, self._read_load)

    @classmethod
    def open(cls, path: Path, bounds: Bounds, clock: Callable[[], float]) -> Self:
        """Open or create the file. Raises ``sqlite_schema.OpenError`` with one sentence."""
        return cls(path, bounds, clock)

    async def close(self) -> None:
        await self._writer.close()
        os.close(self._lock)

    async def publish(self, publication: Publication) -> None:
        if publication.consumers:
            await self._writer.submit(lambda connection: self._publish(connection, [publication]))

    async def lease(self, consumer: str, limit: int, lease_s: float) -> Batch:
        return await self._writer.submit(
            lambda connection: self._lease(connection, consumer, limit, lease_s), is_durable=False
        )

    async def settle(self, leased: Leased, settlement: Settlement) -> bool:
        is_durable = isinstance(settlement, Done) and bool(settlement.replies)
        return await self._writer.submit(
            lambda connection: self._settle(connection, leased, settlement), is_durable
        )

    def depth(self, broker: str) -> Depth:
        deliveries, size = self._load.get(broker, (0, 0))
        return Depth(deliveries, size)

    async def forget(self, consumers: Sequence[str]) -> int:
        return await self._writer.submit(lambda connection: self._forget(connection, consumers))

    async def consumers(self) -> set[str]:
        query = "SELECT DISTINCT consumer FROM deliveries"
        return await self._writer.submit(
            lambda connection: {row[0] for row in connection.execute(query)}, is_durable=False
        )

    def _publish(
        self, connection: sqlite3.Connection, publications: Sequence[Publication], freed: Depth = NOTHING
    ) -> None:
        """Store all or none. ``freed``: what the same transaction ends; a reply may take its place."""
        self._check_bounds(publications, freed)
        for publication in publications:
            self._insert(connection, publication)

    def _check_bounds(self, publications: Sequence[Publication], freed: Depth) -> None:
        """Before anything is written. What nobody wants always fits."""
        wanted: dict[str, tuple[int, int]] = {}
        for item in publications:
            if item.consumers:
                deliveries, size = wanted.get(item.broker) or self._load.get(item.broker, (0, 0))
                wanted[item.broker] = (deliveries + len(item.consumers), size + _size(item))
        for broker, (deliveries, size) in wanted.items():
            is_over = deliveries - freed.deliveries > self._bounds.max_deliveries
            if is_over or size - freed.bytes > self._bounds.max_bytes:
                raise Refusal(FullError(f"broker {broker} holds as many undelivered events as it may", 5))
        grown = sum(size - self._load.get(broker, (0, 0))[1] for broker, (_, size) in wanted.items())
        held = sum(size for _, size in self._load.values()) - freed.bytes
        if grown + held > self._bounds.max_total_bytes:
            raise Refusal(FullError("the brokers together hold as many undelivered bytes as they may", 5))

    def _insert(self, connection: sqlite3.Connection, item: Publication) -> None:
        if not item.consumers:
            return
        size = _size(item)
        attributes = orjson.dumps(item.event.attributes())
        cursor = connection.execute(
            "INSERT INTO events(broker, attributes, data, headers, size, refs) VALUES (?, ?, ?, ?, ?, ?)",
            (item.broker, attributes, item.event.data, orjson.dumps(item.headers), size, len(item.consumers)),
        )
        connection.executemany(
            "INSERT INTO deliveries(event, consumer, stage, attempts, due_at, token, marks)"
            " VALUES (?, ?, 0, 0, ?, 0, '{}')",
            [(cursor.lastrowid, consumer, self._clock()) for consumer in item.consumers],
        )
        self._add_load(item.broker, len(item.consumers), size)

    def _shrink(self, connection: sqlite3.Connection) -> None:
        """Give some free pages back to the disk, once a second, so that a drained backlog leaves no big file."""
        now = self._clock()
        if now - self._shrunk_at < 1.0:
            return
        self._shrunk_at = now
        free = connection.execute("PRAGMA freelist_count").fetchone()[0]
        for _ in range(min(free, SHRINK_PAGES)):  # a page each: sqlite3 steps a statement without rows once
            connection.execute("PRAGMA incremental_vacuum(1)")

    def _lease(self, connection: sqlite3.Connection, consumer: str, limit: int, lease_s: float) -> Batch:
        now = self._clock()
        cursor = connection.execute(
            "SELECT d.id, d.attempts, d.stage, d.marks, e.broker, e.attributes, e.data, e.headers"
            " FROM deliveries d JOIN events e ON e.seq = d.event WHERE d.consumer = ? AND d.due_at <= ?"
            " ORDER BY d.due_at, d.id LIMIT ?",
            (consumer, now, limit),
        )
        rows, size = [], 0
        for row in cursor:
            rows.append(row)
            size += len(row[6] or b"")
            if size >= LEASE_BYTES:
                break
        cursor.close()
        leased = []
        for row in rows:
            self._token += 1
            connection.execute(
                "UPDATE deliveries SET token = ?, due_at = ?, attempts = attempts + 1 WHERE id = ?",
                (self._token, now + lease_s, row[0]),
            )
            leased.append(_leased(row, self._token, consumer))
        due = connection.execute(
            "SELECT MIN(due_at) FROM deliveries WHERE consumer = ?", (consumer,)
        ).fetchone()[0]
        return Batch(tuple(leased), due)

    def _settle(self, connection: sqlite3.Connection, leased: Leased, settlement: Settlement) -> bool:
        key = (leased.id, leased.token)
        held = connection.execute(
            "SELECT d.event, e.refs, e.size FROM deliveries d JOIN events e ON e.seq = d.event"
            " WHERE d.id = ? AND d.token = ?",
            key,
        ).fetchone()
        if held is None:
            return False
        match settlement:
            case Done(replies):
                if replies:
                    self._publish(connection, replies, Depth(1, held[2] if held[1] == 1 else 0))
                connection.execute("DELETE FROM deliveries WHERE id = ?", (leased.id,))
                self._release(connection, held[0], 1)
                self._shrink(connection)
            case Again(at, attempts):
                connection.execute(
                    "UPDATE deliveries SET token = 0, due_at = ?, attempts = ? WHERE id = ?",
                    (at, attempts, leased.id),
                )
            case ToDeadLetter(marks):
                connection.execute(
                    "UPDATE deliveries SET token = 0, due_at = ?, attempts = 0, stage = 1, marks = ? WHERE id = ?",
                    (self._clock(), orjson.dumps(dict(marks)), leased.id),
                )
        return True

    def _release(self, connection: sqlite3.Connection, event: int, count: int) -> None:
        row = connection.execute(
            "UPDATE events SET refs = refs - ? WHERE seq = ? RETURNING refs, broker, size", (count, event)
        ).fetchone()
        if row[0] <= 0:
            connection.execute("DELETE FROM events WHERE seq = ?", (event,))
        self._add_load(row[1], -count, -row[2] if row[0] <= 0 else 0)

    def _forget(self, connection: sqlite3.Connection, consumers: Sequence[str]) -> int:
        dropped = 0
        for consumer in consumers:
            rows = connection.execute(
                "SELECT event, COUNT(*) FROM deliveries WHERE consumer = ? GROUP BY event", (consumer,)
            ).fetchall()
            connection.execute("DELETE FROM deliveries WHERE consumer = ?", (consumer,))
            for event, count in rows:
                self._release(connection, event, count)
                dropped += count
        return dropped

    def _read_load(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute("SELECT broker, SUM(refs), SUM(size) FROM events GROUP BY broker")
        self._load = {broker: (int(refs), int(size)) for broker, refs, size in rows}

    def _add_load(self, broker: str, deliveries: int, size: int) -> None:
        before = self._load.get(broker, (0, 0))
        self._load[broker] = (before[0] + deliveries, before[1] + size)


def _translate(error: sqlite3.Error) -> StoreError:
    return StoreError(f"events cannot be stored: {error}")


def _size(item: Publication) -> int:
    """About what the event takes on disk; a row for each consumer included."""
    texts = sum(len(name) + len(str(value)) for name, value in item.event.attributes().items())
    return len(item.event.data or b"") + texts + ROW_BYTES * (1 + len(item.consumers))


def _leased(row: tuple[Any, ...], token: int, consumer: str) -> Leased:
    id_, attempts, stage, marks, broker, attributes, data, headers = row
    known = orjson.loads(attributes)
    del known["specversion"]
    core = {
        name: known.pop(name)
        for name in ("id", "source", "type", "datacontenttype", "dataschema", "subject", "time")
        if name in known
    }
    return Leased(
        id=id_,
        token=token,
        consumer=consumer,
        broker=broker,
        event=Event(**core, data=data, extensions=known),
        attempts=attempts + 1,
        stage=Stage(stage),
        headers=tuple((name, value) for name, value in orjson.loads(headers)),
        marks=orjson.loads(marks),
    )
