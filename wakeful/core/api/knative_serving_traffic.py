"""Checks of a traffic block: shares that sum to 100, unique tags, what a Service may say and what a Route must.

Called by ``knative_serving_kinds`` after defaulting. Section 1.5 of the reference page. Whether the revisions exist
is not asked here: the Route controller finds out (``wakeful.core.traffic.targets``).

Invariant: a block that passes has percents in 0..100 that sum to exactly 100.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from wakeful.core.api.knative_serving_problem import (
    ONE_OF_BOTH,
    ONE_OF_NONE,
    Problem,
    disallowed,
    invalid,
    out_of_bounds,
)

TAG = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def validate_traffic(traffic: Any, is_service: bool) -> Iterator[Problem]:
    """Paths are relative to ``spec.traffic``."""
    entries = [e for e in traffic if isinstance(e, Mapping)] if isinstance(traffic, list) else []
    if not entries and not is_service:
        return
    total = 0
    tags: dict[str, list[int]] = {}
    for index, entry in enumerate(entries):
        yield from _validate_entry(entry, f"[{index}]", is_service)
        percent = entry.get("percent") or 0
        if isinstance(percent, int):
            total += percent
            if not 0 <= percent <= 100:
                yield out_of_bounds(percent, 0, 100, f"[{index}].percent")
        tag = entry.get("tag")
        if tag:
            tags.setdefault(str(tag), []).append(index)
            if not TAG.fullmatch(str(tag)):
                yield invalid(tag, f"[{index}].tag", "not a DNS 1035 label")
    for tag, indices in tags.items():
        if len(indices) > 1:
            paths = ", ".join(f"[{i}].tag" for i in indices)
            yield Problem(f'Multiple definitions for "{tag}"', paths)
    if total != 100:
        yield Problem(f"Traffic targets sum to {total}, want 100", "")


def _validate_entry(entry: Mapping[str, Any], at: str, is_service: bool) -> Iterator[Problem]:
    revision, configuration = entry.get("revisionName"), entry.get("configurationName")
    if entry.get("url"):
        yield from disallowed(f"{at}.url")
    if is_service:
        if configuration:
            yield from disallowed(f"{at}.configurationName")
    elif bool(revision) == bool(configuration):
        text = ONE_OF_BOTH if revision else ONE_OF_NONE
        yield Problem(text, f"{at}.configurationName, {at}.revisionName")
    latest = entry.get("latestRevision")
    if latest and revision:
        yield Problem(
            f'may not set revisionName "{revision}" when latestRevision is true', f"{at}.latestRevision"
        )
    elif latest is False and not revision:
        yield Problem("may not set latestRevision to false without revisionName", f"{at}.latestRevision")
