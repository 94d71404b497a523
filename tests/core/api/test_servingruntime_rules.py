"""ServingRuntimes that are refused, alone and beside others (KServe behaviour page section 4.2)."""

from __future__ import annotations

from typing import Any

import pytest

from wakeful.core.api import servingruntime

Obj = dict[str, Any]
FORMAT = {"name": "foo", "version": "1", "autoSelect": True, "priority": 1}


def runtime(name: str = "a", formats: list[Obj] | None = None, **spec: Any) -> Obj:
    containers = [{"name": "kserve-container", "image": "i:1"}]
    formats = [FORMAT] if formats is None else formats
    return {
        "kind": "ServingRuntime",
        "metadata": {"name": name},
        "spec": {"supportedModelFormats": formats, "containers": containers, "protocolVersions": ["v1"]}
        | spec,
    }


def said(obj: Obj, *others: Obj, old: Obj | None = None) -> list[str]:
    return [str(item) for item in servingruntime.validate(obj, list(others), old)]


def test_a_plain_runtime_passes() -> None:
    assert said(runtime(), runtime()) == []


ALONE = {
    "PYTHONPATH": (
        {"containers": [{"name": "kserve-container", "env": [{"name": "PYTHONPATH"}]}]},
        "PYTHONPATH",
    ),
    "no container that serves": ({"containers": [{"name": "x"}]}, "kserve-container is required"),
    "two priorities": ({"supportedModelFormats": [FORMAT, FORMAT | {"priority": 2}]}, "different priorities"),
    "two workers": ({"workerSpec": {"containers": [{"name": "a"}, {"name": "b"}]}}, "one worker container"),
    "parallel size in env": (
        {"workerSpec": {"containers": [{"env": [{"name": "TENSOR_PARALLEL_SIZE"}]}]}},
        "TENSOR_PARALLEL_SIZE is not allowed",
    ),
    "size 0": ({"workerSpec": {"pipelineParallelSize": 0}}, "pipelineParallelSize: must be at least 1"),
}


@pytest.mark.parametrize(("spec", "words"), ALONE.values(), ids=list(ALONE))
def test_alone(spec: Obj, words: str) -> None:
    assert any(words in item for item in said(runtime(**spec)))
    assert said(runtime(**spec, disabled=True)) == [], "a disabled runtime is not checked"


BESIDE = {
    "same priority": ({}, True),
    "other case": ({"supportedModelFormats": [FORMAT | {"name": "FOO"}]}, True),
    "other priority": ({"supportedModelFormats": [FORMAT | {"priority": 2}]}, False),
    "no priority": ({"supportedModelFormats": [{"name": "foo", "version": "1", "autoSelect": True}]}, False),
    "other version": ({"supportedModelFormats": [FORMAT | {"version": "2"}]}, False),
    "not selected by itself": ({"supportedModelFormats": [FORMAT | {"autoSelect": False}]}, False),
    "other protocol": ({"protocolVersions": ["v2"]}, False),
    "one protocol in common": ({"protocolVersions": ["v2", "v1"]}, True),
    "multi-model": ({"multiModel": True}, False),
    "disabled": ({"disabled": True}, False),
}


@pytest.mark.parametrize(("spec", "is_refused"), BESIDE.values(), ids=list(BESIDE))
def test_beside_another(spec: Obj, is_refused: bool) -> None:
    found = said(runtime("b"), runtime("a", **spec))
    assert bool(found) == is_refused, found
    assert not is_refused or "runtime a has the same priority 1" in found[0]


def test_worker_spec_cannot_be_removed() -> None:
    old = runtime(workerSpec={"pipelineParallelSize": 2})
    assert "cannot be removed" in said(runtime(), old=old)[0]
    assert said(old, old=runtime()) == []


@pytest.mark.parametrize(
    "spec", [None, [], {"containers": "x", "supportedModelFormats": [1], "workerSpec": []}]
)
def test_no_shape_raises(spec: object) -> None:
    said({"metadata": None, "spec": spec}, {"spec": spec}, old={"spec": spec})


def test_server_type_comes_from_the_annotation_else_the_name() -> None:
    obj = runtime("kserve-mlserver")
    assert servingruntime.parse(obj).server_type == "kserve-mlserver"
    obj["metadata"]["annotations"] = {"serving.kserve.io/server-type": "torchserve"}
    assert servingruntime.parse(obj).server_type == "torchserve"
