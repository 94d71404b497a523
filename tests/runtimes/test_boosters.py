"""XGBoost and LightGBM servers answer what the frameworks themselves answer, and say what is wrong with a request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from runtimes.boosters import BoosterModel
from runtimes.lightgbm.model import LightgbmModel
from runtimes.xgboost.model import XgboostModel
from wakeful.core.errors import InvalidError
from wakeful.core.protocol.oip import InferRequest, Tensor
from wakeful.serving import Context
from wakeful.serving.model import LoadError

CONTEXT = Context({})
RANDOM = np.random.default_rng(7)
ROWS = RANDOM.normal(size=(120, 4))
CLASSES = (ROWS[:, 0] > 0).astype(int) + (ROWS[:, 1] > 0)
NAMES = ["a", "b", "c", "d"]
ASKED = [[0.5, -1.0, 2.0, 0.0], [None, 1.0, -0.5, 3.0]]
MATRIX = np.array([[0.5, -1.0, 2.0, 0.0], [np.nan, 1.0, -0.5, 3.0]])


def xgb(**params: Any) -> xgboost.Booster:
    names = params.pop("names", None)
    data = xgboost.DMatrix(ROWS, label=params.pop("label", CLASSES), feature_names=names, nthread=1)
    return xgboost.train({"nthread": 1, "objective": "multi:softprob", "num_class": 3, **params}, data, 5)


def lgb(**params: Any) -> lightgbm.Booster:
    data = lightgbm.Dataset(ROWS, label=CLASSES, feature_name=params.pop("names", "auto"))
    fixed = {"objective": "multiclass", "num_class": 3, "verbose": -1, "num_threads": 1}
    return lightgbm.train({**fixed, **params}, data, 5)


def served(model: type[BoosterModel], folder: Path, booster: Any, file: str = "model.bst") -> BoosterModel:
    booster.save_model(folder / file)
    made = model("m", folder, 1)
    made.load()
    return made


def v1(model: BoosterModel, rows: Any) -> Any:
    return model.predict({"instances": rows}, CONTEXT)["predictions"]


@pytest.mark.filterwarnings("ignore:.*UBJSON format as default")
@pytest.mark.parametrize("file", ["model.bst", "model.json", "model.ubj", "other.UBJ"])
def test_xgboost_reads_what_kserve_reads(tmp_path: Path, file: str) -> None:
    booster = xgb()
    model = served(XgboostModel, tmp_path, booster, file)
    assert v1(model, ASKED) == booster.predict(xgboost.DMatrix(MATRIX)).tolist()


@pytest.mark.parametrize(
    "params",
    [
        {"objective": "multi:softmax", "num_class": 3},
        {"objective": "binary:logistic", "label": CLASSES > 0},
        {"objective": "reg:squarederror"},
        {"objective": "count:poisson"},
        {"objective": "reg:squarederror", "booster": "gblinear"},
        {"objective": "reg:squarederror", "booster": "dart", "rate_drop": 0.5},
        {"objective": "reg:squarederror", "label": ROWS[:, :2]},
    ],
    ids=["softmax", "logistic", "squared", "poisson", "linear", "dart", "two targets"],
)
def test_xgboost_objectives_and_boosters(tmp_path: Path, params: dict[str, Any]) -> None:
    label = params.pop("label", CLASSES)
    booster = xgboost.train({"nthread": 1, **params}, xgboost.DMatrix(ROWS, label=label, nthread=1), 5)
    model = served(XgboostModel, tmp_path, booster, "model.ubj")
    expected = booster.predict(xgboost.DMatrix(MATRIX))
    assert v1(model, ASKED) == expected.tolist()
    assert v1(model, ROWS.tolist()) == booster.predict(xgboost.DMatrix(ROWS)).tolist()
    assert model.outputs()[0].as_json() == {
        "name": "output-0",
        "datatype": "FP32",
        "shape": [-1, *expected.shape[1:]],
    }


def test_xgboost_all_trees_answer_as_in_kserve(tmp_path: Path) -> None:
    train = xgboost.DMatrix(ROWS[:80], label=ROWS[:80, 0], nthread=1)
    hold = xgboost.DMatrix(ROWS[80:], label=RANDOM.normal(size=40), nthread=1)
    booster = xgboost.train(
        {"nthread": 1}, train, 20, evals=[(hold, "hold")], early_stopping_rounds=3, verbose_eval=False
    )
    model = served(XgboostModel, tmp_path, booster, "model.ubj")
    assert v1(model, ASKED) == booster.predict(xgboost.DMatrix(MATRIX)).tolist()


def test_xgboost_categories_are_numbers(tmp_path: Path) -> None:
    rows = np.column_stack([RANDOM.integers(0, 5, 120), ROWS[:, 0]]).astype(float)
    data = xgboost.DMatrix(
        rows, label=rows[:, 0] == 3, feature_types=["c", "q"], enable_categorical=True, nthread=1
    )
    booster = xgboost.train({"nthread": 1, "tree_method": "hist", "max_cat_to_onehot": 1}, data, 5)
    model = served(XgboostModel, tmp_path, booster, "model.json")
    asked = [[3, 0.1], [1, 0.1], [None, 0.1]]
    matrix = xgboost.DMatrix(
        np.array([[3, 0.1], [1, 0.1], [np.nan, 0.1]]), feature_types=["c", "q"], enable_categorical=True
    )
    assert v1(model, asked) == booster.predict(matrix).tolist()
    with pytest.raises(InvalidError, match=r"row 0, column 0 is 'red': the model takes numbers"):
        v1(model, [["red", 0.1]])


@pytest.mark.parametrize("file", ["model.bst", "trees.lgb", "model.txt"])
def test_lightgbm_reads_its_text_format(tmp_path: Path, file: str) -> None:
    booster = lgb()
    model = served(LightgbmModel, tmp_path, booster, file)
    (tmp_path / "notes.txt").write_text("not a model")
    assert LightgbmModel("m", tmp_path, 1).load() is None
    assert v1(model, ASKED) == booster.predict(MATRIX).tolist()
    assert model.outputs()[0].as_json() == {"name": "output-0", "datatype": "FP64", "shape": [-1, 3]}
    big = [[2**53 + 1, 0, 0, 0]]
    assert v1(model, big) == booster.predict(np.array(big, dtype=np.float64)).tolist()


BOTH = pytest.mark.parametrize(
    ("kind", "train", "file"),
    [(XgboostModel, xgb, "model.json"), (LightgbmModel, lgb, "model.bst")],
    ids=["xgboost", "lightgbm"],
)
Trainer = Callable[..., Any]


@BOTH
@pytest.mark.parametrize("datatype", ["FP32", "FP64", "INT64", "UINT8", "BOOL", "FP16"])
def test_every_number_of_v2_is_a_number(
    kind: type[BoosterModel], train: Trainer, file: str, tmp_path: Path, datatype: str
) -> None:
    from wakeful.core.protocol import arrays

    model = served(kind, tmp_path, train(), file)
    values = np.array([[1, 0, 1, 0], [0, 1, 1, 1]]).astype(arrays.DTYPES[datatype])
    tensor = Tensor("x", (2, 4), datatype, memoryview(values.tobytes()))
    answer = model.predict(InferRequest([tensor]), CONTEXT).outputs[0]
    assert answer.shape == (2, 3)
    assert np.asarray(answer.data).reshape(2, 3).tolist() == v1(model, values.astype(float).tolist())


@BOTH
def test_columns_by_name(kind: type[BoosterModel], train: Trainer, file: str, tmp_path: Path) -> None:
    model = served(kind, tmp_path, train(names=NAMES), file)
    rows = [dict(zip(reversed(NAMES), reversed(row), strict=True)) for row in ASKED]
    assert v1(model, rows) == v1(model, ASKED)
    table = {name: [row[place] for row in ASKED] for place, name in enumerate(NAMES)}
    assert v1(model, [table]) == v1(model, ASKED)
    tensors = [Tensor(name, (2,), "FP64", MATRIX[:, place]) for place, name in enumerate(NAMES)]
    answer = model.predict(InferRequest(list(reversed(tensors))), CONTEXT).outputs[0]
    assert np.asarray(answer.data).reshape(2, 3).tolist() == v1(model, ASKED)


@BOTH
@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2, 3]], "the model takes \\[rows, 4\\]"),
        ([[1, 2, 3, "x"]], "column 3 is 'x': the model takes numbers"),
        ([[1, 2, 3, [4]]], "ragged|is an array"),
        ([[1, 2, 3, {}]], "not a number or text"),
        ([1, 2, 3, 4], "has shape \\[4\\]"),
        ([{"z": 1}], "no"),
    ],
    ids=["width", "text", "nested", "object", "flat", "names"],
)
def test_wrong_rows_are_the_callers_mistake(
    kind: type[BoosterModel], train: Trainer, file: str, tmp_path: Path, rows: Any, words: str
) -> None:
    model = served(kind, tmp_path, train(names=NAMES), file)
    with pytest.raises(InvalidError, match=words):
        v1(model, rows)


def test_lightgbm_takes_a_column_left_out_for_missing_but_no_typing_error(tmp_path: Path) -> None:
    model = served(LightgbmModel, tmp_path, lgb(names=NAMES))
    assert v1(model, [{"a": 0.5, "c": 2.0}]) == v1(model, [[0.5, None, 2.0, None]])
    assert v1(model, [{"a": [0.5, 1], "c": [2.0, 3]}]) == v1(
        model, [[0.5, None, 2, None], [1, None, 3, None]]
    )
    with pytest.raises(
        InvalidError, match=r"instances\[0\] has 'B', which is no column of the model, and no 'b'"
    ):
        v1(model, [{"a": 0.5, "B": 1, "c": 2.0, "d": 1}])
    assert v1(model, [{"a": 0.5, "b": 1, "c": 2.0, "d": 1, "id": "x"}]) == v1(model, [[0.5, 1, 2, 1]])
    batching: Any = model.batching  # as it is served: in batches
    part = batching.part({"instances": [{"a": 0.5, "c": 2.0}]}, CONTEXT)
    assert batching.answer([part])[0]["predictions"] == v1(model, [{"a": 0.5, "c": 2.0}])


def test_xgboost_refuses_infinity(tmp_path: Path) -> None:
    model = served(XgboostModel, tmp_path, xgb(), "model.ubj")
    tensor = Tensor("x", (1, 4), "FP32", np.array([[np.inf, 0, 0, 0]], dtype=np.float32))
    with pytest.raises(InvalidError, match="infinity"):
        model.predict(InferRequest([tensor]), CONTEXT)


def test_files_that_are_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.bst").write_bytes(b"binf\x00\x01\x02")
    with pytest.raises(LoadError, match=r"model.bst is neither JSON nor UBJSON: save the model again"):
        XgboostModel("m", tmp_path, 1).load()
    with pytest.raises(LoadError, match=r"model.bst is no LightGBM text model"):
        LightgbmModel("m", tmp_path, 1).load()
    (tmp_path / "model.bst").write_text("tree\nversion=v4\nend of trees\n")
    with pytest.raises(LoadError, match=r"model.bst cannot be loaded"):
        LightgbmModel("m", tmp_path, 1).load()
    (tmp_path / "model.bst").write_text('{"learner": 3}')
    with pytest.raises(LoadError, match=r"model.bst cannot be loaded") as caught:
        XgboostModel("m", tmp_path, 1).load()
    assert "Stack trace" not in str(caught.value)


def test_an_xgboost_file_that_is_cut_off_never_reaches_its_reader(tmp_path: Path) -> None:
    """XGBoost 3.2 takes what lies behind the file for lengths, and asked for all memory of the machine."""
    whole = bytes(xgb().save_raw("ubj"))
    for place in (20, len(whole) // 2, len(whole) - 1):
        (tmp_path / "model.ubj").write_bytes(whole[:place])
        with pytest.raises(LoadError, match=r"model.ubj is cut off or damaged: it .*; copy it again"):
            XgboostModel("m", tmp_path, 1).load()


def test_a_lightgbm_file_that_is_cut_off_is_no_smaller_model(tmp_path: Path) -> None:
    lgb().save_model(tmp_path / "model.bst")
    whole = (tmp_path / "model.bst").read_text()
    for place in range(whole.index("Tree=1"), whole.index("end of trees"), 997):
        (tmp_path / "model.bst").write_text(whole[:place])
        with pytest.raises(LoadError, match=r"model.bst is cut off"):
            LightgbmModel("m", tmp_path, 1).load()


def test_a_file_that_kills_its_reader_leaves_a_sentence(tmp_path: Path) -> None:
    """LightGBM aborts on a count that is too large: no exception could be caught."""
    lgb().save_model(tmp_path / "model.bst")
    text = (tmp_path / "model.bst").read_text()
    (tmp_path / "model.bst").write_text(re.sub(r"num_leaves=\d+", "num_leaves=99999", text, count=1))
    note = tmp_path / "note"
    done = subprocess.run(
        [sys.executable, "-m", "runtimes.lightgbm", f"--model_dir={tmp_path}", "--http_port=0"],
        env={**os.environ, "WAKEFUL_TERMINATION_LOG": str(note)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode < 0
    assert note.read_text().startswith("the process ended while lightgbm read model.bst: the file is damaged")


def test_a_file_that_is_read_leaves_no_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAKEFUL_TERMINATION_LOG", str(tmp_path / "note"))
    served(LightgbmModel, tmp_path, lgb())
    assert (tmp_path / "note").read_text() == ""


@pytest.mark.parametrize("name", ["xgboost", "lightgbm", "onnx"])
def test_without_its_framework_the_start_ends_with_a_sentence(tmp_path: Path, name: str) -> None:
    package = {"onnx": "onnxruntime"}.get(name, name)
    code = f"import sys; sys.modules[{package!r}] = None; from runtimes.{name} import __main__ as m; sys.exit(m.main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, f"--model_dir={tmp_path}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "install the Python package" in done.stderr.splitlines()[-1], done.stderr


@BOTH
def test_a_batch_answers_what_each_request_alone_gets(
    kind: type[BoosterModel], train: Trainer, file: str, tmp_path: Path
) -> None:
    model = served(kind, tmp_path, train(), file)
    tensor = Tensor("x", (2, 4), "FP64", MATRIX)
    payloads = [{"instances": ASKED}, InferRequest([tensor]), {"instances": ROWS[:3].tolist()}]
    parts = [model.batching.part(payload, CONTEXT) for payload in payloads]
    assert len({part.signature for part in parts if part is not None}) == 1
    answers = model.batching.answer([part for part in parts if part is not None])
    assert [answers[0], answers[2]] == [
        model.predict(payloads[0], CONTEXT),
        model.predict(payloads[2], CONTEXT),
    ]
    assert np.asarray(answers[1].outputs[0].data).reshape(2, 3).tolist() == v1(model, ASKED)
