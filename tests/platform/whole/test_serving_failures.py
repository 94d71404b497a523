"""What a Knative Service says when it cannot run, on a whole platform with real processes."""

from __future__ import annotations

import pytest
from serving_echo import Echo
from waiting_rig import until_blocking as until
from whole_platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120), pytest.mark.usefixtures("needs_kubectl")]
NAMESPACE = "serving-failures"


@pytest.fixture(scope="module")
def namespace(platform: Platform) -> str:
    platform.kubectl("create", "namespace", NAMESPACE)
    return NAMESPACE


CASES = [
    (
        "noimage",
        {"container": {"image": "nosuch/image:1"}},
        "ContainerHealthy",
        "ContainerMissing",
        "Unable to fetch image",
    ),
    (
        "crash",
        {"env": [{"name": "EXIT", "value": "3"}]},
        "ContainerHealthy",
        "ExitCode3",
        "Container failed with: weights are missing",
    ),
    (
        "unready",
        {
            "notes": {"serving.knative.dev/progress-deadline": "3s"},
            "container": {"readinessProbe": {"httpGet": {"path": "/unready"}, "periodSeconds": 1}},
        },
        "ResourcesAvailable",
        "ProgressDeadlineExceeded",
        "has timed out progressing.",
    ),
]


@pytest.mark.parametrize(
    ("name", "more", "type_", "reason", "words"), CASES, ids=lambda value: str(value)[:20]
)
def test_the_revision_says_why_and_the_service_repeats_it(
    platform: Platform,
    namespace: str,
    name: str,
    more: dict[str, object],
    type_: str,
    reason: str,
    words: str,
) -> None:
    echo = Echo(platform, namespace, name)
    echo.apply(**more)  # type: ignore[arg-type]
    until(lambda: echo.condition("Ready")[0] == "False", 30, f"{name} to fail")
    status, found, message = echo.condition(type_, "rev", f"{name}-00001")
    assert (status, found) == ("False", reason)
    assert words in message
    assert echo.condition("Ready", "rev", f"{name}-00001") == (status, found, message)
    told = f'Revision "{name}-00001" failed with message: {message}.'
    assert echo.condition("Ready", "cfg") == ("False", "RevisionFailed", told)
    until(
        lambda: echo.condition("ConfigurationsReady") == ("False", "RevisionFailed", told),
        5,
        "the Service to say so",
    )
    missing = f'Configuration "{name}" does not have any ready Revision.'
    assert echo.condition("RoutesReady") == ("False", "RevisionMissing", missing)
    echo.apply("2")
    echo.ready()
    assert echo.call() == (200, f"{name}-00002")


def test_a_deleted_revision_that_is_pinned(platform: Platform, namespace: str) -> None:
    echo = Echo(platform, namespace, "gone")
    for version in ("1", "2"):
        echo.roll_out(version, f"gone-0000{version}")
    shares = [{"revisionName": f"gone-0000{n}", "percent": 50} for n in (1, 2)]
    echo.apply("2", spec={"traffic": shares})
    echo.ready()
    echo.kubectl("delete", "rev", "gone-00001")
    told = ("False", "RevisionMissing", 'Revision "gone-00001" referenced in traffic not found.')
    until(lambda: echo.condition("Ready") == told, 10, "the Service to say so")
    answers = echo.count(40)
    assert set(answers) == {
        (200, "gone-00002"),
        (404, 'revision.serving.knative.dev "gone-00001" not found\n'),
    }
    echo.apply("2")
    echo.kubectl("patch", "ksvc", "gone", "--type=merge", "-p", '{"spec":{"traffic":null}}')
    echo.ready()
    assert echo.count(20) == {(200, "gone-00002"): 20}
