"""A writer that gives up harms no other; one odd object does not end the loops that collect garbage."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from standalone.apiserver.collector import Collector
from standalone.apiserver.collector_scopes import ScopeCollector
from standalone.apiserver.handlers_context import utc_now
from standalone.apiserver.kinds_registry import Registry
from standalone.apiserver.routes_target import Flavor
from standalone.apiserver.store import Store
from standalone.apiserver.store_selection import Selection
from standalone.apiserver.watch import Hub, View, Watcher

KEY = ("default", "one")


def config(name: str, **metadata: Any) -> dict[str, Any]:
    named = {"name": name, "namespace": "default", "uid": f"uid-{name}", **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": named}


async def test_a_client_that_hangs_up_ends_nobody_who_waits_for_the_same_object(store: Store) -> None:
    async def write() -> None:
        await store.put("configmaps", KEY, config("one"), None)

    writer = asyncio.create_task(write())
    await asyncio.sleep(0)
    other = asyncio.create_task(store.settled("configmaps", KEY))
    await asyncio.sleep(0)
    writer.cancel()
    await asyncio.wait_for(other, 5)
    assert store.get("configmaps", KEY) is not None
    assert writer.cancelled()


class Reader:
    """A connection; ``ends`` counts how often an answer was ended on it."""

    def __init__(self) -> None:
        self.ends = 0

    def close(self) -> None:
        self.ends += 1

    def waiting_bytes(self) -> int:
        return 0

    def write(self, data: bytes) -> None: ...

    def write_framed(self, chunk: bytes) -> None: ...

    def abort(self) -> None: ...


async def test_the_timeout_of_a_watch_that_has_ended_ends_no_later_answer(store: Store) -> None:
    """A definition's removal ends its watches; their connections serve other requests when the timeout comes."""
    hub = Hub(store, utc_now, 1 << 20, 60.0)
    kind = Registry().of_resource("configmaps")
    assert kind is not None
    sink = Reader()
    hub.add(
        Watcher(View(kind, Selection(None, None, (None, "", ""), None, None), Flavor.OBJECT), sink, False),
        [],
        0.02,
    )
    hub.end_resource("configmaps")
    assert sink.ends == 1
    await asyncio.sleep(0.1)  # the timeout passes
    assert sink.ends == 1


class OddDeleter:
    """Meets an object that it does not understand, then another that it does."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[str] = asyncio.Queue()

    async def delete(self, _kind: object, key: tuple[str, str], _options: object) -> None:
        self.asked.put_nowait(key[1])
        if key[1] == "odd":
            raise TypeError("unhashable type: 'dict'")


async def test_the_collector_outlives_an_object_that_it_fails_on(store: Store) -> None:
    lost = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "gone"}]
    for name in ("odd", "plain"):
        await store.put("configmaps", ("default", name), config(name, ownerReferences=lost), None)
    await collects(store, Collector, ["odd", "plain"])


async def test_a_namespace_is_emptied_beside_one_that_fails(store: Store) -> None:
    for name in ("odd", "plain"):
        space = config(name, deletionTimestamp="2026-01-01T00:00:00Z") | {"kind": "Namespace"}
        await store.put("namespaces", ("", name), space, None)
        await store.put("configmaps", (name, name), config(name), None)
    await collects(store, ScopeCollector, ["odd", "plain"])


async def collects(store: Store, make: Any, names: list[str]) -> None:
    deleter = OddDeleter()
    registry = SimpleNamespace(of_resource=lambda _: object())
    context = SimpleNamespace(store=store, registry=registry, stamp=lambda: "now")
    task = asyncio.create_task(make(context, deleter).run())
    try:
        assert [await asyncio.wait_for(deleter.asked.get(), 5) for _ in names] == names
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
