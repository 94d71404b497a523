"""Trigger filters: dialects, three values, what invalid entries do (reference section 4.6)."""

from __future__ import annotations

from typing import Any

import pytest

from wakeful.core.delivery import filters
from wakeful.core.protocol.cloudevents import Event

EVENT = Event("1", "/s/x", "com.example", subject="abc", extensions={"tenant": "a", "typed": True})


def passes(spec: dict[str, Any], event: Event = EVENT) -> bool:
    return filters.wants(filters.build(spec), event)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, True),
        ({"type": "com.example"}, True),
        ({"type": "com.Example"}, False),
        ({"type": "com.example", "source": "/s"}, False),
        ({"subject": ""}, True),
        ({"missing": ""}, False),
        ({"time": ""}, True),
        ({"tenant": "a"}, True),
        ({"specversion": "1.0"}, True),
    ],
)
def test_attributes(attributes: dict[str, str], expected: bool) -> None:
    assert passes({"filter": {"attributes": attributes}}) is expected


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"exact": {"type": "com.example"}}], True),
        ([{"exact": {"type": "x"}}], False),
        ([{"exact": {"missing": "x"}}], False),
        ([{"prefix": {"type": "com.", "source": "/s"}}], True),
        ([{"suffix": {"type": ".example", "source": "/y"}}], False),
        ([{"exact": {"typed": "true"}}], True),
        ([{"exact": {"type": ""}}], True),
        ([{"prefix": {"type": ""}}, {"exact": {"type": "x"}}], False),
        ([{}], True),
        ([{"all": []}], True),
        ([{"any": []}], True),
        ([{"all": [{"exact": {"type": "com.example"}}, {"prefix": {"source": "/q"}}]}], False),
        ([{"any": [{"exact": {"type": "x"}}, {"prefix": {"source": "/s"}}]}], True),
        ([{"any": [{"exact": {"type": "x"}}]}], False),
        ([{"any": [{"exact": {"type": "x"}}, {"all": []}]}], True),
        ([{"not": {"exact": {"type": "x"}}}], True),
        ([{"not": {"exact": {"subject": "abc"}}}], False),
        ([{"not": {"exact": {"nothere": "x"}}}], True),
        ([{"not": {}}], True),
        ([{"not": {"exact": {"type": ""}}}], True),
        ([{"not": {"not": {"exact": {"type": "com.example"}}}}], True),
        ([{"cesql": "type LIKE 'com.%' AND subject = 'abc'"}], True),
        ([{"cesql": "missing = 'x'"}], False),
        ([{"cesql": "LENGTH(type)"}], False),
        ([{"cesql": "not valid ("}], False),
        ([{"exact": {"type": "com.example"}}, {"suffix": {"source": "/y"}}], False),
    ],
)
def test_dialects(entries: list[dict[str, Any]], expected: bool) -> None:
    assert passes({"filters": entries}) is expected


def test_filters_make_filter_be_ignored() -> None:
    ignored = {"filter": {"attributes": {"type": "other"}}}
    assert passes(ignored | {"filters": [{"exact": {"type": "com.example"}}]})
    assert not passes(ignored | {"filters": []})


def test_a_filter_nested_too_deeply_lets_nothing_pass() -> None:
    entry: dict[str, Any] = {"exact": {"type": "com.example"}}
    for _ in range(5_000):
        entry = {"all": [entry]}
    assert not passes({"filters": [entry]})
