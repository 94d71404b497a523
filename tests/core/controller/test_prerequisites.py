"""What makes a cluster unfit for Wakeful, and that every finding says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from controller.prerequisites import Found, Reason, judge, parse_version, serves

OURS = {"metadata": {"labels": {"app.kubernetes.io/part-of": "wakeful"}}}
KSERVE = {"webhooks": [{"clientConfig": {"service": {"namespace": "kserve"}}}]}


def network(version: str = "1.21.0", **data: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/version": version}
    return {"metadata": {"labels": labels}, "data": data or {"ingress-class": "kourier"}}


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        (
            Found(network=network(), kserve=KSERVE, definition=OURS),
            Reason.KSERVE_INSTALLED,
            "namespace kserve",
        ),
        (
            Found(network=network(), kserve={}),
            Reason.KSERVE_INSTALLED,
            "kubectl delete -k config/without-crds",
        ),
        (
            Found(network=network(), definition={"metadata": {}}),
            Reason.FOREIGN_DEFINITIONS,
            "--force-conflicts -k config/crd",
        ),
        (Found(serves_services=False), Reason.KNATIVE_NOT_INSTALLED, "Install Knative"),
        (Found(serves_ingresses=False), Reason.KNATIVE_NOT_SUPPORTED, "install Knative Serving 1.21"),
        (Found(network=network("1.7.4")), Reason.KNATIVE_NOT_SUPPORTED, "1.7 is too old"),
        (Found(network=network(other="x")), Reason.INGRESS_CLASS_MISSING, "kubectl patch configmap"),
        (Found(is_network_readable=False), Reason.KNATIVE_NOT_READABLE, "kubectl apply -k config/default"),
    ],
)
def test_findings(found: Found, reason: Reason, words: str) -> None:
    (finding,) = judge(found)
    assert finding.reason is reason
    assert words in finding.message
    assert finding.is_blocking == (reason in (Reason.KSERVE_INSTALLED, Reason.FOREIGN_DEFINITIONS))


@pytest.mark.parametrize("version", ["1.21.0", "v1.8.0", "devel", "", "20260101-abc"])
def test_nothing_is_wrong(version: str) -> None:
    assert judge(Found(network=network(version), definition=OURS)) == ()
    assert judge(Found(network=network(version, **{"ingress.class": "old-name"}))) == ()


def test_what_blocks_comes_first() -> None:
    found = judge(Found(serves_services=False, kserve=KSERVE))
    assert [item.reason for item in found] == [Reason.KSERVE_INSTALLED, Reason.KNATIVE_NOT_INSTALLED]


def test_versions_and_resources() -> None:
    assert parse_version("1.21") == (1, 21)
    assert parse_version("v1.9.3-rc1") == (1, 9)
    assert parse_version("1.x") is None
    assert serves({"resources": [{"name": "services"}]}, "services")
    assert not serves({"resources": []}, "services")
    assert not serves(None, "services")
