"""How often one thing may be said in the log: a few lines at once, then one a second, and how many were left out.

Used where a line is written for each failed delivery: a subscriber that is down would else fill the disk with lines that
say the same. Metrics count every one of them. Invariant: for each key at most ``burst`` + seconds passed lines; memory
is bounded by ``max_keys``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float
    unsaid: int = 0


class Quiet:
    """Ask ``unsaid`` before each line. Single event loop."""

    def __init__(self, burst: int = 20, per_s: float = 1.0, max_keys: int = 4096) -> None:
        self._burst = burst
        self._per_s = per_s
        self._max_keys = max_keys
        self._buckets: dict[str, _Bucket] = {}

    def unsaid(self, key: str, now: float) -> int | None:
        """How many lines of ``key`` were left out before this one; None when this one is left out too."""
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._max_keys:
                self._buckets.pop(next(iter(self._buckets)))
            bucket = self._buckets[key] = _Bucket(self._burst, now)
        passed_s = max(now - bucket.at, 0.0)
        bucket.left, bucket.at = min(bucket.left + passed_s * self._per_s, self._burst), now
        if bucket.left < 1.0:
            bucket.unsaid += 1
            return None
        bucket.left -= 1.0
        unsaid, bucket.unsaid = bucket.unsaid, 0
        return unsaid
