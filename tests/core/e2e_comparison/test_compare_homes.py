"""The comparison of the homes: what counts as a difference, what is taken out, and that the list of reasons is honest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from e2e import compare, normal

ROOT = Path(__file__).resolve().parents[3]
NAMES = normal.Names("e2e-iris-0a1b2c", "localhost:8080", ("python:3.11",))


def paths(cluster: Any, standalone: Any) -> list[str]:
    return [found.path for found in compare.differences({"x": cluster}, {"x": standalone})]


@pytest.mark.parametrize(
    ("cluster", "standalone", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["x.a"]),
        ({"a": 1}, {}, ["x.a"]),
        ({}, {"a": None}, ["x.a"]),
        ([{"type": "Ready", "s": 1}, {"type": "B"}], [{"type": "B"}, {"type": "Ready", "s": 1}], []),
        ([{"type": "Ready", "s": 1}], [{"type": "Ready", "s": 2}], ["x[Ready].s"]),
        ([{"type": "A"}, {"type": "A", "n": 1}], [{"type": "A"}], ["x[A#1]"]),
        (["b", "a"], ["a", "b"], []),
        (["a"], ["a", "c"], ["x[c]"]),
        ([["NAME", "URL"]], [["NAME", "URL", "AGE"]], ["x[#0][AGE]"]),
        ([1, 2], [1, 3], ["x[#1]"]),
        ({"a": True}, {"a": "True"}, ["x.a"]),
    ],
)
def test_differences(cluster: Any, standalone: Any, found: list[str]) -> None:
    assert paths(cluster, standalone) == found


def test_an_observation_of_one_home_only_is_a_difference() -> None:
    assert [str(found.path) for found in compare.differences({"a": 1}, {"b": 1})] == ["a", "b"]


def test_what_is_explained_and_what_is_stale() -> None:
    entries = compare.read_accepted(
        [{"path": r"x\.a", "reason": "why"}, {"path": r"y\..*", "reason": "no more"}]
    )
    verdict = compare.judge({"x": {"a": 1, "ab": 1}}, {"x": {"a": 2, "ab": 2}}, entries)
    assert [found.path for found in verdict.unexplained] == ["x.ab"]
    assert [entry.pattern for entry in verdict.stale] == [r"y\..*"]


@pytest.mark.parametrize(
    "document",
    [[{"path": "a"}], [{"path": "(", "reason": "r"}], ["a"]],
    ids=["no reason", "no expression", "text"],
)
def test_a_bad_entry_is_named(document: Any) -> None:
    with pytest.raises(ValueError, match="entry 0"):
        compare.read_accepted(document)


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("http://iris.e2e-iris-0a1b2c.localhost:8080/x", "http://iris.NAMESPACE.DOMAIN/x"),
        ("iris.e2e-iris-0a1b2c.localhost", "iris.NAMESPACE.DOMAIN"),
        ("pod iris-predictor-00001-deployment-6c5d8f-x2x9p:", "pod iris-predictor-00001-deployment-POD:"),
        ("at 2026-11-21T18:27:10Z", "at TIME"),
        ("id 0b0e9d0e-0c1d-4d1a-9d44-1c2d3e4f5a6b", "id UID"),
        ("dev.local/wakeful/sklearn:0.1.0 python:3.11", "wakeful/sklearn:0.1.0 IMAGE"),
    ],
)
def test_what_differs_by_nature_becomes_a_word(found: str, wanted: str) -> None:
    assert normal.text(found, NAMES) == wanted


def test_ids_and_times_are_dropped_and_the_rest_is_kept() -> None:
    obj = {"metadata": {"uid": "1", "resourceVersion": "2", "generation": 3, "labels": {"a": "b"}}, "n": 0}
    assert normal.value(obj, NAMES) == {"metadata": {"generation": 3, "labels": {"a": "b"}}, "n": 0}


def test_columns_are_cells_and_ages_are_words() -> None:
    said = "NAME   READY   REASON   AGE\niris   True             2m5s\n"
    assert normal.columns(said, NAMES) == [["NAME", "READY", "REASON", "AGE"], ["iris", "True", "AGE"]]


def test_parity_shows_every_accepted_difference() -> None:
    entries = compare.read_accepted(yaml.safe_load((ROOT / "e2e" / "accepted.yaml").read_text()))
    parity = (ROOT / "docs" / "reference" / "parity.md").read_text()
    assert compare.render_table(entries) in parity, "write it with: python -m e2e.parity"
