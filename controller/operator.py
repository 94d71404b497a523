"""Runs kopf: its settings, its way into the cluster, its restart when it gives up.

Called by ``__main__``. kopf only watches here; it does not patch, does not post Events and needs no peering objects.
Invariant: a signal stops kopf first and then, through ``stop``, the rest; any other end of kopf is a restart.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from controller.connection import login_info
from wakeful.kit import logs

RESTART_S = 0.5
RETRY_S = 0.3

log = logs.get("controller.kopf")


def build_registry(configuration: Configuration) -> kopf.OperatorRegistry:
    """A registry with the log-in and the settings, to which ``handlers.register`` adds the kinds."""
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def on_login(**_: Any) -> kopf.ConnectionInfo:
        return await login_info(configuration)

    @kopf.on.startup(registry=registry)
    async def on_startup(settings: kopf.OperatorSettings, **_: Any) -> None:
        settings.posting.enabled = False
        settings.networking.error_backoffs = list(itertools.repeat(RETRY_S, 20))
        settings.watching.reconnect_backoff = 0.05
        settings.queueing.error_delays = [1.0]

    return registry


async def run(
    build: Callable[[], kopf.OperatorRegistry], stop: asyncio.Event, on_ready: Callable[[bool], None]
) -> None:
    """Run kopf until ``stop`` is set or a signal comes (which sets ``stop``)."""
    _quieten_logging()
    while not stop.is_set():
        ended = asyncio.Event()
        ready = asyncio.Event()
        waiting = [asyncio.create_task(_forward(stop, ended)), asyncio.create_task(_tell(ready, on_ready))]
        try:
            await kopf.operator(
                registry=build(), clusterwide=True, standalone=True, stop_flag=ended, ready_flag=ready
            )
            stop.set()
        except Exception as error:  # kopf gives up on many errors of its own; the controller does not
            log.error("kopf ended and is started again", error=repr(error))
            await asyncio.sleep(RESTART_S)
        finally:
            on_ready(False)
            for task in waiting:
                task.cancel()


async def _forward(source: asyncio.Event, target: asyncio.Event) -> None:
    await source.wait()
    target.set()


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
