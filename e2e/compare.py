"""Holds the observations of two homes against each other, field by field. Pure: values in, differences out.

Each difference must be in ``accepted.yaml`` with a reason, and each entry there must still occur: a list that only
grows would hide the day on which a difference ends. `python -m e2e` prints what is not accepted; docs/reference/parity.md
shows the table, and a test holds the two together. Observations that only one home made are reported too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSENT = "(absent)"
KEYS = ("type", "name", "tag", "revisionName", "key")
"""List entries with one of these are paired by it; others by their place."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs. ``path`` begins with the observation's name."""

    path: str
    cluster: Any
    standalone: Any

    def __str__(self) -> str:
        return f"{self.path}\n    cluster:    {self.cluster!r}\n    standalone: {self.standalone!r}"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A difference that may be: a regular expression for whole paths, and why."""

    pattern: str
    reason: str

    def covers(self, path: str) -> bool:
        return re.fullmatch(self.pattern, path) is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``unexplained`` differences, and ``stale`` entries that no longer occur."""

    unexplained: Sequence[Difference]
    stale: Sequence[Accepted]


def read_accepted(document: Any) -> list[Accepted]:
    """The entries of accepted.yaml. Raises ``ValueError`` naming the entry that is not one."""
    entries = []
    for number, entry in enumerate(document):
        if not isinstance(entry, dict) or set(entry) != {"path", "reason"}:
            raise ValueError(f"accepted.yaml: entry {number} must have `path` and `reason`, not {entry!r}")
        try:
            re.compile(entry["path"])
        except re.error as error:
            raise ValueError(f"accepted.yaml: entry {number}: {error}") from error
        entries.append(Accepted(entry["path"], " ".join(entry["reason"].split())))
    return entries


def judge(cluster: Mapping[str, Any], standalone: Mapping[str, Any], accepted: Sequence[Accepted]) -> Verdict:
    """What is different and not accepted; and of what was observed at all, which entries no longer occur."""
    found = list(differences(cluster, standalone))
    unexplained = [one for one in found if not any(entry.covers(one.path) for entry in accepted)]
    stale = [entry for entry in accepted if not any(entry.covers(one.path) for one in found)]
    return Verdict(unexplained, stale)


def differences(cluster: Mapping[str, Any], standalone: Mapping[str, Any]) -> Iterator[Difference]:
    """Every field that is not the same in both, in order of its path."""
    for name in sorted(cluster.keys() | standalone.keys()):
        yield from _between(name, cluster.get(name, ABSENT), standalone.get(name, ABSENT))


def _between(path: str, left: Any, right: Any) -> Iterator[Difference]:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from _between(f"{path}.{key}", left.get(key, ABSENT), right.get(key, ABSENT))
    elif isinstance(left, list) and isinstance(right, list):
        yield from _between_lists(path, left, right)
    elif left != right:
        yield Difference(path, left, right)


def _between_lists(path: str, left: list[Any], right: list[Any]) -> Iterator[Difference]:
    """Entries with a name are paired by it, texts by being the same, others by place."""
    if all(isinstance(item, str) for item in left + right):
        for item in sorted(set(left) ^ set(right)):
            here, there = (item, ABSENT) if item in left else (ABSENT, item)
            yield Difference(f"{path}[{item}]", here, there)
        return
    lefts, rights = _named(left), _named(right)
    for key in sorted(lefts.keys() | rights.keys()):
        yield from _between(f"{path}[{key}]", lefts.get(key, ABSENT), rights.get(key, ABSENT))


def _named(items: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for number, item in enumerate(items):
        key = next((str(item[key]) for key in KEYS if key in item), "") if isinstance(item, dict) else ""
        named[key if key and key not in named else f"{key}#{number}"] = item
    return named


def render_table(accepted: Sequence[Accepted]) -> str:
    """The accepted differences as the table of docs/reference/parity.md."""
    rows = [f"| `{entry.pattern.replace('|', chr(92) + '|')}` | {entry.reason} |" for entry in accepted]
    return "\n".join(["| where (regular expression) | why the homes differ |", "|---|---|", *rows])
