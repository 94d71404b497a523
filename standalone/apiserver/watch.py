"""Fan-out of events to watchers: each event is rendered once for all that watch the same way.

``Hub.publish`` listens to the store; ``Hub.add`` is called by the watch handler. Watchers of one kind, selection and
form are a group; a group's lines of one commit are joined and framed once, then written to each connection.
A watcher whose connection holds more than the limit unread is cut off: it can resume from its last version.

Invariants: a watcher gets every event of its selection after its start version exactly once, in version order; an
object that stops matching is DELETED for it, one that starts matching is ADDED.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import orjson

from standalone.apiserver import errors, watch_rendering
from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_core import CRD_RESOURCE
from standalone.apiserver.routes_target import Flavor
from standalone.apiserver.server_types import Sink, frame
from standalone.apiserver.store import Store
from standalone.apiserver.store_entries import ADDED, DELETED, MODIFIED, Entry, Event, build_entry
from standalone.apiserver.store_selection import Selection
from wakeful.kit import logs


@dataclass(frozen=True, slots=True)
class View:
    """What a watcher sees: kind, selection, form."""

    kind: Kind
    selection: Selection
    flavor: Flavor
    include: str = ""

    def group_key(self) -> tuple[object, ...]:
        return (self.kind, self.selection.group_key, self.flavor, self.include)


@dataclass(eq=False, slots=True)
class Watcher:
    """One watch request."""

    view: View
    sink: Sink
    wants_bookmarks: bool
    timer: asyncio.TimerHandle | None = None


@dataclass(eq=False, slots=True)
class _Group:
    view: View
    watchers: set[Watcher] = field(default_factory=set)


class Hub:
    """All watchers."""

    def __init__(
        self, store: Store, now: watch_rendering.Clock, buffer_bytes: int, bookmark_s: float
    ) -> None:
        self._store = store
        self._now = now
        self._buffer_bytes = buffer_bytes
        self._bookmark_s = bookmark_s
        self._groups: dict[str, dict[tuple[object, ...], _Group]] = {}
        self._log = logs.get("apiserver.watch")
        self.dropped = 0
        """Watchers cut off because they read too slowly."""

    def count(self) -> int:
        return sum(len(group.watchers) for groups in self._groups.values() for group in groups.values())

    # -- one watcher

    def add(self, watcher: Watcher, first: Iterable[bytes], timeout_s: float) -> Callable[[], None]:
        """Send the ``first`` lines, then follow. Returns what ends the watch; it also ends after ``timeout_s``."""
        resource = watcher.view.kind.resource
        groups = self._groups.setdefault(resource, {})
        key = watcher.view.group_key()
        group = groups.setdefault(key, _Group(watcher.view))
        group.watchers.add(watcher)
        lines = b"".join(first)
        if lines:
            watcher.sink.write(lines)
        loop = asyncio.get_running_loop()

        def end() -> None:
            group.watchers.discard(watcher)
            if not group.watchers and groups.get(key) is group:
                del groups[key]
            if watcher.timer is not None:
                watcher.timer.cancel()

        def expire() -> None:
            end()
            watcher.sink.close()

        watcher.timer = loop.call_later(timeout_s, expire)
        return end

    def replay(self, view: View, version: int) -> list[bytes]:
        """The lines of the events after ``version``. Raises 410 Expired."""
        lines = []
        for event in self._store.history.since(view.kind.resource, version):
            line = self._line(view, event)
            if line is not None:
                lines.append(line)
        return lines

    def line(self, view: View, event_type: str, entry: Entry) -> bytes:
        """One line, whatever the selection."""
        return watch_rendering.render_event(
            view.kind, event_type, entry, view.flavor, self._now, view.include
        )

    # -- events

    def publish(self, events: list[Event]) -> None:
        """The store's listener."""
        by_resource: dict[str, list[Event]] = {}
        for event in events:
            by_resource.setdefault(event.entry.resource, []).append(event)
        for resource, changed in by_resource.items():
            groups = self._groups.get(resource)
            if groups:
                shared: dict[tuple[str, Entry, str], bytes] = {}
                for group in list(groups.values()):
                    self._publish(group, changed, shared)

            if resource == CRD_RESOURCE:
                for event in changed:
                    if event.type == DELETED:
                        self.end_resource(event.entry.key[1])

    def _publish(
        self, group: _Group, events: list[Event], shared: dict[tuple[str, Entry, str], bytes]
    ) -> None:
        lines = []
        for event in events:
            event_type = select_type(group.view.selection, event)
            if event_type is None:
                continue
            if group.view.flavor is not Flavor.OBJECT:
                lines.append(self.line(group.view, event_type, shown(event, event_type)))
                continue
            place = (event_type, event.entry, group.view.kind.version)
            line = shared.get(place)
            if line is None:
                line = shared[place] = self.line(group.view, event_type, shown(event, event_type))
            lines.append(line)
        if lines:
            self._send(group, frame(b"".join(lines)))

    def _send(self, group: _Group, chunk: bytes) -> None:
        for watcher in list(group.watchers):
            watcher.sink.write_framed(chunk)
            if watcher.sink.waiting_bytes() > self._buffer_bytes:
                self.dropped += 1
                watcher.sink.abort()

    def _line(self, view: View, event: Event) -> bytes | None:
        event_type = select_type(view.selection, event)
        return None if event_type is None else self.line(view, event_type, shown(event, event_type))

    # -- over time

    async def run(self) -> None:
        """Send bookmarks for ever, so that a quiet watch can resume from a recent version."""
        while True:
            await asyncio.sleep(self._bookmark_s)
            version = self._store.version
            for groups in list(self._groups.values()):
                for group in list(groups.values()):
                    try:
                        self._bookmark(group, version)
                    except Exception as error:  # one kind of watch must not end the others, nor the process
                        self._log.error("no bookmark", kind=group.view.kind.resource, error=repr(error))

    def _bookmark(self, group: _Group, version: int) -> None:
        view = group.view
        chunk = frame(watch_rendering.render_bookmark(view.kind, version, view.flavor, False))
        for watcher in list(group.watchers):
            if watcher.wants_bookmarks:
                watcher.sink.write_framed(chunk)

    def end_resource(self, resource: str) -> None:
        """End the watches on a resource that is no longer served."""
        for group in list(self._groups.get(resource, {}).values()):
            for watcher in list(group.watchers):
                group.watchers.discard(watcher)
                if watcher.timer is not None:  # by then the connection serves another request
                    watcher.timer.cancel()
                watcher.sink.close()


def select_type(selection: Selection, event: Event) -> str | None:
    """What an event is for a selection: ADDED, MODIFIED, DELETED, or None when it does not concern it."""
    if selection.takes_all():
        is_in = selection.namespace is None or event.entry.key[0] == selection.namespace
        return event.type if is_in else None
    had = event.previous is not None and selection.takes(event.previous)
    has = event.type != DELETED and selection.takes(event.entry)
    if has:
        return MODIFIED if had else ADDED
    return DELETED if had else None


def shown(event: Event, event_type: str) -> Entry:
    """The state an event shows. What left a selection is shown as it last was in it, with the event's version."""
    entry = event.entry
    if event_type != DELETED or event.type == DELETED or event.previous is None:
        return entry
    return build_entry(entry.id, entry.resource, entry.key, entry.version, event.previous.load())


def error_line(error: errors.StatusError) -> bytes:
    """An ERROR event, for a watch that cannot go on."""
    return b'{"type":"ERROR","object":' + orjson.dumps(error.status()) + b"}\n"
