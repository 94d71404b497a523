"""Traffic blocks: resolution, the order of problems, flattening of the status."""

from typing import Any

import pytest

from wakeful.core.traffic import targets
from wakeful.core.traffic.targets import ConfigurationFacts, Problem, Readiness, RevisionFacts, Target

READY, FAILED, UNKNOWN = Readiness.READY, Readiness.FAILED, Readiness.UNKNOWN
CONFIGURATIONS = {
    "svc": ConfigurationFacts("svc-00002", FAILED),
    "new": ConfigurationFacts("", UNKNOWN),
    "bad": ConfigurationFacts("", FAILED),
    "gone": ConfigurationFacts("gone-00001", READY),
}
REVISIONS = {
    "svc-00001": RevisionFacts(READY, "svc", "svc"),
    "svc-00002": RevisionFacts(READY, "svc", "svc"),
    "svc-00003": RevisionFacts(FAILED, "svc", "svc"),
    "svc-00004": RevisionFacts(UNKNOWN, "svc", "svc"),
    "other-00001": RevisionFacts(READY, "other", "other"),
}


def resolve(*entries: dict[str, Any], owner: str = "svc") -> list[Target] | Problem:
    return targets.resolve(entries, CONFIGURATIONS.get, REVISIONS.get, owner)


def test_latest_is_the_latest_ready_one_even_when_a_newer_failed() -> None:
    assert resolve({"configurationName": "svc", "percent": 100, "latestRevision": True}) == [
        Target("svc-00002", 100, "", True, "svc")
    ]


@pytest.mark.parametrize(
    ("entry", "reason", "message", "is_final"),
    [
        (
            {"configurationName": "none"},
            "ConfigurationMissing",
            'Configuration "none" referenced in traffic not found.',
            True,
        ),
        (
            {"configurationName": "new"},
            "RevisionMissing",
            'Configuration "new" is waiting for a Revision to become ready.',
            False,
        ),
        (
            {"configurationName": "bad"},
            "RevisionMissing",
            'Configuration "bad" does not have any ready Revision.',
            True,
        ),
        (
            {"configurationName": "gone"},
            "RevisionMissing",
            'Revision "gone-00001" referenced in traffic not found.',
            True,
        ),
        (
            {"revisionName": "none"},
            "RevisionMissing",
            'Revision "none" referenced in traffic not found.',
            True,
        ),
        (
            {"revisionName": "svc-00003"},
            "RevisionMissing",
            'Revision "svc-00003" failed to become ready.',
            True,
        ),
        ({"revisionName": "svc-00004"}, "RevisionMissing", 'Revision "svc-00004" is not yet ready.', False),
        (
            {"revisionName": "other-00001"},
            "RevisionNotOwned",
            'Revision "other-00001" referenced in traffic is not owned by Service "svc".',
            True,
        ),
    ],
)
def test_problems(entry: dict[str, Any], reason: str, message: str, is_final: bool) -> None:
    found = resolve({"configurationName": "svc", "percent": 50}, {**entry, "percent": 50})
    assert found == Problem(targets.Reason(reason), message, is_final)


def test_a_mistake_is_told_before_something_to_wait_for() -> None:
    found = resolve({"revisionName": "svc-00004", "percent": 50}, {"revisionName": "none", "percent": 50})
    assert isinstance(found, Problem) and found.is_final


def test_a_route_without_a_service_may_use_any_revision() -> None:
    assert isinstance(resolve({"revisionName": "other-00001", "percent": 100}, owner=""), list)


def test_split_tags_and_status() -> None:
    found = resolve(
        {"revisionName": "svc-00001", "percent": 50},
        {"revisionName": "svc-00001", "percent": 40},
        {"revisionName": "svc-00001", "tag": "old"},
        {"configurationName": "svc", "percent": 10, "tag": "canary"},
    )
    assert isinstance(found, list)
    assert targets.main_split(found) == [("svc-00001", 90), ("svc-00002", 10)]
    assert {tag: target.revision for tag, target in targets.tags(found).items()} == {
        "old": "svc-00001",
        "canary": "svc-00002",
    }
    assert targets.render_status(found, lambda tag: f"http://{tag}") == [
        {"revisionName": "svc-00001", "latestRevision": False, "percent": 90},
        {
            "revisionName": "svc-00001",
            "latestRevision": False,
            "percent": 0,
            "tag": "old",
            "url": "http://old",
        },
        {
            "revisionName": "svc-00002",
            "latestRevision": True,
            "percent": 10,
            "tag": "canary",
            "url": "http://canary",
        },
    ]
