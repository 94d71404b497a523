"""Quantities, expansion, references and the downward API."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from standalone.node import environment
from standalone.node.environment import ConfigError, Sources
from wakeful.core.api import quantity

POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "n",
        "uid": "u",
        "labels": {"b": 'x"y', "a": "1"},
        "annotations": {},
    },
    "spec": {
        "containers": [{"name": "c", "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "250m"}}}]
    },
}
CAPACITY = {"cpu": "4", "memory": "8Gi"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[
            ("250m", "0.25"),
            ("1Gi", "1073741824"),
            ("1.5Ki", "1536"),
            ("2e3", "2000"),
            ("1E", "1e18"),
            ("5", "5"),
        ],
        *[(".5", "0.5"), ("100n", "1e-7"), ("1E2", "100"), (3, "3")],
    ],
)
def test_quantity(text: Any, value: str) -> None:
    assert quantity.parse(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "x", "1GB", "1 Gi", "--1", None, "1ki"])
def test_bad_quantity_names_itself(text: Any) -> None:
    with pytest.raises(ValueError, match="not a Kubernetes quantity"):
        quantity.parse(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *[("$(A)", "1"), ("x$(A)$(A)y", "x11y"), ("$$(A)", "$(A)"), ("$(NO)", "$(NO)"), ("$A", "$A")],
        *[("$$$(A)", "$1"), ("$()", "$()"), ("$(A", "$(A"), ("$", "$"), ("100%", "100%")],
    ],
)
def test_expand(text: str, wanted: str) -> None:
    assert environment.expand(text, {"A": "1"}) == wanted


def build(container: dict[str, Any], sources: Sources = Sources()) -> dict[str, str]:  # noqa: B008
    return environment.build(POD, container, sources, CAPACITY)


def test_order_counts_and_later_wins() -> None:
    env = [{"name": "A", "value": "$(B)"}, {"name": "B", "value": "2"}, {"name": "A", "value": "$(B)"}]
    assert build({"env": env}) == {"A": "2", "B": "2"}


def test_env_from_with_prefix_and_env_above_it() -> None:
    sources = Sources(
        {"s": {"kind": "Secret", "data": {"k": "MQ=="}}}, {"m": {"kind": "ConfigMap", "data": {"k": "2"}}}
    )
    container = {
        "envFrom": [{"configMapRef": {"name": "m"}}, {"prefix": "P_", "secretRef": {"name": "s"}}],
        "env": [{"name": "k", "value": "own"}],
    }
    assert build(container, sources) == {"k": "own", "P_k": "1"}


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"secretKeyRef": {"name": "x", "key": "k"}}, 'secret "x" not found'),
        ({"configMapKeyRef": {"name": "x", "key": "k"}}, 'configmap "x" not found'),
        ({"secretKeyRef": {"name": "s", "key": "no"}}, "couldn't find key no in Secret n/s"),
        ({"secretKeyRef": {"name": "b", "key": "bad"}}, "not valid base64"),
        ({"fieldRef": {"fieldPath": "status.nothing"}}, "not supported"),
        ({"resourceFieldRef": {"containerName": "no", "resource": "limits.cpu"}}, "does not have"),
        ({"resourceFieldRef": {"resource": "limits.gpu"}}, "not supported"),
        ({"somethingElse": {}}, "unknown kind"),
    ],
)
def test_references_that_fail_say_why(reference: dict[str, Any], message: str) -> None:
    sources = Sources(
        {"s": {"kind": "Secret", "data": {"k": "MQ=="}}, "b": {"kind": "Secret", "data": {"bad": "%%%"}}}
    )
    with pytest.raises(ConfigError, match=message):
        build({"env": [{"name": "A", "valueFrom": reference}]}, sources)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"containerName": "c", "resource": "limits.memory", "divisor": "1Mi"}, "1024"),
        ({"containerName": "c", "resource": "requests.cpu"}, "1"),
        ({"containerName": "c", "resource": "requests.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.cpu"}, "4"),
        ({"resource": "limits.memory", "divisor": "1Gi"}, "8"),
    ],
)
def test_resource_values(reference: dict[str, Any], value: str) -> None:
    assert environment.resource_value(POD, {}, reference, CAPACITY) == value


def test_labels_as_lines_are_quoted_and_sorted() -> None:
    assert environment.field_value(POD, "metadata.labels") == 'a="1"\nb="x\\"y"'
    assert environment.field_value(POD, "metadata.labels['a']") == "1"
