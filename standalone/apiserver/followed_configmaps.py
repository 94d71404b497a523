"""Hands ConfigMaps of one namespace to whoever decides by them: at start, after each write, and empty when one is deleted.

``server_assembly`` makes one for the in-process admission of Knative, whose webhooks on a cluster watch the same
ConfigMaps. Reads the store in the server's own process, so that a write is in force before the next request is admitted.
Invariant: settings that cannot be used never stop the server; the last good ones stay in force and the log says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from standalone.apiserver.store import Store
from standalone.apiserver.store_entries import Entry, Event
from wakeful.kit import logs

RESOURCE = "configmaps"
_log = logs.get("apiserver.settings")

Take = Callable[[str, Mapping[str, str]], None]
"""Takes over a ConfigMap by name and data. Raises ``ValueError`` for one that cannot be used."""


@dataclass(frozen=True, slots=True)
class Followed:
    """ConfigMaps of ``namespace``, and who takes them."""

    namespace: str
    take: Take

    def begin(self, store: Store) -> None:
        """Hand over what is stored, then every change."""
        for entry in store.bucket(RESOURCE).ordered():
            self._tell(entry, is_deleted=False)
        store.listen(self.on_events)

    def on_events(self, events: list[Event]) -> None:
        for event in events:
            if event.entry.resource == RESOURCE:
                self._tell(event.entry, is_deleted=event.type == "DELETED")

    def _tell(self, entry: Entry, is_deleted: bool) -> None:
        namespace, name = entry.key
        if namespace != self.namespace:
            return
        data = {} if is_deleted else entry.load().get("data") or {}
        try:
            self.take(name, data)
        except ValueError as error:
            _log.error("ConfigMap not usable", configmap=f"{namespace}/{name}", problem=str(error))
