"""The steady beat of reports: which second each is about, and as of when a decision looks at them.

Called by the autoscaler, which gets one report a second. Buckets are whole seconds, so a report that comes a few
milliseconds early or late near the boundary would put two seconds into one bucket and none into the next, and a
decision taken just after the boundary would find the present second empty. A panic window of one second (a stable
window below 15 s) would then see double load or none.

Worked number: reports at 10.98, 12.02, 12.99, 14.01 count as 10.98, 11.98, 12.98, 13.98: one in each second.

Invariant: a moment differs from the true time by less than ``JITTER_S``.
"""

from __future__ import annotations

from dataclasses import dataclass

PERIOD_S = 1.0
JITTER_S = 0.25


@dataclass(slots=True)
class Cadence:
    """Of one reporter. Times in seconds of any clock."""

    last: float = float("-inf")
    """The moment of the last report."""

    def take(self, at: float) -> float:
        """The moment that the report which came ``at`` is counted for."""
        expected = self.last + PERIOD_S
        self.last = expected if abs(at - expected) < JITTER_S else at
        return self.last

    def as_of(self, now: float) -> float:
        """When a decision should look at the windows: at the last report, while that is fresh."""
        return self.last if abs(now - self.last) < PERIOD_S + JITTER_S else now
