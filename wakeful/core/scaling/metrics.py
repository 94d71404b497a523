"""What the autoscaler remembers of one revision: concurrency and requests a second, each over two windows.

The shell records one value a second and reads the averages at each tick. The stable window decides in calm, the
panic window (a percentage of it, whole seconds, at least one) in a burst.

Invariant: no average without data: ``snapshot`` returns None until something was recorded, because "nothing known"
must not be taken for "no traffic".
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wakeful.core.scaling.buckets import Window
from wakeful.core.scaling.settings import Scaling


@dataclass(frozen=True, slots=True)
class Averages:
    """The stable and panic average of the revision's own metric (concurrency, or requests a second)."""

    stable: float
    panic: float


@dataclass(slots=True)
class RevisionMetrics:
    """Windows of one revision; rebuilt (and so emptied) by ``resize`` when the window of the revision changes."""

    scaling: Scaling
    _stable: dict[str, Window] = field(init=False)
    _panic: dict[str, Window] = field(init=False)
    _owed: tuple[float, float] = field(init=False, default=(0.0, 0.0))

    def __post_init__(self) -> None:
        self._make()

    def resize(self, scaling: Scaling) -> None:
        """Take over new settings; the history is kept when the windows stay as they are."""
        old = (self.scaling.window_s, self.scaling.panic_window_s)
        self.scaling = scaling
        if old != (scaling.window_s, scaling.panic_window_s):
            self._make()

    def record(self, now: float, concurrency: float, requests: float) -> None:
        """Add one reporter's second. What ``record_wake`` counted in advance is taken off (floor 0)."""
        owed_concurrency, owed_requests = self._owed
        self._owed = (0.0, 0.0)
        self._write(now, max(0.0, concurrency - owed_concurrency), max(0.0, requests - owed_requests))

    def record_wake(self, now: float) -> None:
        """Count the request that found no pod at once, before the next regular report."""
        if self._owed == (0.0, 0.0):
            self._owed = (1.0, 1.0)
            self._write(now, 1.0, 1.0)

    def snapshot(self, now: float) -> Averages | None:
        """Both averages of the revision's metric at ``now``, or None when nothing was ever recorded."""
        stable, panic = self._stable[self.scaling.metric], self._panic[self.scaling.metric]
        if stable.is_empty:
            return None
        if self.scaling.is_exponential:
            return Averages(stable.weighted_average(now), panic.weighted_average(now))
        return Averages(stable.average(now), panic.average(now))

    def _write(self, now: float, concurrency: float, requests: float) -> None:
        for windows in (self._stable, self._panic):
            windows["concurrency"].record(now, concurrency)
            windows["rps"].record(now, requests)

    def _make(self) -> None:
        self._stable = {name: Window(self.scaling.window_s) for name in ("concurrency", "rps")}
        self._panic = {name: Window(self.scaling.panic_window_s) for name in ("concurrency", "rps")}
