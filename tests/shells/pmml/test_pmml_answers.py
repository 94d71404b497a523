"""A PMML server asked by HTTP and gRPC: answers as KServe's, missing values, metadata, and what is refused."""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import re
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pmml_documents import CLUSTERS, IRIS, REGRESSION, TREE
from pmml_server import needs_java, placed, serving

from wakeful import AsyncInferenceClient

pytestmark = [needs_java, pytest.mark.timeout(300)]
MOMENTS = CLUSTERS.replace(
    "</Output>",
    """<OutputField name="day" optype="continuous" dataType="date" feature="transformedValue"><FieldRef field="when"/></OutputField>
    <OutputField name="at" optype="continuous" dataType="dateTime" feature="transformedValue">
      <Constant dataType="dateTime">2020-02-03T04:05:06</Constant></OutputField>
    <OutputField name="hour" optype="continuous" dataType="time" feature="transformedValue">
      <Constant dataType="time">04:05:00</Constant></OutputField></Output>""",
)
DOCUMENTS = {
    "tree": TREE, "regression": REGRESSION, "iris": IRIS, "clusters": CLUSTERS, "moments": MOMENTS,
}  # fmt: skip
POOR = {
    "loan": "no",
    "decided": "no",
    "p_yes": 0.1,
    "p_no": 0.9,
    "node": "poor",
    "percent": 10.0,
    "verdict": "refuse",
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    folder = tmp_path_factory.mktemp("pmml")
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(serving(placed(folder / name, text), folder / f"{name}.log"))[0]
            for name, text in DOCUMENTS.items()
        }


def asked(base: str, path: str, body: object) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=30)
    connection.request(
        "POST" if body is not None else "GET", path, json.dumps(body) if body is not None else None
    )
    with connection.getresponse() as response:
        answer = json.loads(response.read())
    connection.close()
    return response.status, answer


def asked_text(base: str, path: str) -> str:
    with urllib.request.urlopen(base + path, timeout=30) as response:
        return str(response.read().decode())


def predictions(base: str, *rows: object) -> list[Any]:
    status, answer = asked(base, "/v1/models/m:predict", {"instances": list(rows)})
    assert status == 200, answer
    return list(answer["predictions"])


def infer(base: str, *inputs: dict[str, Any], **more: Any) -> dict[str, tuple[str, list[int], list[Any]]]:
    status, answer = asked(base, "/v2/models/m/infer", {"inputs": list(inputs), **more})
    assert status == 200, answer
    return {it["name"]: (it["datatype"], it["shape"], it["data"]) for it in answer["outputs"]}


def tensor(name: str, datatype: str, data: list[Any], *shape: int) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape) or [len(data)], "data": data}


def test_answers_are_objects_of_the_target_and_the_documents_output(bases: dict[str, str]) -> None:
    (answer,) = predictions(bases["tree"], [500, 20, "Rome"])
    assert answer == POOR and list(answer) == list(POOR)


def test_rows_are_lists_in_the_documents_order_or_objects_by_field(bases: dict[str, str]) -> None:
    assert predictions(bases["tree"], {"city": "Rome", "age": 20, "income": 500}, ["500", 20.0, "Rome"]) == [
        POOR,
        POOR,
    ]


@pytest.mark.parametrize(
    ("row", "node"),
    [
        ([None, 20, "Rome"], "young"),  # the root's defaultChild, then on by age and city
        ([None, None, None], "old"),
        ({}, "old"),
        ({"income": 2000, "age": 20}, "old"),
        ([2000, 20, "Paris"], "old"),  # invalidValueTreatment="asMissing"
        ([2000, 20, "Oslo"], "rich"),  # noTrueChildStrategy="returnLastPrediction"
    ],
)
def test_missing_values_go_where_the_document_says(bases: dict[str, str], row: object, node: str) -> None:
    assert predictions(bases["tree"], row)[0]["node"] == node


def test_a_regression_computes_what_its_formula_says(bases: dict[str, str]) -> None:
    rows = [[math.e, 1, "house"], [1, None, "flat"], {"area": 1, "floor": 4, "kind": "flat"}]
    assert predictions(bases["regression"], *rows) == [
        {"price": pytest.approx(price)} for price in (10 + 3 + 0.5 + 7, 10 + 0.5 * 4, 10 + 0.5 * 16)
    ]


def test_probabilities_are_a_softmax(bases: dict[str, str]) -> None:
    row = [5.1, 3.5, 1.4, 0.2]
    weights = {
        0: (9.85, -0.42, 0.97, -2.5, -1.08),
        1: (2.24, 0.53, -0.32, -0.2, -0.94),
        2: (-12.09, -0.11, -0.65, 2.7, 2.02),
    }
    scores = {
        name: math.exp(w[0] + sum(a * b for a, b in zip(w[1:], row, strict=True)))
        for name, w in weights.items()
    }
    wanted = {
        f"probability({name})": pytest.approx(score / sum(scores.values())) for name, score in scores.items()
    }
    assert predictions(bases["iris"], row) == [{"y": 0, **wanted}]


def test_a_row_without_an_answer_is_null_in_v1_and_nan_in_v2(bases: dict[str, str]) -> None:
    none = {"y": None, "probability(0)": None, "probability(1)": None, "probability(2)": None}
    rows = [[None, 3, 5, 2], [6.7, 3.0, 5.2, 2.3]]
    first, second = predictions(bases["iris"], *rows)
    assert first == none and second["y"] == 2
    answer = infer(bases["iris"], tensor("x", "FP64", [None, 3, 5, 2, 6.7, 3.0, 5.2, 2.3], 2, 4))
    assert answer["y"] == ("FP64", [2], [None, 2.0])


def test_v2_takes_a_tensor_a_field_or_one_matrix(bases: dict[str, str]) -> None:
    wanted = ("FP64", [2], [0.1, 0.9])
    by_field = infer(
        bases["tree"], tensor("city", "BYTES", ["Rome", "Oslo"]), tensor("income", "FP32", [500, None], 2, 1)
    )
    assert by_field["p_yes"] == wanted
    assert by_field["verdict"] == ("BYTES", [2], ["refuse", "grant"])
    matrix = tensor("any", "BYTES", ["500", "20", "Rome", "2000", "40", "Oslo"], 2, 3)
    assert infer(bases["tree"], matrix, outputs=[{"name": "p_yes"}]) == {"p_yes": wanted}


async def test_grpc_answers_the_same(bases: dict[str, str]) -> None:
    inputs = {"city": np.array(["Rome", "Oslo"], dtype=object), "income": np.array([500.0, np.nan])}
    async with AsyncInferenceClient(bases["tree"].replace("http://", "grpc://")) as client:
        answer = await client.infer("m", inputs, outputs=["p_yes", "verdict"])
    assert answer["p_yes"].tolist() == [0.1, 0.9]
    assert list(answer["verdict"]) == [b"refuse", b"grant"]


def test_metadata_is_the_documents(bases: dict[str, str]) -> None:
    status, answer = asked(bases["clusters"], "/v2/models/m", None)
    assert status == 200 and answer["platform"] == "pmml"
    assert {it["name"]: it["datatype"] for it in answer["inputs"]} == {
        "x": "FP32",
        "when": "BYTES",
        "flag": "BOOL",
    }
    assert {it["name"]: it["datatype"] for it in answer["outputs"]} == {
        "_target": "BYTES",
        "near": "BYTES",
        "aff": "FP64",
        "f": "BOOL",
        "fx": "FP64",
        "yr": "INT64",
    }


def test_a_model_without_a_target_and_moments_as_text(bases: dict[str, str]) -> None:
    (answer,) = predictions(bases["clusters"], {"x": 9, "when": "2000-01-03", "flag": True})
    assert (answer["_target"], answer["near"], answer["f"], answer["yr"]) == ("2", "2", True, 2)
    inputs = [
        tensor("x", "FP32", [9]),
        tensor("when", "BYTES", ["2000-01-03"]),
        tensor("flag", "BOOL", [True]),
    ]
    assert infer(bases["clusters"], *inputs)["f"] == ("BOOL", [1], [True])
    status, error = asked(
        bases["clusters"],
        "/v2/models/m/infer",
        {"inputs": [tensor("x", "FP32", [9]), tensor("when", "BYTES", ["2000-01-03"])]},
    )
    assert (status, error["error"].split(":")[0]) == (400, "row 0")
    assert "no 'f' for it" in error["error"]


def test_results_that_are_moments_are_text_in_their_iso_form(bases: dict[str, str]) -> None:
    """JPMML's helper for Python computes them and fails to send them."""
    row = {"x": 9, "when": "2000-01-03", "flag": True}
    answers = predictions(bases["moments"], row, row | {"when": "2024-02-29"})
    assert [(answer["day"], answer["at"], answer["yr"]) for answer in answers] == [
        ("2000-01-03", "2020-02-03T04:05:06", 2),
        ("2024-02-29", "2020-02-03T04:05:06", 8825),
    ]
    assert answers[0]["hour"] == "04:05"
    status, error = asked(bases["moments"], "/v1/models/m:predict", {"instances": [row, row | {"x": "far"}]})
    assert (status, error["error"].split(":")[0]) == (400, "instances[1]")
    inputs = [
        tensor("x", "FP32", [9]), tensor("when", "BYTES", ["2000-01-03"]), tensor("flag", "BOOL", [True]),
    ]  # fmt: skip
    assert infer(bases["moments"], *inputs)["day"] == ("BYTES", [1], ["2000-01-03"])
    _, metadata = asked(bases["moments"], "/v2/models/m", None)
    assert {it["name"]: it["datatype"] for it in metadata["outputs"]}["at"] == "BYTES"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([500, 20], "instances[1] has 2 values; it takes income, age, city, in this order"),
        ([500, 20, "Rome", 1], "instances[1] has 4 values"),
        (7, "instances[1] has 1 value;"),
        (
            {"income": 1, "town": "Rome"},
            "instances[1] has 'town', which is no field of the model; it takes income",
        ),
        (["abc", 20, "Rome"], 'instances[1]: Field "income" cannot accept invalid value "abc"'),
        ([2000, 20.5, "Rome"], 'instances[1]: Field "age" cannot accept'),
        ([2000, 2**40, "Rome"], 'instances[1]: Field "age" cannot accept'),
        ([500, 20, ["Rome"]], "instances[1], 'city', is an array: a field takes one value"),
        ({"income": {}}, "instances[1], 'income', is an object"),
    ],
)
def test_a_wrong_row_is_told_with_its_place(bases: dict[str, str], row: object, words: str) -> None:
    status, answer = asked(bases["tree"], "/v1/models/m:predict", {"instances": [[500, 20, "Rome"], row]})
    assert (status, answer["error"][: len(words)]) == (400, words)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        (
            [tensor("town", "BYTES", ["a"]), tensor("age", "INT64", [1])],
            "input 'town' is no field of the model; it takes",
        ),
        (
            [tensor("x", "FP64", [1, 2], 1, 2)],
            "input 'x' has shape [1, 2]: as one matrix the model takes [rows, 3]",
        ),
        (
            [tensor("age", "INT64", [1, 2]), tensor("city", "BYTES", ["a"])],
            "input 'city' has 1 rows, 'age' has 2",
        ),
        (
            [tensor("age", "INT64", [1, 2], 1, 2), tensor("city", "BYTES", ["a"])],
            "input 'age' has shape [1, 2]: a field",
        ),
        ([tensor("age", "FP64", [1.5])], 'row 0: Field "age" cannot accept'),
    ],
)
def test_a_wrong_tensor_is_told(bases: dict[str, str], inputs: list[Any], words: str) -> None:
    status, answer = asked(bases["tree"], "/v2/models/m/infer", {"inputs": inputs})
    assert (status, answer["error"][: len(words)]) == (400, words)


def test_what_the_model_cannot_compute_is_400_and_the_server_goes_on(bases: dict[str, str]) -> None:
    for row, words in (([-1, 1, "flat"], "ln"), ([1, 1, "boat"], "kind"), ([None, 1, "flat"], "missing")):
        status, answer = asked(bases["regression"], "/v1/models/m:predict", {"instances": [row]})
        assert status == 400 and words in answer["error"]
    assert predictions(bases["regression"], [1, 2, "flat"]) == [{"price": 12.0}]


def test_many_rows_come_back_in_order(bases: dict[str, str]) -> None:
    floors = [place % 50 for place in range(2500)]
    rows: list[list[Any]] = [[1, floor, "flat"] for floor in floors]
    answers = predictions(bases["regression"], *rows)
    assert [it["price"] for it in answers] == [10 + 0.5 * floor**2 for floor in floors]
    status, answer = asked(
        bases["regression"], "/v1/models/m:predict", {"instances": [*rows, [1, 1, "boat"]]}
    )
    assert status == 400 and answer["error"].startswith("instances[2500]: Field")


async def test_requests_at_once_get_their_own_answers_and_errors(bases: dict[str, str]) -> None:
    async with AsyncInferenceClient(bases["regression"]) as client:

        async def one(floor: int) -> Any:
            row = [1, floor, "boat" if floor % 7 == 3 else "flat"]
            try:
                return (await client.predict("m", {"instances": [row]}))["predictions"][0]["price"]
            except Exception as error:
                return str(error)

        answers = await asyncio.gather(*[one(floor) for floor in range(60)])
    metrics = await asyncio.to_thread(asked_text, bases["regression"], "/metrics")
    batches = re.findall(r'^wakeful_serving_batch_rows_bucket\{.*le="1.0".*\} (\S+)$', metrics, re.MULTILINE)
    total = re.findall(r"^wakeful_serving_batch_rows_count\{.*\} (\S+)$", metrics, re.MULTILINE)
    assert float(total[0]) > float(batches[0])  # some had more rows than one
    for floor, answer in enumerate(answers):
        if floor % 7 == 3:
            assert "boat" in answer
        else:
            assert answer == 10 + 0.5 * floor**2


def test_a_document_at_fault_is_500_and_names_it(tmp_path: Path) -> None:
    folder = placed(tmp_path / "m", TREE.replace('<FieldRef field="p_yes"/>', '<FieldRef field="p_nil"/>', 1))
    with serving(folder, tmp_path / "log") as (base, _):
        status, answer = asked(base, "/v1/models/m:predict", {"instances": [[500, 20, "Rome"]]})
    assert status == 500
    assert answer["error"] == 'instances[0]: the PMML document is at fault: Field "p_nil" is not defined'


def test_output_fields_without_a_type_and_with_the_targets_name(tmp_path: Path) -> None:
    """A type is a must since PMML 4.3 only; what the feature gives is one."""
    text = TREE
    for name, kind in (("decided", "string"), ("p_yes", "double"), ("node", "string")):
        optype = "continuous" if kind == "double" else "categorical"
        text = text.replace(f'name="{name}" optype="{optype}" dataType="{kind}"', f'name="{name}"')
    text = text.replace('<OutputField name="decided"', '<OutputField name="loan"')
    with serving(placed(tmp_path / "m", text), tmp_path / "log") as (base, _):
        metadata = asked(base, "/v2/models/m", None)[1]["outputs"]
        outputs = infer(base, tensor("income", "FP64", [500.0]))
    assert {it["name"]: it["datatype"] for it in metadata} == {name: it[0] for name, it in outputs.items()}
    assert outputs["loan"] == ("BYTES", [1], ["no"]) and outputs["node"] == ("BYTES", [1], ["poor"])
    assert outputs["p_yes"] == ("FP64", [1], [0.1])


def test_a_missing_text_that_is_not_asked_for_is_no_error(bases: dict[str, str]) -> None:
    inputs = [tensor("x", "FP32", [9]), tensor("when", "BYTES", ["2000-01-03"])]
    assert infer(bases["clusters"], *inputs, outputs=[{"name": "yr"}]) == {"yr": ("INT64", [1], [2])}
    status, answer = asked(
        bases["clusters"], "/v2/models/m/infer", {"inputs": inputs, "outputs": [{"name": "none"}]}
    )
    assert status == 400, answer
