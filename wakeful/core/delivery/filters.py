"""Trigger filters: which events a Trigger wants.

Called by ingress (fan-out), the dispatcher (again before each attempt) and admission (``problems``). Source: Knative's
filter dialects (reference section 4.6). Theory: three values, where only FAIL keeps an event back. NO_FILTER is what
an empty or invalid entry says, so that ``{}``, ``all: []`` and ``exact: {type: ""}`` let everything pass, as Knative's
do. ``spec.filters`` non-empty makes ``spec.filter`` be ignored.
Worked example: ``not: {exact: {subject: x}}`` passes an event without subject, because exact FAILs on it.
Invariant: a filter once built never raises and takes time linear in its size (LIKE patterns: in pattern times value).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from wakeful.core.delivery import cesql
from wakeful.core.protocol.cloudevents import Event
from wakeful.core.protocol.cloudevents_types import render_value

UNSET_TIME = "0001-01-01T00:00:00Z"
MAX_DEPTH = 16
_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": str.startswith,
    "suffix": str.endswith,
}


class Result(Enum):
    """What a filter says about an event."""

    PASS = "pass"
    FAIL = "fail"
    NO_FILTER = "no_filter"


@dataclass(frozen=True, slots=True)
class Attributes:
    """``spec.filter.attributes``: all must match exactly; '' matches any value that is present."""

    wanted: tuple[tuple[str, str], ...]

    def match(self, event: Event) -> Result:
        for name, want in self.wanted:
            value = attribute(event, name)
            if value is None and name == "time":
                value = UNSET_TIME
            if value is None or (want and value != want):
                return Result.FAIL
        return Result.PASS if self.wanted else Result.NO_FILTER


@dataclass(frozen=True, slots=True)
class Compare:
    """``exact``, ``prefix`` or ``suffix``: all named attributes must be present and match."""

    dialect: str
    wanted: tuple[tuple[str, str], ...]

    def match(self, event: Event) -> Result:
        compare = _COMPARISONS[self.dialect]
        for name, want in self.wanted:
            value = attribute(event, name)
            if value is None or not compare(value, want):
                return Result.FAIL
        return Result.PASS


@dataclass(frozen=True, slots=True)
class All:
    """``all`` and the top-level list: the first FAIL decides."""

    parts: tuple[Filter, ...]

    def match(self, event: Event) -> Result:
        result = Result.NO_FILTER
        for part in self.parts:
            said = part.match(event)
            if said is Result.FAIL:
                return said
            if said is Result.PASS:
                result = said
        return result


@dataclass(frozen=True, slots=True)
class AnyOf:
    """``any``: the first PASS decides, else what the last part said."""

    parts: tuple[Filter, ...]

    def match(self, event: Event) -> Result:
        result = Result.NO_FILTER
        for part in self.parts:
            result = part.match(event)
            if result is Result.PASS:
                return result
        return result


@dataclass(frozen=True, slots=True)
class Not:
    """``not``: turned round; NO_FILTER passes."""

    part: Filter

    def match(self, event: Event) -> Result:
        return Result.FAIL if self.part.match(event) is Result.PASS else Result.PASS


@dataclass(frozen=True, slots=True)
class Cesql:
    """``cesql``: passes only on Boolean true without any error."""

    expression: cesql.Expression

    def match(self, event: Event) -> Result:
        value, errors = self.expression.evaluate(event)
        return Result.PASS if value is True and not errors else Result.FAIL


@dataclass(frozen=True, slots=True)
class Nothing:
    """An entry that cannot be understood and must not let everything pass."""

    def match(self, event: Event) -> Result:
        return Result.FAIL


Filter = Attributes | Compare | All | AnyOf | Not | Cesql | Nothing


def attribute(event: Event, name: str) -> str | None:
    """The attribute as a string, None when absent."""
    if name == "specversion":
        return "1.0"
    if name in ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema"):
        value: str | None = getattr(event, name)
        return value
    extension = event.extensions.get(name)
    return None if extension is None else render_value(extension)


def wants(chosen: Filter, event: Event) -> bool:
    """Whether an event passes."""
    return chosen.match(event) is not Result.FAIL


def build(spec: Mapping[str, Any]) -> Filter:
    """The filter of a Trigger's ``spec``. Never raises: invalid entries are left out as Knative leaves them out."""
    filters = spec.get("filters")
    if isinstance(filters, list) and filters:
        return All(_build_list(filters, 1))
    attributes = (spec.get("filter") or {}).get("attributes")
    return Attributes(_pairs(attributes)) if isinstance(attributes, Mapping) else All(())


def _build_list(entries: Sequence[Any], depth: int) -> tuple[Filter, ...]:
    built = (_build(entry, depth) for entry in entries if isinstance(entry, Mapping))
    return tuple(part for part in built if part is not None)


def _build(entry: Mapping[str, Any], depth: int) -> Filter | None:
    """One filter object (an empty one says NO_FILTER); None leaves an invalid one out of its list."""
    if depth > MAX_DEPTH:
        return Nothing()
    for dialect in _COMPARISONS:
        wanted = entry.get(dialect)
        if isinstance(wanted, Mapping) and wanted:
            pairs = _pairs(wanted)
            return Compare(dialect, pairs) if all(value for _, value in pairs) else None
    for dialect, kind in (("all", All), ("any", AnyOf)):
        if entry.get(dialect):
            return kind(_build_list(entry[dialect], depth + 1))
    if isinstance(entry.get("not"), Mapping):
        return Not(_build(entry["not"], depth + 1) or All(()))
    if entry.get("cesql"):
        try:
            return Cesql(cesql.parse(str(entry["cesql"])))
        except cesql.ParseError:
            return Nothing()
    return All(())


def _pairs(wanted: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((str(name), str(value)) for name, value in wanted.items())
