"""The recent events of every resource, bounded in number and bytes, for watches that resume.

Owned by ``store``. The oldest event of all goes first, whatever its resource; a watch from before that point gets
410 Gone and lists again. Nothing survives a restart, so older versions get 410 then too.

Invariant: for a resource with floor F the history holds every event with a version above F.
"""

from __future__ import annotations

from collections import deque

from standalone.apiserver import errors
from standalone.apiserver.store_entries import Event

MAX_EVENTS = 10_000
MAX_BYTES = 48 * 1024 * 1024


class History:
    """Events by resource, with the version below which they are forgotten."""

    def __init__(self, start_version: int, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self._start = start_version
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._bytes = 0
        self._order: deque[Event] = deque()
        self._by_resource: dict[str, deque[Event]] = {}
        self._floors: dict[str, int] = {}

    def add(self, event: Event) -> None:
        resource = event.entry.resource
        self._order.append(event)
        self._by_resource.setdefault(resource, deque()).append(event)
        self._bytes += event.size_bytes()
        while len(self._order) > self._max_events or self._bytes > self._max_bytes:
            self._forget()

    def _forget(self) -> None:
        oldest = self._order.popleft()
        resource = oldest.entry.resource
        self._by_resource[resource].popleft()
        self._floors[resource] = oldest.version
        self._bytes -= oldest.size_bytes()

    def since(self, resource: str, version: int) -> list[Event]:
        """The events of ``resource`` after ``version``, oldest first. Raises 410 Expired when some are forgotten."""
        floor = max(self._start, self._floors.get(resource, 0))
        if version < floor:
            raise errors.expired(f"too old resource version: {version} ({floor})")
        found: list[Event] = []
        for event in reversed(self._by_resource.get(resource, ())):
            if event.version <= version:
                break
            found.append(event)
        found.reverse()
        return found
