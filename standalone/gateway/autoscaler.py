"""Speak to the autoscaler's socket: wake a revision, report statistics. Adapter of ``activator_hooks.ports.Waker``.

The contract is in standalone.md ("Autoscaler socket"). Invariant: every failure is a ``WakeError`` with one sentence,
and no call lasts longer than ``TIMEOUT_S``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson

from activator_hooks.ports import WakeDecision, WakeError

TIMEOUT_S = 5.0


class AutoscalerClient:
    """Calls on one unix socket. Use as ``async with``."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.UnixConnector(path=str(self._socket), limit=0)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def wake(self, namespace: str, revision: str) -> WakeDecision:
        """See ``activator_hooks.ports.Waker``."""
        answer = await self._post("/wake", {"namespace": namespace, "revision": revision})
        try:
            return WakeDecision(
                desired=int(answer["desired"]),
                reason=str(answer.get("reason", "")),
                decided_at=float(answer.get("decided_at") or time.time()),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise WakeError(f"the autoscaler's answer to /wake is not understood: {error!r}") from error

    async def report(self, at: float, stats: Sequence[dict[str, Any]]) -> None:
        """Send one second's statistics. Raises ``WakeError``."""
        await self._post("/stats", {"at": at, "stats": list(stats)})

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        assert self._session is not None, "AutoscalerClient is used outside its 'async with'"
        headers = {"Content-Type": "application/json"}
        try:
            async with self._session.post(
                f"http://autoscaler{path}", data=orjson.dumps(body), headers=headers
            ) as response:
                raw = await response.read()
                if response.status >= 300:
                    told = raw[:300].decode(errors="replace").strip()
                    raise WakeError(f"the autoscaler answered {response.status} to {path}: {told}")
                answer = orjson.loads(raw) if raw else {}
                return answer if isinstance(answer, dict) else {}
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise WakeError(f"the autoscaler does not answer on {self._socket}: {error!r}") from error
