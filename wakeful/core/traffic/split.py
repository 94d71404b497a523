"""Percent to revision: which of several weighted choices one request gets.

Called by the gateway for every request and by the controllers to check a traffic block. It keeps no state: the
caller brings ``point``, a number in [0, 1), either random (each request on its own) or derived from a key (the
same caller always gets the same revision).

Worked number: splits ``[("a", 90), ("b", 10)]``, point 0.93 -> 93rd percent -> ``b``.

Invariant: for a fixed list each point in [0, 1) maps to exactly one name, a share of 0 is never chosen, and the
length of the points that map to a name is its share.
"""

from __future__ import annotations

from collections.abc import Sequence


def choose(splits: Sequence[tuple[str, int]], point: float) -> str:
    """The name whose share covers ``point``.

    ``splits`` are (name, percent) with percents >= 0 whose sum is above 0; they need not sum to 100 (net-kourier
    treats them as weights too). ``point`` is in [0, 1). Raises ``ValueError`` for an empty or all-zero list, a
    negative percent or a point outside the range.
    """
    total = 0
    for name, percent in splits:
        if percent < 0:
            raise ValueError(f"the share of {name!r} is {percent}, want 0 or more")
        total += percent
    if total <= 0:
        raise ValueError("no choice has a share above 0")
    if not 0.0 <= point < 1.0:
        raise ValueError(f"point is {point}, want 0 <= point < 1")
    left = point * total
    chosen = ""
    for name, percent in splits:
        if percent == 0:
            continue
        chosen = name
        if left < percent:
            return name
        left -= percent
    return chosen
