"""What Knative's webhook says about a bad field: message, path, details, and the text a client sees.

Validators yield ``Problem``s with paths relative to what they look at; ``under`` puts them below a parent. The words
are Knative's own, because people search for them.

Invariant: ``render`` gives one line for each different (message, details), with the paths of all that share it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

MISSING = "missing field(s)"
DISALLOWED = "must not set the field(s)"
ONE_OF_NONE = "expected exactly one, got neither"
ONE_OF_BOTH = "expected exactly one, got both"


@dataclass(frozen=True, slots=True)
class Problem:
    """``path`` is ``containers[0].env`` style; ``details`` an optional second line."""

    message: str
    path: str
    details: str = ""


def under(parent: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    """The same problems with ``parent`` put before each of their paths."""
    for problem in problems:
        paths = ", ".join(_join(parent, path) for path in problem.path.split(", "))
        yield Problem(problem.message, paths, problem.details)


def _join(parent: str, path: str) -> str:
    return parent + path if not path or path.startswith("[") else f"{parent}.{path}"


def invalid(value: Any, path: str, details: str = "") -> Problem:
    return Problem(f"invalid value: {value}", path, details)


def out_of_bounds(value: Any, low: Any, high: Any, path: str) -> Problem:
    return Problem(f"expected {low} <= {value} <= {high}", path)


def disallowed(*paths: str) -> list[Problem]:
    return [Problem(DISALLOWED, path) for path in paths]


def render(problems: Iterable[Problem]) -> str:
    """The text after ``validation failed: ``, in Knative's form."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for problem in problems:
        grouped.setdefault((problem.message, problem.details), []).append(problem.path)
    lines = []
    for (message, details), paths in grouped.items():
        shown = ", ".join(sorted({path for path in paths if path}))
        line = f"{message}: {shown}" if shown else message
        lines.append(f"{line}\n{details}" if details else line)
    return "\n".join(lines)


def difference(old: Any, new: Any, path: str = "") -> str:
    """What changed from ``old`` to ``new``, one ``-old``/``+new`` pair of lines for each leaf, at most ten."""
    return "\n".join(line for pair in _leaves(old, new, path) for line in pair).strip() or "(nothing)"


def _leaves(old: Any, new: Any, path: str) -> list[tuple[str, str]]:
    if old == new:
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [
            _leaves(old.get(key), new.get(key), f"{path}.{key}" if path else key)
            for key in sorted(old.keys() | new.keys())
        ]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [_leaves(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(old, new, strict=True))]
    else:
        return [(f"{{{path}}}:\n\t-: {_short(old)}", f"\t+: {_short(new)}")]
    return [pair for part in parts for pair in part][:10]


def _short(value: Any) -> str:
    text = repr(value) if value is not None else "<unset>"
    return text if len(text) <= 200 else text[:197] + "..."
