"""Runs kopf: its settings, its way into the cluster, its restart when it gives up.

Called by ``__main__``. kopf only watches here; it does not patch, does not post Events and needs no peering objects.
Invariant: ``stop`` ends kopf and nothing else does: any other end of kopf is a restart, and leaves our tasks alone.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any, cast

import kopf
from kubernetes.aio.client import Configuration

from controller import listing
from controller.connection import login_info
from wakeful.kit import lifecycle, logs

RESTART_S = 0.5
RETRY_S = 0.3
END_S = 3.0
"""How long kopf's tasks may take to end; what they hold is only watches."""

log = logs.get("controller.kopf")


class NoDifferences(kopf.DiffBaseStorage):
    """We have no handlers of differences; without this kopf copies every object of every event to find them."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast(kopf.BodyEssence, {})

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


def build_registry(configuration: Configuration) -> kopf.OperatorRegistry:
    """A registry with the log-in and the settings, to which ``handlers.register`` adds the kinds."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def on_login(**_: Any) -> kopf.ConnectionInfo:
        return await login_info(configuration)

    @kopf.on.startup(registry=registry)
    async def on_startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.process.ultimate_exiting_timeout = None  # it would kill us minutes after a restart of kopf
        settings.networking.error_backoffs = list(itertools.repeat(RETRY_S, 20))
        settings.watching.reconnect_backoff = 0.05
        settings.queueing.error_delays = [1.0]
        settings.watching.chunk_size = listing.PAGE
        for kind, selector in listing.SELECTORS.items():
            settings.watching.label_selectors[kind.group, kind.version, kind.plural] = selector
        settings.persistence.diffbase_storage = NoDifferences()

    return registry


async def run(
    build: Callable[[], kopf.OperatorRegistry], stop: asyncio.Event, on_ready: Callable[[bool], None]
) -> None:
    """Run kopf until ``stop`` is set, and again when it gives up."""
    _quieten_logging()
    while not stop.is_set():
        ready = asyncio.Event()
        telling = asyncio.create_task(_tell(ready, on_ready))
        try:
            await _run_once(build(), ready, stop)
        except Exception as error:  # kopf gives up on many errors of its own; the controller does not
            log.error("kopf ended and is started again", error=repr(error))
            await asyncio.sleep(RESTART_S)
        finally:
            on_ready(False)
            telling.cancel()


async def _run_once(registry: kopf.OperatorRegistry, ready: asyncio.Event, stop: asyncio.Event) -> None:
    """kopf's own ``operator()`` would wait 5 s for every other task of the loop, and then cancel our workers, too."""
    tasks = await kopf.spawn_tasks(registry=registry, clusterwide=True, standalone=True, ready_flag=ready)
    lifecycle.catch_signals(stop)  # kopf has just taken the signals for itself
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({*tasks, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (*tasks, stopped):
            task.cancel()
        await asyncio.wait(tasks, timeout=END_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()
    if not stop.is_set():
        raise RuntimeError("one of kopf's tasks ended without an error")


async def _tell(ready: asyncio.Event, on_ready: Callable[[bool], None]) -> None:
    await ready.wait()
    on_ready(True)


def _quieten_logging() -> None:
    """Send the warnings of libraries to our log, in its form."""

    class Bridge(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            write = log.error if record.levelno >= logging.ERROR else log.warning
            write("library message", source=record.name, text=record.getMessage()[:1000])

    root = logging.getLogger()
    root.handlers = [Bridge(logging.WARNING)]
    root.setLevel(logging.WARNING)
