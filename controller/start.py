"""The controller's start: from its settings to a world that has been read once.

Called by ``__main__`` only. Invariant: nothing here ends the process because the API server is away; a signal does.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from controller import connection, settings
from controller.facts import Facts
from controller.leader import Alone, Election
from controller.lease import Timing
from controller.platform_watch import PlatformWatch
from controller.webhooks.authority import Authority, CertificateError, Keeping
from wakeful.kit import logs

log = logs.get("controller")


def keeping(config: settings.Settings) -> Keeping:
    """Where the webhooks' certificate comes from."""
    folder = config.webhook_certs_from or config.webhook_certs
    life = timedelta(seconds=config.certificate_life_s)
    return Keeping(config.identity, folder, config.webhook_certs_from is not None, life)


def election(config: settings.Settings, api: connection.Api, namespace: str) -> Alone | Election:
    """Who decides whether this process acts."""
    if not config.leader_elect:
        return Alone()
    return Election(api, namespace, config.identity, Timing(config.lease_s))


async def prepare(api: connection.Api, facts: Facts, platform: PlatformWatch, authority: Authority) -> None:
    """Wait for the API server, then read the configuration and get a certificate."""
    while True:
        try:
            await connection.wait_for_server(api)
            await asyncio.gather(facts.refresh(), platform.refresh())
            authority.prepare()
            return
        except connection.ApiFailureError as error:
            log.warning("not ready to start", code=error.code, error=str(error))
        except (CertificateError, OSError) as error:
            log.warning("not ready to start", error=str(error))
        await asyncio.sleep(0.5)


async def either(task: asyncio.Task[object], stop: asyncio.Event) -> bool:
    """Wait for ``task`` or ``stop``; whether the task came first (its exception is raised)."""
    stopped = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task in done:
        task.result()
        return True
    task.cancel()
    return False
