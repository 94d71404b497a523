"""V2 answers over HTTP: what a batch's share says at once is what its tensors would have said, for any request."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import arrays, oip
from wakeful.core.protocol.oip_shares import Share
from wakeful.serving import http_v2
from wakeful.serving.exchange import Reply
from wakeful.serving.model import Context
from wakeful.serving.tabular import TabularModel

REQUESTS: list[dict[str, Any]] = [
    {},
    {"id": "7"},
    {"parameters": {"a": 1}},
    {"parameters": {"binary_data_output": True}, "id": "7"},
    {"outputs": [{"name": "output-0"}]},
    {"outputs": [{"name": "output-0", "parameters": {"binary_data": True}}]},
    {"outputs": [{"name": "output-0", "parameters": {"binary_data": False, "a": 1}}]},
    {"outputs": [{"name": "output-0"}], "parameters": {"binary_data_output": True}},
    {"outputs": [], "parameters": {"binary_data_output": 1}},
    {"outputs": [{"name": "no"}]},
    {"outputs": [{"name": "output-0"}, {"name": "no", "parameters": {"binary_data": True}}]},
]
NUMBERS = st.floats(width=16) | st.sampled_from([0.0, 1.0, float("nan"), float("inf")])


class Doubling(TabularModel):
    width = 2

    def compute(self, matrix: Any) -> Any:
        return matrix * 2


def reply(entry: Any, request: oip.InferRequest, result: Any) -> Any:
    """Status, headers and body of the answer, or the text of the failure."""
    context = Context({})
    context.response_headers["content-type"] = "text/model"
    try:
        found = http_v2.reply(entry, request, context, result)
    except FailureError as error:
        return error.kind, str(error)
    return found.status, found.headers, joined(found)


def joined(reply: Reply) -> bytes:
    return reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)  # type: ignore[arg-type]


def shares(model: Doubling, requests: list[oip.InferRequest]) -> list[Any]:
    parts = [model.batching.part(request, Context({})) for request in requests]  # type: ignore[union-attr]
    found = list(model.batching.answer(parts))  # type: ignore[union-attr,arg-type]
    assert [type(share) for share in found] == [Share] * len(requests)
    return found


@pytest.mark.parametrize("more", REQUESTS, ids=str)
@pytest.mark.parametrize("count", [1, 3])
def test_a_share_is_answered_as_its_tensors_are(more: dict[str, Any], count: int) -> None:
    model = Doubling("m")
    entry = SimpleNamespace(model=model)
    tensor = {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1.5, 2, 3, 4]}
    request = oip.from_object({"inputs": [tensor], "id": "9"} | more)
    oip.complete_inputs(request)
    expected = reply(entry, request, model.rendered(request, np.array([[3, 4], [6, 8]], "<f4")))
    for share in shares(model, [request] * count):
        assert reply(entry, request, share) == expected


@given(
    st.lists(st.tuples(st.sampled_from(REQUESTS), st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=3)), min_size=1, max_size=4),
    st.sampled_from(["FP16", "FP32", "FP64", "INT8", "UINT64"]),
)  # fmt: skip
def test_rows_in_binary_form_are_answered_as_if_they_had_come_alone(asked: Any, datatype: str) -> None:
    model = Doubling("m")
    entry = SimpleNamespace(model=model)
    requests = []
    for more, rows in asked:
        with np.errstate(all="ignore"):
            array = np.array(rows).astype(arrays.DTYPES[datatype])
        head = {"name": "x", "shape": array.shape, "datatype": datatype}
        request = oip.from_object({"id": "9"} | more | {"inputs": [head | {"shape": list(array.shape)}]})
        request.inputs[0].data = memoryview(b"-" + array.tobytes())[1:]  # at an odd address
        requests.append(request)
    with np.errstate(all="ignore"):
        expected = [
            reply(entry, r, model.rendered(r, arrays.to_array(r.inputs[0]) * arrays.DTYPES[datatype].type(2)))
            for r in requests
        ]
        found = shares(model, requests)
    assert [reply(entry, r, share) for r, share in zip(requests, found, strict=True)] == expected
