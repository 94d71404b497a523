"""Requests in flight over time: the two numbers the autoscaler wants of each revision. Pure, one owner.

Queued requests count as in flight (spec 3.6). Theory: the mean over a period is the integral of the number in flight
divided by the period; 2 requests of 0.25 s each within one second give 0.5.
"""

from __future__ import annotations


class Meter:
    """The counter of one revision. ``now`` is any monotonic clock in seconds."""

    __slots__ = ("_area", "_changed_at", "_taken_at", "current", "requests")

    def __init__(self, now: float) -> None:
        self._area = 0.0
        self._changed_at = self._taken_at = now
        self.current = 0
        """In flight now."""
        self.requests = 0
        """Arrived since the last ``take``."""

    def arrive(self, now: float) -> None:
        self._advance(now)
        self.current += 1
        self.requests += 1

    def depart(self, now: float) -> None:
        self._advance(now)
        self.current -= 1

    def take(self, now: float) -> tuple[float, int]:
        """(mean in flight, requests that arrived) since the last call."""
        self._advance(now)
        period = now - self._taken_at
        mean = self._area / period if period > 0 else float(self.current)
        requests = self.requests
        self._area, self._taken_at, self.requests = 0.0, now, 0
        return mean, requests

    def _advance(self, now: float) -> None:
        self._area += self.current * (now - self._changed_at)
        self._changed_at = now
