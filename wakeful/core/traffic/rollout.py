"""Gradual rollout: a new latest revision gets 1 % first and the rest in even steps over ``rollout-duration``.

Called by the Route controller, which keeps the state as JSON in the Ingress annotation
``networking.internal.knative.dev/rollout`` and asks again at ``next_step_at``. Section 1.7 of the reference page.

Worked number: 100 %, four steps: 1, 26, 51, 76, 100 (step size round(99 / 4) = 25, the last one capped).

Invariant: the shares of one configuration always sum to its percent, each at least 1, newest last; the newest never
loses share to an older one unless the percent itself is lowered.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

Shares = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Rollout:
    """How the percent of one (configuration, tag) is spread over its revisions, oldest first. Times: Unix seconds."""

    configuration: str
    tag: str
    percent: int
    revisions: Shares
    step_size: int = 0
    step_s: float = 0.0
    next_step_at: float = 0.0

    @property
    def is_done(self) -> bool:
        return len(self.revisions) <= 1


def step(previous: Rollout | None, goal: Rollout, duration_s: float, now: float) -> Rollout:
    """The next state towards ``goal`` (one revision with the full percent).

    ``duration_s`` 0 switches at once. A new configuration or tag (``previous`` None) never rolls.
    """
    newest = goal.revisions[-1][0]
    if previous is None or not previous.revisions or duration_s <= 0 or goal.percent <= 1:
        return goal
    state = _adjust(previous, goal.percent)
    if not state.revisions:
        return goal
    if state.revisions[-1][0] != newest:
        kept = tuple(pair for pair in state.revisions if pair[0] != newest)
        return _start(replace(state, revisions=kept) if kept else goal, newest, duration_s, now)
    if state.is_done:
        return replace(goal, revisions=state.revisions)
    while not state.is_done and now >= state.next_step_at:
        state = _advance(state)
    return state


def _start(state: Rollout, newest: str, duration_s: float, now: float, ready_delay_s: float = 0.0) -> Rollout:
    """1 % for ``newest``, taken from the newest of the older ones; the clock starts."""
    taken = _take_from_newest(state.revisions, 1)
    shares = (*taken, (newest, state.percent - sum(percent for _, percent in taken)))
    least_s = max(1.0, math.ceil(ready_delay_s))
    rest_s = max(1.0, duration_s - least_s)
    steps = min(max(1, int(rest_s / least_s)), max(1, state.percent - 1))
    size = max(1, round((state.percent - 1) / steps))
    step_s = rest_s / steps
    return replace(state, revisions=shares, step_size=size, step_s=step_s, next_step_at=now + step_s)


def _advance(state: Rollout) -> Rollout:
    newest, share = state.revisions[-1]
    gain = min(state.step_size, state.percent - share)
    older = _take_from_newest(state.revisions[:-1], gain)
    revisions = (*older, (newest, share + gain))
    if len(revisions) == 1:
        return Rollout(state.configuration, state.tag, state.percent, revisions)
    return replace(state, revisions=revisions, next_step_at=state.next_step_at + state.step_s)


def _take_from_newest(shares: Shares, amount: int) -> Shares:
    left: list[tuple[str, int]] = []
    for name, percent in reversed(shares):
        taken = min(percent, amount)
        amount -= taken
        if percent > taken:
            left.append((name, percent - taken))
    return tuple(reversed(left))


def _adjust(state: Rollout, percent: int) -> Rollout:
    """A changed percent: more goes to the newest, less is removed from the oldest first."""
    difference = percent - sum(share for _, share in state.revisions)
    shares = list(state.revisions)
    if difference > 0:
        shares[-1] = (shares[-1][0], shares[-1][1] + difference)
    missing = -difference
    while missing > 0 and shares:
        name, share = shares[0]
        taken = min(share, missing)
        missing -= taken
        shares[0] = (name, share - taken)
        if shares[0][1] == 0:
            shares.pop(0)
    return replace(state, percent=percent, revisions=tuple(shares))


def render_state(rollouts: Sequence[Rollout]) -> str:
    """The annotation's JSON."""
    return json.dumps(
        {
            "configurations": [
                {
                    "configurationName": rollout.configuration,
                    "tag": rollout.tag,
                    "percent": rollout.percent,
                    "revisions": [
                        {"revisionName": name, "percent": share} for name, share in rollout.revisions
                    ],
                    "stepSize": rollout.step_size,
                    "stepDuration": rollout.step_s,
                    "nextStepTime": rollout.next_step_at,
                }
                for rollout in rollouts
            ]
        },
        sort_keys=True,
    )


def parse_state(text: str) -> list[Rollout]:
    """The annotation's state; an unreadable one is an empty one (then everything switches at once)."""
    try:
        return [_parse_one(item) for item in json.loads(text)["configurations"]]
    except (ValueError, KeyError, TypeError):
        return []


def _parse_one(item: dict[str, Any]) -> Rollout:
    shares = tuple((str(r["revisionName"]), int(r["percent"])) for r in item["revisions"])
    return Rollout(
        str(item["configurationName"]),
        str(item.get("tag", "")),
        int(item["percent"]),
        shares,
        int(item.get("stepSize", 0)),
        float(item.get("stepDuration", 0)),
        float(item.get("nextStepTime", 0)),
    )
