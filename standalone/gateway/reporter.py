"""Once a second, tell the autoscaler how busy each revision was.

Statistics of a second in which the autoscaler is away are dropped: it treats a gap as no change, and old numbers
would mislead it.
"""

from __future__ import annotations

import asyncio
import time

from activator_hooks.ports import WakeError
from standalone.gateway.autoscaler import AutoscalerClient
from standalone.gateway.fleet import Fleet
from wakeful.kit import logs

PERIOD_S = 1.0


async def run_reports(fleet: Fleet, autoscaler: AutoscalerClient) -> None:
    """For ever."""
    loop = asyncio.get_running_loop()
    log = logs.get("gateway")
    is_away = False
    due = loop.time() + PERIOD_S
    while True:
        await asyncio.sleep(max(0.0, due - loop.time()))
        due = max(due + PERIOD_S, loop.time())
        try:
            # An empty report is news too: it says that revisions with pods had no traffic, and lets them sleep.
            await autoscaler.report(time.time(), _take(fleet, loop.time()))
            is_away = False
        except WakeError as error:
            if not is_away:
                log.warning("statistics not delivered", error=str(error))
            is_away = True


def _take(fleet: Fleet, now: float) -> list[dict[str, object]]:
    stats: list[dict[str, object]] = []
    for revision in fleet.items():
        mean, requests = revision.meter.take(now)
        if mean > 0 or requests:
            view = revision.view
            stats.append(
                {
                    "namespace": view.namespace,
                    "revision": view.name,
                    "concurrency": mean,
                    "requests": requests,
                }
            )
    return stats
