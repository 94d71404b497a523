"""Ingress objects to a table, and which revision a request gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.gateway import routing
from standalone.gateway.routing import Miss, NoRoute, ToRevision


def path(revision: str = "r1", **more: Any) -> dict[str, Any]:
    headers = {"Knative-Serving-Revision": revision, "Knative-Serving-Namespace": "ns"}
    split = {"serviceName": revision, "serviceNamespace": "ns", "percent": 100, "appendHeaders": headers}
    return {"splits": [split], **more}


def ingress(*rules: dict[str, Any], name: str = "i", created: str = "2026-01-01T00:00:00Z") -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "creationTimestamp": created}
    return {"metadata": metadata, "spec": {"rules": list(rules)}}


def rule(host: str, *paths: dict[str, Any], visibility: str = "ExternalIP") -> dict[str, Any]:
    return {"hosts": [host], "visibility": visibility, "http": {"paths": list(paths)}}


def decide(table: routing.Table, host: str, target: str = "/", point: float = 0.0, **headers: str) -> str:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    match routing.decide(table, host, target.encode(), fields, point):
        case ToRevision(_, revision):
            return revision
        case NoRoute(reason):
            return reason


TABLE = routing.build_table(
    [
        ingress(
            rule("m.ns.localhost", path("main")),
            rule("m.ns.svc.cluster.local", path("main"), visibility="ClusterLocal"),
            rule("m.ns", path("main"), visibility="ClusterLocal"),
            rule("private.ns.localhost", path("main"), visibility="ClusterLocal"),
            rule(
                "h.ns.localhost",
                path("plain"),
                path("tagged", headers={"Knative-Serving-Tag": {"exact": "canary"}}),
                path("v2", path="/v2"),
                path("v2models", path="/v2/models"),
                path("v2tagged", path="/v2", headers={"Knative-Serving-Tag": {"exact": "canary"}}),
            ),
            rule("alias.example.com", path("ignored", rewriteHost="m.ns.svc.cluster.local")),
            rule("loop1.x.y", path(rewriteHost="loop2.x.y")),
            rule("loop2.x.y", path(rewriteHost="loop1.x.y")),
            rule("empty.ns.localhost", {"splits": []}),
        )
    ]
)


@pytest.mark.parametrize(
    ("host", "target", "headers", "expected"),
    [
        ("m.ns.localhost", "/", {}, "main"),
        ("M.Ns.LocalHost:8080", "/", {}, "main"),
        ("m.ns.localhost.", "/", {}, "main"),
        ("m.ns.svc.cluster.local:80", "/", {}, "main"),
        ("m.ns", "/", {}, "main"),
        ("private.ns.localhost", "/", {}, Miss.UNKNOWN_HOST),
        ("other.ns.localhost", "/", {}, Miss.UNKNOWN_HOST),
        ("", "/", {}, Miss.UNKNOWN_HOST),
        ("[::1]:8080", "/", {}, Miss.UNKNOWN_HOST),
        ("h.ns.localhost", "/", {}, "plain"),
        ("h.ns.localhost", "/", {"knative_serving_tag": "canary"}, "tagged"),
        ("h.ns.localhost", "/", {"knative_serving_tag": "unknown"}, "plain"),
        ("h.ns.localhost", "/v2", {}, "v2"),
        ("h.ns.localhost", "/v2?x=/v2/models", {}, "v2"),
        ("h.ns.localhost", "/v2x", {}, "plain"),
        ("h.ns.localhost", "/v2/models/m/infer", {}, "v2models"),
        ("h.ns.localhost", "/v2/health", {"knative_serving_tag": "canary"}, "v2tagged"),
        ("alias.example.com", "/", {}, "main"),
        ("loop1.x.y", "/", {}, Miss.LOOP),
        ("empty.ns.localhost", "/", {}, Miss.NO_SPLIT),
    ],
)
def test_decision(host: str, target: str, headers: dict[str, str], expected: str) -> None:
    assert decide(TABLE, host, target, **headers) == expected


def test_headers_of_path_and_split_are_appended() -> None:
    table = routing.build_table(
        [ingress(rule("m.ns.localhost", path(appendHeaders={"Knative-Serving-Tag": "t"})))]
    )
    match routing.decide(table, "m.ns.localhost", b"/", [], 0.0):
        case ToRevision(namespace, "r1", appended, _):
            assert namespace == "ns" and dict(appended)[b"knative-serving-tag"] == b"t"
        case other:
            raise AssertionError(other)


def test_older_ingress_keeps_a_host() -> None:
    young = ingress(rule("m.ns.localhost", path("young")), name="a", created="2026-02-01T00:00:00Z")
    old = ingress(rule("m.ns.localhost", path("old")), name="b")
    table = routing.build_table([young, old])
    assert decide(table, "m.ns.localhost") == "old"
    assert table.shadowed == (("m.ns.localhost", ("ns", "a")),)


@given(st.floats(min_value=0, max_value=1, exclude_max=True))
def test_splits_follow_percent(point: float) -> None:
    entries = [{"serviceName": name, "percent": share} for name, share in (("a", 90), ("zero", 0), ("b", 10))]
    table = routing.build_table([ingress(rule("m.ns.localhost", {"splits": entries}))])
    assert decide(table, "m.ns.localhost", point=point) == ("a" if point < 0.9 else "b")


@given(st.text(max_size=40), st.binary(max_size=40))
def test_never_fails_on_any_host_or_target(host: str, target: bytes) -> None:
    assert isinstance(routing.decide(TABLE, host, target, [], 0.5), NoRoute | ToRevision)


def test_a_host_with_one_way_is_decided_beforehand_and_to_the_same_revision() -> None:
    def rule(host: str, *paths: dict[str, Any], local: bool = False) -> dict[str, Any]:
        visibility = "ClusterLocal" if local else "ExternalIP"
        return {"hosts": [host], "visibility": visibility, "http": {"paths": list(paths)}}

    one = {"splits": [{"serviceName": "r1", "serviceNamespace": "ns", "percent": 100}]}
    two = {"splits": [{"serviceName": f"r{n}", "serviceNamespace": "ns", "percent": 50} for n in (1, 2)]}
    rules = [
        rule("one.ns.localhost", one),
        rule("two.ns.localhost", two),
        rule("path.ns.localhost", {**one, "path": "/a"}),
        rule("header.ns.localhost", {**one, "headers": {"x": {"exact": "y"}}}, one),
        rule("local.ns", one, local=True),
        rule("hidden.ns.localhost", one, local=True),
        rule("front.ns.localhost", {"rewriteHost": "local.ns", "splits": []}),
        rule("circle.ns.localhost", {"rewriteHost": "elcric.ns.localhost", "splits": []}),
        rule("elcric.ns.localhost", {"rewriteHost": "circle.ns.localhost", "splits": []}),
        rule("nowhere.ns.localhost", {"rewriteHost": "gone.ns", "splits": []}),
    ]
    table = routing.build_table([{"metadata": {"namespace": "ns", "name": "i"}, "spec": {"rules": rules}}])
    assert sorted(table.fixed) == ["front.ns.localhost", "local.ns", "one.ns.localhost"]
    plain = routing.Table(table.rules)
    for host in table.rules:
        for point in (0.0, 0.99):
            request = (host + ":80", b"/a?b", [(b"x", b"y")], point)
            assert routing.decide(table, *request) == routing.decide(plain, *request)
