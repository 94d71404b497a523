"""A cache of one kind that follows the API server: list, then watch, again from the start after 410 Gone.

Controllers, the gateway and the broker read the cache instead of asking the server. ``on_change`` is called
synchronously, in order, for every difference; it should only put a key into a queue or replace a table entry.

Invariant: the cache passes through the same states as the server, though it may skip some of them; after any
loss of connection it ends at the server's present state, and deletions that happened meanwhile are reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

import aiohttp

from wakeful.kit import logs
from wakeful.kit.kube import ApiError, KubeClient, Obj, Resource, key_of

OnChange = Callable[[str, Obj, Obj | None], None]
"""(type: ADDED, MODIFIED or DELETED; object; previous object or None)."""

RETRY_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
STEADY_S = 5.0
"""A watch that lived this long, or told something, was a good one: pauses begin anew."""
UNKNOWN_RETRY_S, UNKNOWN_TRIES = 0.1, 100
"""A kind that the server does not know yet: its definition is on its way when a platform starts for the first time."""
PAGE = "500"


class Informer:
    """The cache. ``run`` it in a task; read ``store`` at any time; ``await synced()`` for the first list."""

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        on_change: OnChange | None = None,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self._client = client
        self._resource = resource
        self._on_change = on_change
        self._namespace = namespace
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._query = {key: value for key, value in selectors.items() if value}
        self._log = logs.get("informer").bind(resource=f"{resource.plural}.{resource.group}")
        self._synced = asyncio.Event()
        self._version = ""
        self._observed: set[tuple[str, str]] = set()
        """What ``observe`` took while a list was under way: the list may be older than it."""
        self._heard = False
        """Whether the present watch told something."""
        self.store: dict[tuple[str, str], Obj] = {}
        """By (namespace, name). Treat the objects as read-only."""

    def get(self, namespace: str, name: str) -> Obj | None:
        return self.store.get((namespace, name))

    def items(self) -> Iterable[Obj]:
        return self.store.values()

    def observe(self, obj: Obj) -> None:
        """Take the answer of one's own write at once, so that the next decision sees it. Older states are ignored.

        An answer may come after the watch has told of the object's deletion: a state that the watch has passed, of an
        object that is not here, is that of a deleted one, and would stay for ever.
        """
        if key_of(obj) in self.store or _is_after(obj, self._version):
            if not self._version:
                self._observed.add(key_of(obj))
            self._put(obj)

    def forget(self, obj: Obj) -> None:
        """Take one's own deletion at once; an object of the same name with another uid stays."""
        old = self.store.get(key_of(obj))
        if old is not None and old["metadata"].get("uid") == obj["metadata"].get("uid"):
            self._drop(obj)

    async def synced(self) -> None:
        """Wait until the first list is in the cache."""
        await self._synced.wait()

    async def run(self) -> None:
        """Follow the server for ever; failures in a row are retried with growing pauses of at most 2 s.

        Only the first 410 is listed again at once: where every watch ends so, lists would follow each other.
        """
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            is_unknown = is_expired = False
            began, self._heard = loop.time(), False
            try:
                if not self._version:
                    await self._list()
                    began = loop.time()
                await self._watch()
            except ApiError as error:
                self._version = ""
                is_expired = error.code == 410
                is_unknown = error.code == 404 and failures < UNKNOWN_TRIES
                if not is_unknown and not is_expired:
                    self._log.warning("watch refused", code=error.code, error=str(error))
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                self._log.debug("watch broken", error=repr(error))
            if self._heard or loop.time() - began >= STEADY_S:
                failures = 0
            failures += 1
            if not (is_expired and failures == 1):
                await asyncio.sleep(
                    UNKNOWN_RETRY_S if is_unknown else RETRY_S[min(failures, len(RETRY_S)) - 1]
                )

    async def _list(self) -> None:
        seen: set[tuple[str, str]] = set()
        self._observed.clear()
        query = {**self._query, "limit": PAGE}
        while True:
            page = await self._client.list(self._resource, self._namespace, **query)
            kind = str(page.get("kind", "")).removesuffix("List")
            for item in page.get("items") or []:
                item.setdefault("apiVersion", page.get("apiVersion"))
                item.setdefault("kind", kind)
                seen.add(key_of(item))
                self._put(item)
            token = page["metadata"].get("continue")
            if not token:
                break
            query["continue"] = token
        version = page["metadata"]["resourceVersion"]
        for key in [key for key in self.store if key not in seen]:
            is_newer = key in self._observed and _is_after(self.store[key], version)
            if not is_newer:  # else the watch tells what became of it
                self._drop(self.store[key])
        self._version = version
        self._synced.set()

    async def _watch(self) -> None:
        query = {**self._query, "resourceVersion": self._version}
        async for event in self._client.watch(self._resource, self._namespace, query):
            obj = event["object"]
            self._version = obj["metadata"]["resourceVersion"]
            self._heard = True
            if event["type"] == "DELETED":
                old = self.store.get(key_of(obj))
                is_newer_here = old is not None and _is_newer(
                    old, obj
                )  # another of that name, by ``observe``
                if not is_newer_here:
                    self._drop(obj)
            elif event["type"] != "BOOKMARK":
                self._put(obj)

    def _put(self, obj: Obj) -> None:
        key = key_of(obj)
        old = self.store.get(key)
        if old is not None and not _is_newer(obj, old):
            return
        self.store[key] = obj
        self._tell("ADDED" if old is None else "MODIFIED", obj, old)

    def _drop(self, obj: Obj) -> None:
        old = self.store.pop(key_of(obj), None)
        if old is not None:
            self._tell("DELETED", obj, old)

    def _tell(self, kind: str, obj: Obj, old: Obj | None) -> None:
        """One object that the owner cannot read must not end its process, and again after each restart."""
        if self._on_change is not None:
            try:
                self._on_change(kind, obj, old)
            except Exception as error:  # whatever an object may cause
                self._log.error("change not understood", change=kind, key=key_of(obj), error=repr(error))


def _is_after(obj: Obj, version: str) -> bool:
    """Whether ``obj`` may be of a later time than the watch's ``version`` ("" before the first list)."""
    own = obj["metadata"]["resourceVersion"]
    return not (own.isdigit() and version.isdigit()) or int(own) > int(version)


def _is_newer(obj: Obj, old: Obj) -> bool:
    """Whether ``obj`` is a later state than ``old``; versions that are no numbers are only compared for equality."""
    new_version, old_version = obj["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"]
    if new_version.isdigit() and old_version.isdigit():
        return int(new_version) > int(old_version)
    return bool(new_version != old_version)
