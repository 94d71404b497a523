"""The safe format of scikit-learn: read under every policy, and refused where it names types that are not trusted."""

from __future__ import annotations

from pathlib import Path

import pytest
import skops.io
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from runtimes.sklearn.model import SklearnModel
from wakeful.serving import Context
from wakeful.serving.model import LoadError


def loaded(folder: Path, policy: str) -> SklearnModel:
    model = SklearnModel("m", folder, {"WAKEFUL_PICKLE": policy})
    model.load()
    return model


@pytest.mark.parametrize("policy", ["Allow", "Warn", "Refuse"])
def test_a_skops_file_is_served_under_every_policy(tmp_path: Path, policy: str) -> None:
    skops.io.dump(LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0]), tmp_path / "model.skops")
    answer = loaded(tmp_path, policy).predict({"instances": [[3.0]]}, Context({}))
    assert answer["predictions"] == pytest.approx([6.0])


def test_a_type_that_is_not_trusted_is_named(tmp_path: Path) -> None:
    skops.io.dump(FunctionTransformer(func=Path), tmp_path / "model.skops")
    with pytest.raises(LoadError, match=r"model.skops cannot be loaded: .*pathlib"):
        loaded(tmp_path, "Allow")
