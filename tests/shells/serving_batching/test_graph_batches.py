"""Requests to ONNX models in one run: each gets what it would have got alone, and graphs that mix rows are left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_models
import pytest
from batching_rig import ask, plane_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper
from onnx_models import node

from runtimes import graphs
from runtimes.onnx.model import OnnxModel
from wakeful.core.errors import FailureKind
from wakeful.core.protocol import arrays
from wakeful.core.protocol.oip import InferRequest, InferResponse, RequestedOutput, Tensor
from wakeful.serving.model import Context

FREE = [("x", "FP32", ["n", 4])]
ANSWER = [("y", "FP32", ["n", 4])]


class Recorded(OnnxModel):
    """Remembers how many rows each run had."""

    runs: list[int]

    def run(self, inputs: Any, outputs: Sequence[str]) -> Any:
        self.runs.append(len(next(iter(inputs.values()))))
        return super().run(inputs, outputs)


def served(folder: Path, *graph: Any) -> Recorded:
    onnx_models.save(folder / "model.onnx", *graph)
    model = Recorded("m", folder, 1)
    model.runs = []
    model.load()
    return model


def adder(folder: Path) -> Recorded:
    """sum = left + right of [n, 2] (FP32, INT64 as FP32)."""
    nodes = [
        node("Cast", ["right"], ["real"], to=onnx_models.TYPES["FP32"]),
        node("Add", ["left", "real"], ["sum"]),
    ]
    inputs = [("left", "FP32", ["n", 2]), ("right", "INT64", ["n", 2])]
    return served(folder, nodes, inputs, [("sum", "FP32", ["n", 2]), ("real", "FP32", ["n", 2])])


def table(folder: Path) -> Recorded:
    """y = weights[x]; x beyond them fails."""
    weights = helper.make_tensor("table", onnx_models.TYPES["FP32"], [3], [1.0, 2.0, 3.0])
    nodes = [node("Gather", ["table", "x"], ["y"])]
    return served(folder, nodes, [("x", "INT64", ["n"])], [("y", "FP32", ["n"])], [weights])


def comparable(answer: Any) -> Any:
    if isinstance(answer, InferResponse):
        return [(t.name, t.shape, t.datatype, arrays.raw(t)) for t in answer.outputs]
    return answer


def together(model: Recorded, *rounds: Sequence[Any]) -> list[list[Any]]:
    """The answers to each round's payloads, which arrive at once."""

    async def run() -> list[list[Any]]:
        plane = plane_of(model)
        try:
            return [
                [
                    comparable(it)
                    for it in await asyncio.gather(*(ask(plane, payload) for payload in payloads))
                ]
                for payloads in rounds
            ]
        finally:
            plane.close()

    return asyncio.run(run())


def alone(model: Recorded, payload: Any) -> Any:
    return together(model, [payload])[0][0]


def rows(*values: float) -> dict[str, Any]:
    return {"instances": [[value] * 4 for value in values]}


def tensor(name: str, datatype: str, values: Any) -> Tensor:
    array = np.array(values, arrays.DTYPES[datatype])
    return Tensor(name, array.shape, datatype, memoryview(array.tobytes()))


DIFFERENT = [rows(1), rows(2), rows(3)]


@pytest.mark.parametrize(
    ("inputs", "outputs", "is_joined"),
    [
        ([["n", 4]], [["n"]], True),
        ([[None, 4]], [[None, 3]], True),
        ([["n", 4], ["n", "m"]], [["n", "m"], ["n"]], True),
        ([["n", 4]], [["m", 4]], False),
        ([["n", 4]], [[None, 4]], False),
        ([["n", 4], ["m", 4]], [["n", 4]], False),
        ([[1, 4]], [[1, 4]], False),
        ([["n", 4]], [[1, 4]], False),
        ([["n", 4]], [[]], False),
        ([["n", 4], []], [["n", 4]], False),
        ([["n", "n"]], [["n"]], False),
        ([["n", 4]], [["n", "n"]], False),
        ([], [["n"]], False),
        ([["n"]], [], False),
    ],
)
def test_shapes_say_whose_the_first_dimension_is(inputs: Any, outputs: Any, is_joined: bool) -> None:
    assert graphs.row_dimension(inputs, outputs) is is_joined


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs", "is_joined"),
    [
        ([node("Identity", ["x"], ["y"])], FREE, ANSWER, True),
        ([node("Identity", ["x"], ["y"])], [("x", "FP32", [None, 4])], [("y", "FP32", [None, 4])], True),
        ([node("Identity", ["x"], ["y"])], [("x", "FP32", [1, 4])], [("y", "FP32", [1, 4])], False),
        ([node("Transpose", ["x"], ["y"])], [("x", "FP32", ["n", "m"])], [("y", "FP32", ["m", "n"])], False),
        ([node("ReduceSum", ["x"], ["y"], keepdims=0)], FREE, [("y", "FP32", [])], False),
        ([node("NonZero", ["x"], ["y"])], [("x", "FP32", ["n"])], [("y", "INT64", [1, "k"])], False),
    ],
    ids=["one symbol", "no names", "fixed", "transposed", "a sum", "indices"],
)
def test_only_graphs_of_rows_are_batched(
    tmp_path: Path, nodes: Any, inputs: Any, outputs: Any, is_joined: bool
) -> None:
    model = served(tmp_path, nodes, inputs, outputs)
    assert (model.batching is not None) is is_joined
    if not is_joined:
        size = 1 if inputs[0][2] == [1, 4] else 2
        shape = (size, 4)[: len(inputs[0][2])]
        request = InferRequest([Tensor("x", shape, "FP32", [1.0] * int(np.prod(shape)))])
        together(model, [request, request])
        assert model.runs == [size, size]


def test_requests_share_a_run_once_it_came_out_equal(tmp_path: Path) -> None:
    model = served(tmp_path, [node("Softmax", ["x"], ["y"], axis=1)], FREE, ANSWER)
    wanted = [alone(model, payload) for payload in DIFFERENT]
    model.runs.clear()
    model.load()
    assert together(model, *[DIFFERENT] * (graphs.CHECKS + 2)) == [wanted] * (graphs.CHECKS + 2)
    assert model.runs == [3, 1, 1, 1] * graphs.CHECKS + [3, 3]


def test_copies_of_one_request_are_no_proof_for_others(tmp_path: Path) -> None:
    """Of equal rows a running maximum is what each alone would have got."""
    model = served(tmp_path, *running_maximum())
    wanted = [alone(model, payload) for payload in (rows(3), rows(1))]
    model.runs.clear()
    answers = together(model, *[[rows(3), rows(3)]] * 5, [rows(3), rows(1)], [rows(3), rows(1)])
    assert answers[:5] == [[wanted[0]] * 2] * 5
    assert answers[5:] == [wanted, wanted]
    assert model.runs == [2, 1, 1] * graphs.CHECKS + [2, 2] + [2, 1, 1] + [1, 1]


def running_maximum() -> tuple[Any, ...]:
    """y = the maximum over all rows, for each row."""
    nodes = [node("ReduceMax", ["x"], ["most"], axes=[0]), node("Max", ["zero", "most"], ["y"])]
    nodes.insert(0, node("Sub", ["x", "x"], ["zero"]))
    return nodes, FREE, ANSWER


def quantized() -> tuple[Any, ...]:
    """y = x in 8 bits, of a scale that all values of the run have a part in."""
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"]),
        node("DequantizeLinear", ["q", "s", "z"], ["y"]),
    ]
    return nodes, FREE, ANSWER


@pytest.mark.parametrize(
    "graph",
    [
        lambda: ([node("Softmax", ["x"], ["y"], axis=0)], FREE, ANSWER),
        lambda: (
            [node("CumSum", ["x", "zero"], ["y"])],
            FREE,
            ANSWER,
            [onnx_models.whole_numbers("zero", [0])],
        ),
        running_maximum,
        quantized,
    ],
    ids=["softmax", "sequence", "maximum", "dynamic quantization"],
)
def test_a_graph_that_mixes_its_rows_is_found_out(tmp_path: Path, graph: Callable[[], Any]) -> None:
    model = served(tmp_path, *graph())
    payloads = [rows(1.37), rows(2.11, -7.3), {"instances": [[0.1, 0.25, 3.0, -1.1]]}]
    wanted = [alone(model, payload) for payload in payloads]
    model.runs.clear()
    assert together(model, payloads, payloads, payloads) == [wanted] * 3
    assert model.runs == [4] + [1, 2, 1] * 3


def late_mixer() -> tuple[Any, ...]:
    """Rows are apart while all are below 100; from there on each is answered with the largest of all."""
    nodes = [
        node("ReduceMax", ["x"], ["most"], keepdims=0),
        node("Greater", ["most", "hundred"], ["is_large"]),
        node("Where", ["is_large", "most", "x"], ["y"]),
    ]
    hundred = helper.make_tensor("hundred", onnx_models.TYPES["FP32"], [], [100.0])
    return nodes, FREE, ANSWER, [hundred]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_graph_that_begins_to_mix_its_rows_later_is_found_out_too(tmp_path: Path, place: int) -> None:
    model = served(tmp_path, *late_mixer())
    batching = model.batching
    assert isinstance(batching, graphs.GraphBatching)
    quiet = [rows(1.0), rows(2.0), rows(3.0)]
    loud = [*quiet]
    loud[place] = rows(1000.0)
    together(model, *[quiet] * 10)
    model.runs.clear()
    for _ in range(3 * graphs.SAMPLE_EVERY):
        answers = together(model, loud)
    assert answers == [[alone(model, payload) for payload in loud]], "found out, and asked one by one since"
    assert model.runs[-9:] == [1] * 9
    assert model.runs.count(3) < 3 * graphs.SAMPLE_EVERY


def test_samples_cost_next_to_nothing(tmp_path: Path) -> None:
    model = served(tmp_path, [node("Add", ["x", "x"], ["y"])], FREE, ANSWER)
    asked = [rows(1.0), rows(2.0)]
    together(model, *[asked] * 10)
    model.runs.clear()
    for _ in range(4 * graphs.SAMPLE_EVERY):
        together(model, asked)
    assert (model.runs.count(1), model.runs.count(2)) == (4, 4 * graphs.SAMPLE_EVERY)


ROW = st.tuples(st.floats(-8, 8, width=32), st.integers(-9, 9))
GOOD = st.lists(ROW, min_size=1, max_size=3)
PAYLOADS = st.one_of(
    GOOD.map(lambda rows: {"instances": [{"left": [a, a], "right": [b, 1]} for a, b in rows]}),
    GOOD.map(
        lambda rows: InferRequest(
            [
                tensor("right", "INT64", [[b, b] for _, b in rows]),
                tensor("left", "FP64", [[a, 2 * a] for a, _ in rows]),
            ]
        )
    ),
    GOOD.map(
        lambda rows: InferRequest(
            [
                tensor("left", "FP32", [[a, a] for a, _ in rows]),
                tensor("right", "INT8", [[b, b] for _, b in rows]),
            ],
            [RequestedOutput("real")],
        )
    ),
    st.sampled_from(
        [
            {"instances": [{"left": [1, 2]}]},
            {"instances": [{"left": [1], "right": [1]}]},
            {"instances": []},
            b'{"instances": [{"left": [1, 2], "right": [3, 4]}]}',
            InferRequest([tensor("left", "FP32", [[1, 2]] * 2), tensor("right", "INT64", [[1, 2]] * 3)]),
        ]
    ),
)


@pytest.fixture(scope="module")
def added(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return adder(tmp_path_factory.mktemp("adder"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payloads=st.lists(PAYLOADS, min_size=1, max_size=10))
def test_together_is_as_alone(added: Recorded, payloads: list[Any]) -> None:
    wanted = [alone(added, payload) for payload in payloads]
    assert together(added, payloads)[0] == wanted


def test_an_error_is_only_the_one_requests(tmp_path: Path) -> None:
    model = table(tmp_path)
    good = [{"instances": [place]} for place in (0, 1, 2)]
    together(model, *[good] * graphs.CHECKS)
    answers = together(model, [*good, {"instances": [7]}, *good])[0]
    assert [it["predictions"] for it in answers[:3] + answers[4:]] == [[1.0], [2.0], [3.0]] * 2
    kind, text = answers[3]
    assert kind is FailureKind.INVALID and "out of data bounds" in text


def test_rows_of_other_shapes_types_and_outputs_never_meet(tmp_path: Path) -> None:
    value = ("x", "FP32", ["n", "m"])
    model = served(tmp_path, [node("Identity", ["x"], ["y"])], [value], [("y", "FP32", ["n", "m"])])
    narrow, wide = {"instances": [[1.0, 2.0]]}, {"instances": [[1.0, 2.0, 3.0]]}
    together(model, *[[narrow, {"instances": [[5.0, 6.0]]}]] * graphs.CHECKS)
    model.runs.clear()
    answers = together(model, [narrow, wide, narrow, wide])[0]
    assert [it["predictions"] for it in answers] == [narrow["instances"], wide["instances"]] * 2
    assert model.runs == [2, 2]
    whole, part = InferRequest([tensor("x", "FP32", [[1, 2]])]), InferRequest([tensor("x", "FP32", [[3, 4]])])
    part.outputs.append(RequestedOutput("y"))
    signatures = {model.batching.part(it, Context({})).signature for it in (narrow, wide, whole, part)}  # type: ignore[union-attr]
    assert len(signatures) == 3


def test_an_output_of_another_length_goes_to_nobody_else(tmp_path: Path) -> None:
    """The graph's shapes lie: it answers the values above zero, as many as there are."""
    nodes = [
        node("Greater", ["x", "zero"], ["is_above"]),
        node("Compress", ["x", "is_above"], ["y"], axis=0),
    ]
    zero = helper.make_tensor("zero", onnx_models.TYPES["FP32"], [], [0.0])
    model = served(tmp_path, nodes, [("x", "FP32", ["n"])], [("y", "FP32", ["n"])], [zero])
    payloads = [InferRequest([tensor("x", "FP32", values)]) for values in ([1, -1], [-1, -1], [5])]
    answers = together(model, *[payloads] * 5)
    assert [[it[0][1] for it in answer] for answer in answers] == [[(1,), (0,), (1,)]] * 5


def test_what_is_large_or_has_no_common_rows_goes_alone(added: Recorded) -> None:
    batching = added.batching
    assert isinstance(batching, graphs.GraphBatching)
    row = {"left": [1.0, 2.0], "right": [1, 2]}
    large = InferRequest(
        [tensor("left", "FP32", [[1, 2]] * 40000), tensor("right", "INT64", [[1, 2]] * 40000)]
    )
    ragged = InferRequest([tensor("left", "FP32", [[1, 2]] * 2), tensor("right", "INT64", [[1, 2]])])
    empty = InferRequest([tensor("left", "FP32", np.ones((0, 2))), tensor("right", "INT64", np.ones((0, 2)))])
    text = InferRequest([Tensor("left", (1, 2), "BYTES", memoryview(bytes(300_000))), large.inputs[1]])
    hollow = [{"instances": [empty_row] * 5000} for empty_row in ([], {}, [[]])]
    payloads = [{"instances": [row] * 2000}, large, text, ragged, empty, b"{}", *hollow]
    assert [batching.part(payload, Context({})) for payload in payloads] == [None] * 9
    part = batching.part({"instances": [row] * 3}, Context({}))
    assert part is not None and part.rows == 3


def test_a_graphs_own_limit_of_rows_is_kept(added: Recorded) -> None:
    batching = graphs.GraphBatching(added, most_rows=8)
    batching.max_batch_size = 100
    assert batching.max_batch_size == 8
    assert graphs.GraphBatching(added).max_batch_size == graphs.MAX_BATCH_ROWS
