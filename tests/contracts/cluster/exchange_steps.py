"""Exchanges: requests written as YAML, whose answers a real API server recorded.

A family (one file in ``exchanges``) has a namespace of its own and runs its steps in order. A step is a request (``do:
METHOD PATH``, or ``ANONYMOUS PATH`` for a get without identity), a watch (``do: WATCH PATH``, ``events``) or a command (``do: kubectl ...``); a family's ``each`` is what
its steps share, and ``set`` and ``drop`` change the shared body by paths such as ``spec.containers[0].image``. Words in
braces are replaced: ``{ns}``, ``{group}`` (unique names), and what a step ``save``s from its answer.

Left out: sending (``exchange_run``) and comparing (``exchange_compare``). Invariant: ids are unique in a family.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Obj = dict[str, Any]
FOLDER = Path(__file__).parent / "exchanges"
RECORDED = Path(__file__).parent / "recorded"
ACCEPTED = Path(__file__).parent / "accepted.yaml"
_STEP_KEYS = {
    "id", "do", "body", "raw", "media", "headers", "query", "set", "drop", "save", "events", "until",
    "scrub", "keep", "silent", "stdin",
}  # fmt: skip
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]|\[\"([^\"]+)\"\]")


@dataclass(frozen=True)
class Step:
    """One request and what of its answer is compared."""

    id: str
    do: str
    body: Any = None
    raw: str | None = None
    media: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    save: dict[str, str] = field(default_factory=dict)
    """Word by the path of the answer that gives its value."""
    events: int = 0
    until: str = ""
    """Wait (repeating a GET) until this path of the answer has a value, or the one after ``=``."""
    scrub: tuple[str, ...] = ()
    """Expressions whose matches differ from run to run."""
    keep: tuple[str, ...] = ()
    """Compare these paths of the answer only."""
    silent: bool = False
    """Only done, not compared."""
    stdin: str = ""


@dataclass(frozen=True)
class Family:
    """A file of steps."""

    name: str
    steps: tuple[Step, ...]


def load(path: Path) -> Family:
    """Read a family; a key or an id that is wrong is an ``AssertionError`` that says where."""
    text = yaml.safe_load(path.read_text())
    each = text.get("each") or {}
    steps = []
    for row in text["steps"]:
        assert row.keys() <= _STEP_KEYS, f"{path.name}: {row.get('id')}: unknown {row.keys() - _STEP_KEYS}"
        steps.append(_step({**each, **row}))
    names = [step.id for step in steps]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"{path.name}: ids used twice: {sorted(twice)}"
    return Family(path.stem, tuple(steps))


def families() -> list[Family]:
    """All families, by name."""
    return [load(path) for path in sorted(FOLDER.glob("*.yaml"))]


def _step(row: Obj) -> Step:
    row = dict(row)
    body = copy.deepcopy(row.get("body"))
    for path in row.pop("drop", ()):
        change(body, path, None, is_dropped=True)
    for path, value in row.pop("set", {}).items():
        change(body, path, value)
    row["body"] = body
    for name in ("scrub", "keep"):
        row[name] = tuple(row.get(name, ()))
    row["query"] = {key: str(value) for key, value in row.get("query", {}).items()}
    return Step(**row)


def parts_of(path: str) -> list[str | int]:
    """The steps of a path such as ``a.b[0]["x.y/z"]``."""
    return [int(found[2]) if found[2] else found[1] or found[3] for found in _PART.finditer(path)]


def change(value: Any, path: str, wanted: Any, *, is_dropped: bool = False) -> None:
    """Set or drop one place of a body, in place; missing objects on the way are made."""
    *way, last = parts_of(path)
    for part in way:
        if isinstance(part, str) and value.get(part) is None:
            value[part] = {}
        value = value[part]
    if is_dropped:
        del value[last]
    elif isinstance(last, int) and last == len(value):
        value.append(wanted)
    else:
        value[last] = wanted


@dataclass(frozen=True)
class Accepted:
    """Differences of the embedded server that are meant: ``accepted.yaml``, where every one has its reason."""

    everywhere: tuple[re.Pattern[str], ...]
    places: dict[str, dict[str, Any]]

    def of(self, family: str, step: str) -> set[str]:
        """The paths in which a step may differ; the whole answer is ``""``."""
        return set(self.places.get(family, {}).get(step, {}))


def accepted() -> Accepted:
    """Read ``accepted.yaml``; a reason that it does not explain is an ``AssertionError``."""
    text = yaml.safe_load(ACCEPTED.read_text())
    reasons = set(text["reasons"])
    used = {row["why"] for row in text["everywhere"]}
    used |= {why for steps in text["places"].values() for paths in steps.values() for why in paths.values()}
    assert used == reasons, f"accepted.yaml: reasons without words or without use: {used ^ reasons}"
    return Accepted(tuple(re.compile(row["path"]) for row in text["everywhere"]), text["places"])


def recorded(name: str) -> dict[str, Obj]:
    """What the real server answered to a family, by step."""
    path = RECORDED / f"{name}.json"
    found: dict[str, Obj] = json.loads(path.read_text()) if path.exists() else {}
    return found
