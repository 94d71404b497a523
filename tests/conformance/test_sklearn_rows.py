"""What the scikit-learn runtime makes of rows and columns: names, missing values, text beside numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from runtimes.sklearn.model import SklearnModel
from wakeful.core.errors import InvalidError
from wakeful.core.protocol.arrays import from_array
from wakeful.core.protocol.oip import InferRequest, Tensor
from wakeful.serving import Context

CONTEXT = Context({})


def served(folder: Path, estimator: Any) -> SklearnModel:
    joblib.dump(estimator, folder / "model.joblib")
    model = SklearnModel("m", folder, {"WAKEFUL_PICKLE": "Allow"})
    model.load()
    return model


@pytest.fixture
def tree(tmp_path: Path) -> SklearnModel:
    """A tree that answers 1 for x > 0, 0 below and 5 where x is missing."""
    features = np.array([[-1.0], [1.0], [np.nan]])
    return served(tmp_path, DecisionTreeRegressor().fit(features, [0, 1, 5]))


@pytest.fixture
def named(tmp_path: Path) -> SklearnModel:
    """1000 a + b, fitted on columns called a and b."""
    line = LinearRegression(fit_intercept=False).fit(np.array([[1, 0], [0, 1]]), [1000, 1])
    line.feature_names_in_ = np.array(["a", "b"], dtype=object)
    return served(tmp_path, line)


def v1(model: SklearnModel, rows: Any) -> Any:
    return np.round(model.predict({"instances": rows}, CONTEXT)["predictions"], 6).tolist()


def v2(model: SklearnModel, *tensors: Tensor) -> Any:
    return np.round(model.predict(InferRequest(list(tensors)), CONTEXT).outputs[0].data, 6).tolist()


def test_null_is_a_missing_value(tree: SklearnModel) -> None:
    assert v1(tree, [[2], [None], [-2]]) == [1.0, 5.0, 0.0]
    assert v1(tree, [[None]]) == [5.0]
    assert v2(tree, Tensor("x", (2, 1), "FP64", [float("nan"), 3.0])) == [5.0, 1.0]


@pytest.mark.parametrize(
    "rows",
    [
        [{"a": 2, "b": 3}, {"b": 5, "a": 4}],
        [{"b": [3, 5], "a": [2, 4]}],
        [{"b": {"0": 3, "1": 5}, "a": {"0": 2, "1": 4}}],
        [{"a": 2, "b": 3, "more": "x"}, {"b": [5], "a": [4]}],
        [[2, 3], [4, 5]],
    ],
    ids=["values", "lists", "indexed", "mixed", "rows"],
)
def test_columns_go_by_name(named: SklearnModel, rows: Any) -> None:
    assert v1(named, rows) == [2003.0, 4005.0]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"a": 1}], "instances[0] has no 'b'; the model needs a, b"),
        ([{"a": 1, "b": 2}, [1, 2]], "instances[1] is not an object"),
        ([{"a": [1, 2], "b": [1]}], "instances[0] has columns of different length: [1, 2]"),
        ([{"a": [], "b": []}], "columns hold no values"),
        ([{"a": {"0": {}}, "b": 2}], "is an object, not a number or text"),
    ],
    ids=["missing", "mixed", "lengths", "empty", "nested"],
)
def test_named_rows_that_do_not_fit(named: SklearnModel, rows: Any, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        v1(named, rows)
    assert words in str(caught.value)


def test_tensors_go_by_name_too(named: SklearnModel) -> None:
    a, b = Tensor("a", (2,), "FP64", [2, 4]), Tensor("b", (2, 1), "INT32", [3, 5])
    assert v2(named, b, a) == v2(named, a, b) == [2003.0, 4005.0]
    assert v2(named, Tensor("x", (2,), "FP64", [2, 4]), Tensor("y", (2,), "FP64", [3, 5])) == [2003.0, 4005.0]
    with pytest.raises(InvalidError, match="input 'b' is missing; the model needs a, b"):
        v2(named, a, Tensor("c", (2,), "FP64", [3, 5]))


def test_text_beside_numbers_keeps_the_numbers(tmp_path: Path) -> None:
    data = np.array([["red", 1], ["blue", 2]], dtype=object)
    encode = ColumnTransformer([("colour", OneHotEncoder(), [0])], remainder="passthrough")
    model = served(tmp_path, make_pipeline(encode, LinearRegression()).fit(data, [10, 20]))
    assert v1(model, [["red", 1], ["blue", 2]]) == [10.0, 20.0]


def test_text_models_take_text(tmp_path: Path) -> None:
    texts = ["good fine", "bad awful"]
    model = served(tmp_path, make_pipeline(CountVectorizer(), MultinomialNB()).fit(texts, [1, 0]))
    assert v1(model, texts) == [1, 0]
    assert v2(model, Tensor("t", (2,), "BYTES", texts)) == [1, 0]
    assert v2(model, Tensor("t", (2,), "BYTES", [text.encode() for text in texts])) == [1, 0]
    with pytest.raises(InvalidError, match="BYTES that are not UTF-8"):
        v2(model, Tensor("t", (1,), "BYTES", [b"\xff"]))
    for rows in ([1, 2], ["good", 1.5], ["good", None], [["good"], [1]], [["good", "bad"]]):
        with pytest.raises(
            InvalidError, match=r"has no attribute 'lower' \(an estimator for text takes one text a row"
        ):
            v1(model, rows)


@pytest.mark.parametrize(
    ("estimator", "x", "y", "inputs", "outputs"),
    [
        (LinearRegression(), [[0, 1], [1, 0]], [[1, 2, 3], [4, 5, 6]], ("FP64", (-1, 2)), ("FP64", (-1, 3))),
        (LinearRegression(), [[0, 1], [1, 0]], [[1], [2]], ("FP64", (-1, 2)), ("FP64", (-1, 1))),
        (DecisionTreeClassifier(), [[0], [1]], [[1, 2], [3, 4]], ("FP64", (-1, 1)), ("INT64", (-1, 2))),
        (DecisionTreeClassifier(), [[0], [1]], [True, False], ("FP64", (-1, 1)), ("BOOL", (-1,))),
        (DecisionTreeRegressor(), [[0], [1]], [1, 2], ("FP64", (-1, 1)), ("FP64", (-1,))),
        (
            make_pipeline(CountVectorizer(), MultinomialNB()),
            ["good", "bad"],
            ["p", "n"],
            ("BYTES", (-1,)),
            ("BYTES", (-1,)),
        ),
    ],
    ids=["targets", "a column", "two labels", "truth", "numbers", "text"],
)
def test_metadata_says_what_is_taken_and_answered(
    tmp_path: Path, estimator: Any, x: Any, y: Any, inputs: Any, outputs: Any
) -> None:
    model = served(tmp_path, estimator.fit(x, y))
    for (spec,), known in ((model.inputs(), inputs), (model.outputs(), outputs)):
        assert (spec.datatype, tuple(spec.shape)) == known
    tensor = from_array("x", np.array(x, object if inputs[0] == "BYTES" else float))
    (answered,) = model.predict(InferRequest([tensor]), CONTEXT).outputs
    assert (answered.datatype, answered.shape[1:]) == (outputs[0], outputs[1][1:])


def test_text_models_take_a_column_of_text(tmp_path: Path) -> None:
    texts = ["good fine", "bad awful"]
    words = CountVectorizer().fit(texts)
    model = served(tmp_path, make_pipeline(words, MultinomialNB()).fit(texts, [1, 0]))
    for _ in range(2):
        assert v2(model, Tensor("t", (2, 1), "BYTES", texts)) == [1, 0]
        assert v2(model, Tensor("t", (2, 1), "BYTES", [text.encode() for text in texts])) == [1, 0]
        assert v1(model, [[text] for text in texts]) == [1, 0]
        assert v2(model, Tensor("t", (2,), "BYTES", texts)) == [1, 0]
    with pytest.raises(InvalidError, match=r"send shape \[rows\] or \[rows, 1\]"):
        v2(model, Tensor("t", (1, 2), "BYTES", texts))


def test_a_column_of_text_stays_one_where_columns_are_wanted(tmp_path: Path) -> None:
    data = np.array([["red"], ["blue"]], dtype=object)
    model = served(tmp_path, make_pipeline(OneHotEncoder(), LinearRegression()).fit(data, [10, 20]))
    assert v2(model, Tensor("t", (2, 1), "BYTES", ["red", "blue"])) == pytest.approx([10.0, 20.0])


def test_an_estimator_that_lacks_something_is_no_fault_of_the_caller(tmp_path: Path) -> None:
    made = DecisionTreeClassifier().fit([[1.0], [2.0]], [0, 1])
    del made.n_outputs_, made.classes_
    for estimator in (made, DecisionTreeClassifier()):
        with pytest.raises(AttributeError):
            v1(served(tmp_path, estimator), [[1.0]])
