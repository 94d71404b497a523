"""Puts the API server together over an open database, and runs its controllers.

Used by ``__main__`` and by tests that want the server in their own process. Invariant: the order of listeners is
the order in which parts learn of a write: settings, registry, admission, watchers, then the controllers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from standalone.apiserver.admission import Admission
from standalone.apiserver.collector import Collector
from standalone.apiserver.collector_scopes import ScopeCollector
from standalone.apiserver.credentials import Credentials
from standalone.apiserver.expiry import EventExpiry
from standalone.apiserver.followed_configmaps import Followed
from standalone.apiserver.handlers_context import Context, utc_now
from standalone.apiserver.handlers_definitions import Definitions
from standalone.apiserver.handlers_delete import Deleter
from standalone.apiserver.handlers_write import Writer
from standalone.apiserver.kinds_registry import Registry
from standalone.apiserver.namespaces import Namespaces
from standalone.apiserver.ports import Reviewers
from standalone.apiserver.routes import Router
from standalone.apiserver.server import Server
from standalone.apiserver.settings import Settings
from standalone.apiserver.store import Store
from standalone.apiserver.store_pages import Pages
from standalone.apiserver.watch import Hub


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts that start and stop."""

    context: Context
    server: Server
    namespaces: Namespaces
    loops: tuple[Coroutine[Any, Any, None], ...]

    async def start(self) -> None:
        """Make the default namespaces and listen. Raises ``server.ListenError``."""
        settings = self.context.settings
        await self.server.start(settings.host, settings.port, self.context.credentials.tls())
        await self.namespaces.ensure()

    async def stop(self) -> None:
        """End connections, then write what is queued."""
        for loop in self.loops:
            loop.close()
        await self.server.close()
        await self.context.admission.close()
        await self.context.store.close()


def assemble(
    settings: Settings,
    credentials: Credentials,
    store: Store,
    reviewers: Reviewers,
    followed: Sequence[Followed] = (),
) -> Assembly:
    """All parts, connected. Call inside the running event loop."""
    registry = Registry()
    definitions = Definitions(store, registry)
    admission = Admission(store, reviewers)
    hub = Hub(store, utc_now, settings.watch_buffer_bytes, settings.bookmark_s)
    context = Context(settings, credentials, store, registry, hub, Pages(), admission)
    writer, deleter = Writer(context), Deleter(context)
    namespaces = Namespaces(context, writer)
    collector, scopes = Collector(context, deleter), ScopeCollector(context, deleter)
    expiry = EventExpiry(store, asyncio.get_running_loop().time)
    for one in followed:  # first: what decides about the next write knows this one
        one.begin(store)
    for listener in (
        definitions.on_events,
        admission.on_events,
        hub.publish,
        namespaces.on_events,
        collector.on_events,
        scopes.on_events,
        expiry.on_events,
    ):
        store.listen(listener)
    server = Server(Router(context, writer, deleter).dispatch)
    sweeps = (_sweep(context.pages), expiry.run())
    loops = (hub.run(), namespaces.run(), collector.run(), scopes.run(), *sweeps)
    return Assembly(context, server, namespaces, loops)


async def _sweep(pages: Pages) -> None:
    """Forget old pages also when nobody lists."""
    while True:
        await asyncio.sleep(60)
        pages.forget(asyncio.get_running_loop().time())
