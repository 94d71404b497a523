"""What ``wakeful doctor`` found, as a table that says what is wrong and what to do.

Filled by ``doctor_cluster`` and ``doctor_machine``. Invariant: everything that is not well says what to do about it.
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table; ``todo`` is empty only where all is well."""

    name: str
    state: State
    found: str
    todo: str = ""


def well(name: str, found: str) -> Check:
    return Check(name, State.OK, found)


def warning(name: str, found: str, todo: str) -> Check:
    return Check(name, State.WARN, found, todo)


def wrong(name: str, found: str, todo: str) -> Check:
    return Check(name, State.FAIL, found, todo)


def render(checks: Iterable[Check], columns: int | None = None) -> str:
    """The table, and a last line that sums it up."""
    width = columns or shutil.get_terminal_size((120, 24)).columns
    rows = list(checks)
    name_width = max((len(item.name) for item in rows), default=5) + 2
    indent = " " * (name_width + 6)
    lines = []
    for item in rows:
        head = f"{item.state:<6}{item.name:<{name_width}}"
        lines += _wrapped(item.found, head, indent, width)
        if item.todo:
            lines += _wrapped(item.todo, indent + "-> ", indent + "   ", width)
    failed = sum(item.state is State.FAIL for item in rows)
    warned = sum(item.state is State.WARN for item in rows)
    lines.append(f"\n{len(rows)} checks, {failed} failed, {warned} warnings")
    return "\n".join(lines)


def _wrapped(text: str, first: str, rest: str, width: int) -> list[str]:
    return textwrap.wrap(
        text or "-",
        max(width, 60),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def status_of(checks: Iterable[Check]) -> int:
    """The exit status: 1 when a check failed; warnings do not count."""
    return int(any(item.state is State.FAIL for item in checks))
