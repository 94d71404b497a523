"""Which runtime serves a model (KServe behaviour page section 2.3)."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.desired import selection
from controller.desired.reasons import Reason, SpecError
from wakeful.core.api import inferenceservice, servingruntime
from wakeful.core.api.servingruntime import Runtime

Obj = dict[str, Any]


def runtime(
    name: str, *formats: tuple[Any, ...], kind: str = "ClusterServingRuntime", **spec: Any
) -> Runtime:
    """``formats`` are (name, version, priority) and, for those not selected by themselves, a fourth element."""
    listed = [
        {"name": item[0], "version": item[1], "autoSelect": len(item) < 4}
        | ({"priority": item[2]} if item[2] is not None else {})
        for item in formats
    ]
    created = spec.pop("created", "2026-01-01T00:00:00Z")
    base = {"supportedModelFormats": listed, "protocolVersions": ["v1", "v2"], "containers": []}
    metadata = {"name": name, "creationTimestamp": created}
    return servingruntime.parse({"kind": kind, "metadata": metadata, "spec": base | spec})


def chosen(
    model: Obj, cluster: list[Runtime], namespaced: list[Runtime] | None = None, is_multi_model: bool = False
) -> tuple[str, str]:
    spec = inferenceservice.parse_model({"modelFormat": {"name": "foo"}} | model)
    found = selection.decide(spec, namespaced or [], cluster, is_multi_model)
    return found.runtime.name, found.protocol


FOO = ("foo", "1", 1)
CHOICES: dict[str, tuple[Obj, list[Runtime], tuple[str, str]]] = {
    "the only one": ({}, [runtime("a", FOO)], ("a", "v1")),
    "higher priority": ({}, [runtime("a", FOO), runtime("b", ("foo", "1", 2))], ("b", "v1")),
    "no priority is last": ({}, [runtime("a", ("foo", "1", None)), runtime("b", FOO)], ("b", "v1")),
    "first entry's priority counts": (
        {"modelFormat": {"name": "foo", "version": "2"}},
        [runtime("a", ("foo", "1", 1), ("foo", "2", 9)), runtime("b", ("foo", "2", 5))],
        ("b", "v1"),
    ),
    "lowest protocol at equal priority": (
        {"protocolVersion": "v2"},
        [runtime("a", FOO, protocolVersions=["v2"]), runtime("b", FOO)],
        ("b", "v2"),
    ),
    "newest at equal protocol": (
        {},
        [runtime("a", FOO), runtime("z", FOO, created="2026-02-01T00:00:00Z")],
        ("z", "v1"),
    ),
    "name at last": ({}, [runtime("b", FOO), runtime("a", FOO)], ("a", "v1")),
    "disabled is skipped": (
        {},
        [runtime("a", ("foo", "1", 9), disabled=True), runtime("b", FOO)],
        ("b", "v1"),
    ),
    "not selected by itself": ({}, [runtime("a", ("foo", "1", 9, "no")), runtime("b", FOO)], ("b", "v1")),
    "multi-model is skipped": (
        {},
        [runtime("a", ("foo", "1", 9), multiModel=True), runtime("b", FOO)],
        ("b", "v1"),
    ),
    "several nodes are skipped": (
        {},
        [runtime("a", ("foo", "1", 9), workerSpec={}), runtime("b", FOO)],
        ("b", "v1"),
    ),
    "the version must be listed": (
        {"modelFormat": {"name": "foo", "version": "2"}},
        [runtime("a", ("foo", "1", 9)), runtime("b", ("foo", "2", 1))],
        ("b", "v1"),
    ),
    "no protocol asked is v1": (
        {},
        [runtime("a", ("foo", "1", 9), protocolVersions=["v2"]), runtime("b", FOO)],
        ("b", "v1"),
    ),
    "an empty list speaks all": (
        {"protocolVersion": "grpc-v2"},
        [runtime("a", FOO, protocolVersions=[])],
        ("a", "grpc-v2"),
    ),
    "by name": ({"runtime": "a"}, [runtime("a", ("foo", "1", 1, "no")), runtime("b", FOO)], ("a", "v1")),
}


@pytest.mark.parametrize(("model", "runtimes", "wanted"), CHOICES.values(), ids=list(CHOICES))
def test_choice(model: Obj, runtimes: list[Runtime], wanted: tuple[str, str]) -> None:
    assert chosen(model, runtimes) == wanted


def test_a_namespaced_runtime_wins_whatever_the_priority() -> None:
    own = [runtime("own", ("foo", "1", 1), kind="ServingRuntime")]
    assert chosen({}, [runtime("shared", ("foo", "1", 9))], own)[0] == "own"
    assert chosen({"runtime": "same"}, [runtime("same", FOO)], [runtime("same", FOO, kind="ServingRuntime")])[
        0
    ]


def test_a_multi_model_predictor_takes_only_multi_model_runtimes() -> None:
    runtimes = [runtime("one", ("foo", "1", 9)), runtime("many", FOO, multiModel=True)]
    assert chosen({}, runtimes, is_multi_model=True)[0] == "many"


REFUSALS: dict[str, tuple[Obj, list[Runtime], Reason, str]] = {
    "nothing at all": ({}, [], Reason.NO_SUPPORTING_RUNTIME, "support no format at all"),
    "other formats": ({}, [runtime("a", ("bar", "1", 1))], Reason.NO_SUPPORTING_RUNTIME, "support bar"),
    "version": (
        {"modelFormat": {"name": "foo", "version": "7"}},
        [runtime("a", FOO)],
        Reason.NO_SUPPORTING_RUNTIME,
        "a has only version 1",
    ),
    "protocol": (
        {"protocolVersion": "grpc-v1"},
        [runtime("a", FOO)],
        Reason.NO_SUPPORTING_RUNTIME,
        "a speaks only v1, v2",
    ),
    "only by name": (
        {},
        [runtime("a", ("foo", "1", 1, "no"))],
        Reason.NO_SUPPORTING_RUNTIME,
        "name it: runtime: a",
    ),
    "disabled": ({}, [runtime("a", FOO, disabled=True)], Reason.NO_SUPPORTING_RUNTIME, "a is disabled"),
    "unknown name": (
        {"runtime": "x"},
        [runtime("a", FOO)],
        Reason.RUNTIME_NOT_RECOGNIZED,
        "Waiting for runtime to become available",
    ),
    "named, disabled": (
        {"runtime": "a"},
        [runtime("a", FOO, disabled=True)],
        Reason.RUNTIME_DISABLED,
        "a is disabled",
    ),
    "named, protocol": (
        {"runtime": "a", "protocolVersion": "grpc-v2"},
        [runtime("a", FOO)],
        Reason.NO_SUPPORTING_RUNTIME,
        "does not support protocol grpc-v2",
    ),
    "named, format": (
        {"runtime": "a"},
        [runtime("a", ("bar", "1", 1))],
        Reason.NO_SUPPORTING_RUNTIME,
        "it lists bar",
    ),
}


@pytest.mark.parametrize(("model", "runtimes", "reason", "words"), REFUSALS.values(), ids=list(REFUSALS))
def test_refusal(model: Obj, runtimes: list[Runtime], reason: Reason, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        chosen(model, runtimes)
    assert caught.value.reason == reason and words in caught.value.message


RUNTIMES = st.lists(
    st.builds(
        lambda name, priority, protocols, day: runtime(
            name, ("foo", "1", priority), protocolVersions=protocols, created=f"2026-01-0{day}T00:00:00Z"
        ),
        st.sampled_from("abcdef"),
        st.none() | st.integers(1, 3),
        st.lists(st.sampled_from(["v1", "v2"]), unique=True),
        st.integers(1, 3),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda item: item.name,
)


@given(RUNTIMES, st.integers())
def test_the_order_of_the_list_does_not_matter(runtimes: list[Runtime], seed: int) -> None:
    def outcome(items: list[Runtime]) -> object:
        try:
            return chosen({}, items)
        except SpecError as error:
            return error.reason

    shuffled = random.Random(seed).sample(runtimes, len(runtimes))
    assert outcome(runtimes) == outcome(shuffled)
