"""The tools behind the exchanges: what is made equal, what counts as different, what an acceptance covers."""

from __future__ import annotations

from pathlib import Path

import pytest
from exchange_compare import differences, flatten, normalise, pick, split
from exchange_steps import FOLDER, accepted, change, families, load, recorded

UID = "11111111-2222-3333-4444-555555555555"


def test_what_differs_from_run_to_run_is_made_equal() -> None:
    answer = {
        "metadata": {"uid": UID, "resourceVersion": "7", "name": "a-exchange-1", "at": "2026-01-01T00:00:00Z"}
    }
    once = normalise(answer, {"ns": "exchange-1"})
    assert once == {
        "metadata": {"uid": "<uid>", "resourceVersion": "<version>", "name": "a-<ns>", "at": "<time>"}
    }
    assert normalise(once, {"ns": "exchange-1"}) == once
    assert normalise("12s", {}) == "<age>" and normalise("x 9", {}, (r"\d",)) == "x <scrubbed>"
    quoted = r'Invalid value: "{\"resourceVersion\":\"%s\"}": no'
    assert normalise(quoted % "12", {}) == normalise(quoted % "345", {}) == quoted % "<version>"
    assert normalise('resourceVersion: "12"\n', {}) == 'resourceVersion: "<version>"\n'


def test_paths_of_leaves() -> None:
    assert dict(flatten({"a": [{"b.c": 1}], "d": {}})) == {'a[0]["b.c"]': 1, "d": {}}
    assert pick({"a": [{"b.c": 1}]}, 'a[0]["b.c"]') == 1 and pick({"a": 1}, "a.b") == "<missing>"


def test_a_difference_names_its_path_and_the_order_of_complaints_says_nothing() -> None:
    one, two = ({"field": name, "reason": "R", "message": "m"} for name in ("a", "b"))
    real = {
        "status": 422,
        "body": {"message": "X is invalid: [a, b]", "details": {"causes": [one, two, one]}},
    }
    ours = {"status": 422, "body": {"message": "X is invalid: [b, a]", "details": {"causes": [two, one]}}}
    assert differences(real, ours) == {}
    assert differences({"a": 1}, {"a": True}) == {"a": (1, True)}
    assert differences({"a": {"b": 1}, "c": 1}, {"c": 1}) == {"a.b": (1, "<missing>")}


def test_an_acceptance_covers_what_is_below_it_and_ends_when_nothing_differs() -> None:
    found = {"body.a.b": (1, 2), "body.ab": (1, 2)}
    assert split(found, {"body.a"}) == ({"body.ab": (1, 2)}, set())
    assert split({}, {"body.a"}) == ({}, {"body.a"})
    assert split(found, {""}) == ({}, set())


def test_a_body_is_changed_by_paths() -> None:
    body = {"a": [{"b": 1}]}
    change(body, "a[0].b", 2)
    change(body, "a[1]", {})
    change(body, "c.d", 3)
    change(body, "a[0].b", None, is_dropped=True)
    assert body == {"a": [{}, {}], "c": {"d": 3}}


def test_a_family_with_a_mistake_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("steps: [{id: a, do: GET /x}, {id: a, do: GET /y}]")
    with pytest.raises(AssertionError, match="ids used twice: \\['a'\\]"):
        load(path)
    path.write_text("steps: [{id: a, does: GET /x}]")
    with pytest.raises(AssertionError, match="does"):
        load(path)


def test_every_step_is_recorded_and_every_acceptance_belongs_to_one() -> None:
    steps = {family.name: {step.id for step in family.steps if not step.silent} for family in families()}
    assert steps and all(ids == recorded(name).keys() for name, ids in steps.items())
    for name, places in accepted().places.items():
        assert places.keys() <= steps[name], name
    assert {path.stem for path in FOLDER.glob("*.yaml")} == steps.keys()
