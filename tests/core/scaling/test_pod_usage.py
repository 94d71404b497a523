"""From readings of the node to the HPA class's measurement."""

from typing import Any

import pytest

from standalone.knative import pod_usage
from standalone.knative.pod_usage import PodUsage
from wakeful.core.scaling import hpa


def pod(uid: str, *cpus: str | None) -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": cpu}} if cpu else {}} for cpu in cpus]
    return {"metadata": {"uid": uid}, "spec": {"containers": containers}}


@pytest.mark.parametrize(
    ("pods", "read", "found"),
    [
        ([], {"a": PodUsage(1.0, 5)}, None),
        ([pod("a", "500m")], {}, None),
        ([pod("a", "500m")], {"a": PodUsage(1.0, 10.0)}, hpa.Usage(1, 200.0, 10.0)),
        (
            [pod("a", "1", "1"), pod("b", "2"), pod("c", "1")],
            {"a": PodUsage(1.0, 10.0), "b": PodUsage(0.0, 30.0)},
            hpa.Usage(2, 25.0, 20.0),
        ),
        ([pod("a", "1", None)], {"a": PodUsage(1.0, 10.0)}, hpa.Usage(1, None, 10.0)),
        ([pod("a", "much")], {"a": PodUsage(1.0, 10.0)}, hpa.Usage(1, None, 10.0)),
        ([pod("a", "1")], {"a": PodUsage(None, 10.0)}, hpa.Usage(1, None, 10.0)),
    ],
    ids=["no pods", "nothing read", "one", "two of three", "no request", "no quantity", "first reading"],
)
def test_the_mean_of_what_was_measured(pods: Any, read: Any, found: Any) -> None:
    assert pod_usage.measure(pods, read) == found


def test_a_limit_counts_as_a_request() -> None:
    limited = {"metadata": {"uid": "a"}, "spec": {"containers": [{"resources": {"limits": {"cpu": 2}}}]}}
    assert pod_usage.measure([limited], {"a": PodUsage(1.0, 0.0)}) == hpa.Usage(1, 50.0, 0.0)
