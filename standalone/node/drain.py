"""Before a serving pod is stopped: tell the gateway, and wait until no request is at the pod any more.

Called by worker. This plays the preStop hook that Knative gives to user containers (``/wait-for-drain`` of queue-proxy,
spec 3.10): the process gets SIGTERM only when nothing is lost by it, also one that does not end gracefully. A gateway
that is away has no connection to lose, so the pod is stopped at once then. Invariant: never waits beyond ``limit_s``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

LABEL = "serving.knative.dev/revision"


def is_served(pod: Mapping[str, Any]) -> bool:
    """The gateway sends requests to this pod."""
    return bool((pod["metadata"].get("labels") or {}).get(LABEL))


async def wait(gateway: Path, uid: str, limit_s: float) -> str:
    """Wait until the pod has no request. Returns ``drained``, ``gateway is away`` or ``time is up``."""
    timeout = aiohttp.ClientTimeout(total=None)
    try:
        async with (
            asyncio.timeout(limit_s),
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(gateway)), timeout=timeout) as session,
            session.post("http://gateway/drain", json={"pod": uid}) as answer,
        ):
            return "drained" if answer.status == 200 else f"gateway answered {answer.status}"
    except TimeoutError:
        return "time is up"
    except (aiohttp.ClientError, OSError):
        return "gateway is away"
