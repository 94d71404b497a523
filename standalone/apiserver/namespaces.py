"""The namespaces every cluster has, and what every namespace has: a ServiceAccount and the authority's certificate.

Called by ``__main__`` at start (``ensure``) and as a listener of the store. Emptying a deleted namespace is
``collector_scopes``'s. Invariant: a namespace that is not being deleted gets both within one loop of ``run``.
"""

from __future__ import annotations

import asyncio

from standalone.apiserver import errors
from standalone.apiserver.handlers_body import WriteOptions
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.handlers_rules import KEPT_NAMESPACES
from standalone.apiserver.handlers_write import Writer
from standalone.apiserver.routes_target import Target
from standalone.apiserver.server_types import User
from standalone.apiserver.store_entries import DELETED, Event, Obj
from wakeful.kit import logs

_log = logs.get("apiserver.namespaces")
SYSTEM = User("system:kube-controller-manager", ("system:masters",))
RETRY_S = 1.0
ROOT_CONFIGMAP = "kube-root-ca.crt"


class Namespaces:
    """See the module."""

    def __init__(self, context: Context, writer: Writer) -> None:
        self._context = context
        self._writer = writer
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        for entry in context.store.bucket("namespaces").ordered():
            self._queue.put_nowait(entry.key[1])

    async def ensure(self) -> None:
        """Create the default namespaces and their contents where they are missing."""
        for name in KEPT_NAMESPACES:
            await self._create("namespaces", "", {"metadata": {"name": name}})
            await self._fill(name)
        service: Obj = {
            "metadata": {
                "name": "kubernetes",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "ports": [{"name": "https", "port": 443, "targetPort": self._context.settings.port or 443}]
            },
        }
        await self._create("services", "default", service)

    def on_events(self, events: list[Event]) -> None:
        for event in events:
            resource, name = event.entry.resource, event.entry.key[0]
            if resource == "namespaces" and event.type == "ADDED":
                self._queue.put_nowait(event.entry.key[1])
            elif event.type == DELETED and resource in ("serviceaccounts", "configmaps"):
                self._queue.put_nowait(name)

    async def run(self) -> None:
        """Fill namespaces for ever."""
        loop = asyncio.get_running_loop()
        while True:
            name = await self._queue.get()
            try:
                await self._fill(name)
            except (errors.StatusError, OSError) as error:
                _log.info("namespace not filled yet", namespace=name, error=str(error))
                loop.call_later(RETRY_S, self._queue.put_nowait, name)

    async def _fill(self, name: str) -> None:
        entry = self._context.store.get("namespaces", ("", name))
        if entry is None or entry.is_deleting:
            return
        await self._create("serviceaccounts", name, {"metadata": {"name": "default"}})
        authority = self._context.credentials.authority.read_text()
        await self._create(
            "configmaps", name, {"metadata": {"name": ROOT_CONFIGMAP}, "data": {"ca.crt": authority}}
        )

    async def _create(self, resource: str, namespace: str, obj: Obj) -> None:
        kind = self._context.registry.of_resource(resource)
        if (
            kind is None
            or self._context.store.latest(resource, (namespace, obj["metadata"]["name"])) is not None
        ):
            return
        obj.update(apiVersion=kind.api_version, kind=kind.kind)
        options = WriteOptions(user=SYSTEM, manager="kube-controller-manager", validation="Ignore")
        try:
            await self._writer.create(Target(kind, namespace), obj, options)
        except errors.StatusError as error:
            if error.reason != "AlreadyExists" and error.code not in (403, 404):
                raise
