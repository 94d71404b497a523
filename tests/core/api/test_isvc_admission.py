"""What an InferenceService is refused or warned for, each with its place and words (KServe behaviour page section 4.1)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.api import inferenceservice_defaults, inferenceservice_validate
from wakeful.core.api.inferenceservice_defaults import Defaults

Obj = dict[str, Any]
CASES: dict[str, Obj] = yaml.safe_load(Path(__file__).with_name("isvc_admission_cases.yaml").read_text())


def isvc(case: Obj | None = None) -> Obj:
    case = case or {}
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://models/iris"} | case.get("model", {})
    predictor = {"model": {key: value for key, value in model.items() if value is not None}}
    return {
        "metadata": {
            "name": case.get("name", "iris"),
            "namespace": "ns",
            "annotations": case.get("annotations", {}),
        },
        "spec": copy.deepcopy(case.get("spec", {"predictor": predictor | case.get("predictor", {})})),
    }


def admit(obj: Obj, old: Obj | None = None) -> inferenceservice_validate.Findings:
    return inferenceservice_validate.validate(inferenceservice_defaults.default(obj, Defaults(), old), old)


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_admission(case: Obj) -> None:
    found = admit(isvc(case))
    refusals = {item.path: item.message for item in found.problems}
    if "refused" in case:
        assert case["path"] in refusals, refusals
        assert case["refused"] in refusals[case["path"]]
    else:
        assert refusals == {}
    if "warned" in case:
        assert any(case["warned"] in item for item in found.warnings), found.warnings
    elif "refused" not in case:
        assert found.warnings == []


def test_a_stored_mode_cannot_be_changed() -> None:
    old = isvc() | {"status": {"deploymentMode": "Standard"}}
    new = isvc({"annotations": {"serving.kserve.io/deploymentMode": "Knative"}})
    assert "cannot be changed from Standard to Knative" in str(admit(new, old).problems[0])


def test_a_renamed_predictor_needs_another_model() -> None:
    renamed = isvc({"predictor": {"name": "b"}})
    assert "predictor.name change requires a model change" in str(admit(renamed, isvc()).problems[0])
    changed = isvc({"predictor": {"name": "b"}, "model": {"storageUri": "pvc://models/other"}})
    assert admit(changed, isvc()).problems == []


def test_what_was_stored_before_can_still_be_changed_and_stopped() -> None:
    old = isvc({"predictor": {"workerSpec": {}}})
    new = isvc({"predictor": {"workerSpec": {}}, "annotations": {"serving.kserve.io/stop": "true"}})
    assert admit(new, old).problems == []
    assert admit(new, isvc()).problems != []


def test_an_object_being_deleted_always_passes() -> None:
    obj = isvc({"predictor": {"minReplicas": -1}})
    obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert admit(obj, isvc()).problems == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["model", "sklearn", "containers", "storageUris", "storage", "env", "logger", "name"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(predictor=JSON, transformer=JSON, annotations=JSON)
def test_no_shape_raises(predictor: Any, transformer: Any, annotations: Any) -> None:
    obj = {
        "metadata": {"name": "x", "annotations": annotations},
        "spec": {"predictor": predictor, "transformer": transformer},
    }
    admit(obj)
    admit(obj, isvc())
    admit(isvc(), obj)
