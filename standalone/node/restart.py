"""Whether and when a container that ended is started again. Pure.

Source: Kubernetes pod lifecycle, "Container restarts": the first restart is at once, the next ones wait 10 s doubling
to 300 s; a container that ran for ten minutes starts over. Example with base 10: exits 1, 2, 3, 4 are followed by
waits of 0, 10, 20, 40 s. Called by container. Invariant: the wait is between 0 and ``max_s``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

RESET_AFTER_S = 600.0


class Role(StrEnum):
    """What a container is in its pod."""

    MAIN = "main"
    INIT = "init"
    SIDECAR = "sidecar"


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long the next restart waits. ``step`` counts restarts since the last long run."""

    base_s: float = 10.0
    max_s: float = 300.0
    step: int = 0

    def after_run(self, ran_s: float) -> BackOff:
        """The state after one more exit of a container that ran for ``ran_s`` seconds."""
        step = 1 if ran_s >= RESET_AFTER_S else self.step + 1
        return BackOff(self.base_s, self.max_s, step)

    @property
    def wait_s(self) -> float:
        """Seconds to wait before the restart that follows the last recorded exit."""
        if self.step <= 1:
            return 0.0
        return min(self.base_s * 2.0 ** min(self.step - 2, 32), self.max_s)


def decide(policy: str, role: Role, exit_code: int) -> bool:
    """Whether a container with this exit code is started again under the pod's ``restartPolicy``."""
    if role is Role.SIDECAR:
        return True
    if role is Role.INIT:
        return policy != "Never" and exit_code != 0
    if policy == "Always":
        return True
    return policy == "OnFailure" and exit_code != 0
