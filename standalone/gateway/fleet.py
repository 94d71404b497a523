"""The gateway's picture of the cluster: routes and revisions, kept up to date by three informers.

``engine`` reads ``table`` and ``revisions``. The picture survives the API server's absence: what was known stays in
force. Invariant: ``is_synced`` is set only when all three kinds were read once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from activator_hooks.hold import ByteBudget
from activator_hooks.ports import Waker
from standalone.gateway import podview, routing
from standalone.gateway.revision import Revision
from standalone.gateway.settings import Limits
from wakeful.kit import logs
from wakeful.kit.informer import Informer
from wakeful.kit.kube import PODS, KubeClient, Obj, Resource, key_of

INGRESSES = Resource("networking.internal.knative.dev", "v1alpha1", "ingresses")
REVISIONS = Resource("serving.knative.dev", "v1", "revisions")
TICK_S = 0.2
LEAVING = 1024
"""Pods that were drained before their object was seen here, remembered for the last so many."""


class Fleet:
    """Routes, revisions and pods."""

    def __init__(self, limits: Limits, waker: Waker) -> None:
        self._limits = limits
        self._waker = waker
        self._budget = ByteBudget(limits.hold_bytes)
        self._ingresses: dict[tuple[str, str], Obj] = {}
        self._early_pods: dict[tuple[str, str], dict[str, podview.PodView]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._leaving: dict[str, None] = {}
        self._deleted: list[Revision] = []
        """Revisions whose object is gone while requests are under way at their pods."""
        self._log = logs.get("gateway")
        self._synced = asyncio.Event()
        self._table_planned = False
        self.on_gone: Callable[[str, str], None] = lambda _namespace, _name: None
        """Called with a revision that was deleted."""
        self.table = routing.Table()
        self.revisions: dict[tuple[str, str], Revision] = {}

    @property
    def is_synced(self) -> bool:
        return self._synced.is_set()

    async def synced(self) -> None:
        """Wait for the first complete picture."""
        await self._synced.wait()

    async def run(self, client: KubeClient) -> None:
        """Follow the API server for ever."""
        informers = [
            Informer(client, INGRESSES, self.on_ingress),
            Informer(client, REVISIONS, self.on_revision),
            Informer(client, PODS, self.on_pod, label_selector="serving.knative.dev/revision"),
        ]
        async with asyncio.TaskGroup() as group:
            for informer in informers:
                group.create_task(informer.run())
            for informer in informers:
                await informer.synced()
            self.mark_synced()

    def mark_synced(self) -> None:
        """Everything was read once."""
        self._rebuild_table()
        self._synced.set()
        self._log.info("routes read", hosts=len(self.table.rules), revisions=len(self.revisions))

    async def run_ticks(self) -> None:
        """For ever: the revisions' housekeeping."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            now = loop.time()
            for key, revision in list(self.revisions.items()):
                try:
                    revision.tick(now)
                except Exception as error:  # one revision must not end the process
                    self._log.error("housekeeping failed", revision=key, error=repr(error))

    def on_ingress(self, kind: str, obj: Obj, _: Obj | None) -> None:
        """Follow one Ingress. Many changes of one moment make one new table."""
        if kind == "DELETED" or obj["metadata"].get("deletionTimestamp"):
            self._ingresses.pop(key_of(obj), None)
        else:
            self._ingresses[key_of(obj)] = obj
        if self.is_synced and not self._table_planned:
            self._table_planned = True
            asyncio.get_running_loop().call_soon(self._rebuild_table)

    def _rebuild_table(self) -> None:
        self._table_planned = False
        before = set(self.table.shadowed)
        self.table = routing.build_table(self._ingresses.values())
        for host, loser in set(self.table.shadowed) - before:
            owner = self.table.rules[host].ingress
            self._log.warning("host has two ingresses", host=host, serves=owner, ignored=loser)

    def on_revision(self, kind: str, obj: Obj, _: Obj | None) -> None:
        """Follow one Revision."""
        key = key_of(obj)
        if kind == "DELETED":
            revision = self.revisions.pop(key, None)
            if revision is not None:
                self._close(revision)
                self.on_gone(*key)
            return
        view = podview.view_revision(obj, self._limits.default_timeout_s)
        revision = self.revisions.get(key)
        if revision is not None:
            revision.update(view)
            return
        revision = self.revisions[key] = Revision(view, self._limits, self._budget, self._waker)
        for pod in self._early_pods.pop(key, {}).values():
            revision.put_pod(pod)

    def _close(self, revision: Revision) -> None:
        self._deleted = [r for r in self._deleted if r.hold.breaker.in_flight]
        if revision.hold.breaker.in_flight:
            self._deleted.append(revision)
        task = asyncio.get_running_loop().create_task(revision.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def on_pod(self, kind: str, obj: Obj, _: Obj | None) -> None:
        """Follow one Pod."""
        view = podview.view_pod(obj)
        if view is None:
            return
        if view.key in self._leaving:
            view = replace(view, is_terminating=True)
        revision = self.revisions.get(view.revision)
        if revision is None:
            early = self._early_pods.setdefault(view.revision, {})
            early[view.key] = view
            if kind == "DELETED":
                del early[view.key]
                if not early:
                    del self._early_pods[view.revision]
        elif kind == "DELETED":
            revision.drop_pod(view.key)
        else:
            revision.put_pod(view)

    async def drain(self, key: str) -> bool:
        """The node is about to end the pod ``key``: nothing new goes there; wait for what does. False: not known here."""
        self._leaving[key] = None
        if len(self._leaving) > LEAVING:
            del self._leaving[next(iter(self._leaving))]
        for revision in (*self.revisions.values(), *self._deleted):
            pod = revision.pods.get(key)
            if pod is not None:
                await revision.drain(pod, self._limits.tunnel_drain_s)
                return True
        return False

    def items(self) -> Iterable[Revision]:
        return self.revisions.values()

    async def close(self) -> None:
        """Stop probes and wakes, close connections."""
        for revision in self.revisions.values():
            await revision.close()
        if self._closing:
            await asyncio.gather(*self._closing, return_exceptions=True)
