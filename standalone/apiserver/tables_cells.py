"""The words of table cells: ages, durations, label selectors, and what a column is.

Used by ``tables`` and the column tables of built-in kinds. Invariant: ages are printed exactly as kubectl prints them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Obj = dict[str, Any]
Cell = Callable[[Obj, datetime], Any]
NONE = "<none>"
UNKNOWN = "<unknown>"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its cell of an object at a time. ``priority`` 1 is shown by ``-o wide`` only."""

    name: str
    cell: Cell
    type: str = "string"
    priority: int = 0
    format: str = ""
    description: str = ""


def at(obj: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path, or ``default`` when absent or null."""
    for key in path.split("."):
        obj = obj.get(key) if isinstance(obj, dict) else None
    return default if obj is None else obj


def field(name: str, path: str, default: Any = "", *, type: str = "string", priority: int = 0) -> Column:
    """A column that shows one field."""
    return Column(name, lambda obj, now: at(obj, path, default), type, priority)


def parse_time(text: str) -> datetime | None:
    """An RFC 3339 time, or None."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo is not None else None


def age_of(text: Any, now: datetime) -> str:
    """How long ago a time was, as kubectl prints it; ``<unknown>`` without one."""
    if not text:
        return UNKNOWN
    parsed = parse_time(text) if isinstance(text, str) else None
    return "<invalid>" if parsed is None else duration((now - parsed).total_seconds())


def duration(seconds: float) -> str:
    """A length of time in kubectl's words: ``45s``, ``5m30s``, ``3h``, ``2d4h``, ``400d``."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 120:
        return f"{whole}s"
    minutes = whole // 60
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = hours // 24
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    years = days // 365
    return _two(years, "y", days % 365, "d") if days < 2920 else f"{years}y"


def _two(big: int, big_unit: str, small: int, small_unit: str) -> str:
    return f"{big}{big_unit}{small}{small_unit}" if small else f"{big}{big_unit}"


def selector_text(selector: Any) -> str:
    """A label selector (or plain map of labels) as ``a=b,c in (d,e)``."""
    if not isinstance(selector, dict) or not selector:
        return NONE
    if "matchLabels" not in selector and "matchExpressions" not in selector:
        return ",".join(f"{key}={selector[key]}" for key in sorted(selector))
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for rule in selector.get("matchExpressions") or ():
        words = {"In": "in", "NotIn": "notin"}.get(rule["operator"])
        if words:
            parts.append(f"{rule['key']} {words} ({','.join(rule.get('values') or ())})")
        else:
            parts.append(rule["key"] if rule["operator"] == "Exists" else f"!{rule['key']}")
    return ",".join(parts) or NONE


def containers_of(spec: Any) -> tuple[str, str]:
    """The names and the images of a pod spec's containers, joined by commas."""
    containers = at(spec, "containers", [])
    names = ",".join(str(one.get("name", "")) for one in containers)
    return names, ",".join(str(one.get("image", "")) for one in containers)


def join(items: Any, limit: int = 0) -> str:
    """Items joined by commas; beyond ``limit`` the rest is counted."""
    texts = [str(item) for item in items]
    if limit and len(texts) > limit:
        return ",".join(texts[:limit]) + f" + {len(texts) - limit} more..."
    return ",".join(texts) or NONE


NAME = Column(
    "Name", lambda obj, now: at(obj, "metadata.name", ""), "string", 0, "name", "Name of the object"
)
AGE = Column(
    "Age",
    lambda obj, now: age_of(at(obj, "metadata.creationTimestamp"), now),
    description="Time since creation",
)
CREATED_AT = Column(
    "Created At",
    lambda obj, now: at(obj, "metadata.creationTimestamp"),
    "date",
    description="Time of creation",
)
