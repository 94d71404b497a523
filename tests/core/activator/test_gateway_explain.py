"""The sentences behind 404 and 504."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from standalone.gateway import explain
from standalone.gateway.podview import PodView, Probe, RevisionView

PROBE = Probe("http", 8080, "/ready")
VIEW = RevisionView("ns", "m-predictor-00002", service="m-predictor", generation=2, probe=PROBE)


@dataclass
class Pod:
    view: PodView
    refusal: str = ""


def pod(failure: str = "", refusal: str = "", **timeline: float) -> Pod:
    return Pod(PodView("u", "p", ("ns", "r"), "", {}, timeline, False, False, failure), refusal)


@pytest.mark.parametrize(
    ("pods", "trouble", "told"),
    [
        ([], None, "has no pod: no pod was created for it yet"),
        ([], "the autoscaler does not answer", "has no pod: the autoscaler does not answer"),
        (
            [pod()],
            None,
            'pod "p": its container was not started yet (volumes or init containers are not done)',
        ),
        ([pod(failure="c: exited with code 1")], None, 'pod "p": c: exited with code 1'),
        (
            [pod(refusal="HTTP 503", started=90.0)],
            None,
            "started 10 s ago, but its readiness probe (http /ready on port 8080) got no good answer: HTTP 503",
        ),
    ],
    ids=["no pod", "no autoscaler", "not started", "failed", "not ready"],
)
def test_why_no_pod(pods: list[Pod], trouble: str | None, told: str) -> None:
    assert explain.why_no_pod(VIEW, pods, trouble, 100.0).endswith(told)


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("m.ns.localhost", "was never ready: it is still starting"),
        ("m-predictor.ns.svc.cluster.local", "was never ready: it is still starting"),
        ("m.other.localhost", ""),
        ("x.ns.localhost", ""),
        ("ns", ""),
        ("", ""),
    ],
)
def test_why_no_route(host: str, told: str) -> None:
    older = RevisionView("ns", "m-predictor-00001", service="m-predictor", generation=1, failure="old")
    text = explain.why_no_route(host, [VIEW, older])
    assert text.endswith(told) and bool(text) == bool(told)


def test_a_private_route_says_where_it_is_called() -> None:
    known = {"m.ns.svc.cluster.local"}
    text = explain.why_no_route("m.ns.localhost", [VIEW], known)
    assert text.startswith("it is private (cluster-local): pods call http://m.ns.svc.cluster.local")
    assert "private" not in explain.why_no_route("x.ns.localhost", [VIEW], known)


def test_long_and_many_lines_become_one_short_line() -> None:
    told = explain.one_line("a\nb " + "x" * 2000)
    assert told.startswith("a b xxx") and len(told) < 520 and told.endswith(" ...")
