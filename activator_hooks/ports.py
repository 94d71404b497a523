"""What this package asks of others: somebody who makes pods.

Adapters: the embedded autoscaler's socket (``standalone.gateway.autoscaler``); on a cluster Knative's own activator
wakes revisions and nothing here is needed for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class WakeError(Exception):
    """The wake could not be asked for now; the text is one sentence. Ask again."""


@dataclass(frozen=True, slots=True)
class WakeDecision:
    """What the autoscaler decided: so many pods, why, and when (Unix seconds)."""

    desired: int
    reason: str
    decided_at: float


class Waker(Protocol):
    """Makes sure that a sleeping revision gets a pod."""

    async def wake(self, namespace: str, revision: str) -> WakeDecision:
        """Ask for at least one pod. Returns when that is decided and written. Raises ``WakeError``."""
        ...
