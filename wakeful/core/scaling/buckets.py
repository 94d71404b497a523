"""Averages of a metric over a sliding window of one-second buckets, as Knative's autoscaler keeps them.

Called by ``metrics.RevisionMetrics``; single-owner and synchronous. Values written into the same second add up
(several reporters). Two averages exist:

* linear: the sum over the window divided by the seconds that count. A young series is divided by its lifetime, not
  by the window; seconds missing at the end are not counted as zeros, gaps between writes are.
  Worked number: window 5 s, values 1..5 at t=0..4: 3 at t=4, (3+4+5)/3 = 4 at t=6, 0 from t=9 on.
* weighted exponential: sum over age k of bucket * c * (1-c)^k with c = max(0.2, 1 - 0.0001^(1/n)).

Source: knative/serving pkg/autoscaler/aggregation (behaviour, section 2.3 of the project's reference page).
Invariant: memory is one float a second of the window; both averages lie between 0 and the largest bucket.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

GRANULARITY_S = 1.0
DECIMALS = 6
KEPT_WEIGHT = 0.9999
SMALLEST_COEFFICIENT = 0.2


@dataclass(slots=True)
class Window:
    """A ring of one-second buckets. ``window_s`` must be at least 1 second."""

    window_s: float
    _ring: list[float] = field(init=False)
    _first: int | None = field(init=False, default=None)
    _last: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        if self.window_s < GRANULARITY_S:
            raise ValueError(f"window is {self.window_s} s, want at least {GRANULARITY_S:g} s")
        self._ring = [0.0] * math.ceil(self.window_s / GRANULARITY_S)

    @property
    def is_empty(self) -> bool:
        """True until the first write."""
        return self._first is None

    def record(self, now: float, value: float) -> None:
        """Add ``value`` to the bucket of ``now`` (seconds). Writes older than the window are ignored."""
        second = math.floor(now / GRANULARITY_S)
        size = len(self._ring)
        if self._first is None or second - self._last >= size:
            self._ring = [0.0] * size
            self._first = self._last = second
        elif second > self._last:
            for passed in range(self._last + 1, second + 1):
                self._ring[passed % size] = 0.0
            self._last = second
        elif self._last - second >= size:
            return
        self._first = min(self._first, second)
        self._ring[second % size] += value

    def average(self, now: float) -> float:
        """The linear average at ``now``, rounded to six decimals; 0 without data in the window."""
        live = self._live(now)
        if self._first is None or not live:
            return 0.0
        size = len(self._ring)
        counted = min(self._last - self._first + 1, size)
        silent = math.floor(now / GRANULARITY_S) - self._last
        if silent > 0:
            counted = min(counted, size - silent)
        return round(math.fsum(self._ring[second % size] for second in live) / counted, DECIMALS)

    def weighted_average(self, now: float) -> float:
        """The exponentially weighted average at ``now``, rounded to six decimals."""
        size = len(self._ring)
        coefficient = max(SMALLEST_COEFFICIENT, 1 - (1 - KEPT_WEIGHT) ** (1 / size))
        current = math.floor(now / GRANULARITY_S)
        terms = (
            self._ring[second % size] * coefficient * (1 - coefficient) ** max(0, current - second)
            for second in self._live(now)
        )
        return round(math.fsum(terms), DECIMALS)

    def _live(self, now: float) -> range:
        """The written seconds that are still inside the window at ``now``."""
        if self._first is None:
            return range(0)
        size = len(self._ring)
        current = math.floor(now / GRANULARITY_S)
        if current - self._last >= size:
            return range(0)
        oldest = max(self._last - size + 1, current - size + 1)
        return range(oldest, self._last + 1)
