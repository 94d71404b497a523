"""Stable snapshots for lists in pages: the rest of a list is kept until its next page is asked for.

Used by the list handler. The entries are shared with the store, so a kept snapshot costs one pointer an object.
Bounded: the oldest snapshot goes first, and none is kept longer than five minutes (as in Kubernetes); its token then
gets 410 Expired and the client lists again.

Invariant: all pages of one list show the objects as they were at the first page's resourceVersion.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from standalone.apiserver import errors
from standalone.apiserver.store_entries import Entry

MAX_SNAPSHOTS = 64
KEPT_S = 300.0
EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You must start a new list "
    "without the continue parameter."
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A list at one version; immutable, shared by all its tokens."""

    entries: list[Entry]
    version: int
    scope: str
    kept_until: float


class Pages:
    """The kept snapshots. A token is ``SNAPSHOT.POSITION``; asking for the same page twice gives it twice."""

    def __init__(self) -> None:
        self._snapshots: OrderedDict[str, Snapshot] = OrderedDict()

    def keep(self, entries: list[Entry], version: int, scope: str, now: float) -> str:
        """Keep a list and return its identifier. ``scope`` names resource and selection."""
        self.forget(now)
        identifier = secrets.token_hex(8)
        self._snapshots[identifier] = Snapshot(entries, version, scope, now + KEPT_S)
        while len(self._snapshots) > MAX_SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return identifier

    def forget(self, now: float) -> None:
        """Drop what is too old. Called with every page and once a minute."""
        while self._snapshots and next(iter(self._snapshots.values())).kept_until < now:
            self._snapshots.popitem(last=False)

    def find(self, token: str, scope: str, now: float) -> tuple[str, Snapshot, int]:
        """(identifier, snapshot, position of the next entry). Raises 410 Expired, 400 for a foreign token."""
        self.forget(now)
        identifier, _, position = token.partition(".")
        snapshot = self._snapshots.get(identifier)
        if not position.isdigit() or len(position) > 12:
            raise errors.bad_request("continue key is not valid: take it from the list before, unchanged")
        if snapshot is None:
            raise errors.expired(EXPIRED)
        if snapshot.scope != scope:
            raise errors.bad_request("continue key belongs to a list with other parameters")
        return identifier, snapshot, int(position)
