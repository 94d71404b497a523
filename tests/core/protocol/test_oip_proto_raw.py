"""Raw answers over gRPC are the bytes that protobuf itself would have written, whether they come as tensors or as shares."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import arrays, oip, oip_proto
from wakeful.core.protocol.oip_messages import ModelInferResponse
from wakeful.core.protocol.oip_shares import Share, Whole
from wakeful.serving import grpc_edge

TEXTS = st.text(max_size=4) | st.sampled_from(["output-0", "é" * 200, "x" * 300])
SHAPES = st.lists(st.integers(0, 300), max_size=3).filter(lambda shape: np.prod(shape) < 2000)


def by_protobuf(response: oip.InferResponse) -> bytes:
    message = ModelInferResponse(model_name=response.model_name, id=response.id or "")
    for tensor in response.outputs:
        item = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        content = arrays.raw(tensor)
        item.parameters["binary_data_size"].int64_param = len(content)
        message.raw_output_contents.append(content)
    found: bytes = message.SerializeToString()
    return found


@given(
    TEXTS,
    TEXTS,
    st.lists(st.tuples(TEXTS, st.sampled_from(["<f4", "<f8", "<f2", "u1", "?"]), SHAPES), max_size=3),
)
def test_tensors(model: str, answer_id: str, outputs: list[Any]) -> None:
    tensors = [arrays.from_array(name, np.ones(shape, dtype)) for name, dtype, shape in outputs]
    response = oip.InferResponse(tensors, model, answer_id)
    for may_share in (True, False):
        parts = oip_proto.encode(response, tensors, is_raw=True, may_share=may_share)
        assert b"".join(parts) == by_protobuf(response)


@pytest.mark.parametrize("count", [4, oip_proto.LARGE_BYTES])
def test_long_contents_are_buffers_of_their_own(count: int) -> None:
    array = np.arange(count, dtype="<f8")
    tensor = arrays.from_array("y", array)
    parts = oip_proto.encode(oip.InferResponse([tensor], "m", "7"), [tensor], is_raw=True, may_share=True)
    assert len(parts) == (1 if count == 4 else 3)
    assert b"".join(parts) == by_protobuf(oip.InferResponse([tensor], "m", "7"))


def tensor_of(array: Any) -> oip.Tensor:
    return arrays.from_array("y", array)


@pytest.mark.parametrize("dtype", ["<f4", "<i8", "<f2", "?", ">f8", "O"])
@pytest.mark.parametrize("is_raw", [True, False])
@pytest.mark.parametrize(
    "outputs",
    [
        [],
        [oip.RequestedOutput("y")],
        [oip.RequestedOutput("y", True, {"binary_data": True})],
        [oip.RequestedOutput("y", False, {"classification": 1})],
        [oip.RequestedOutput("no")],
    ],
    ids=["all", "named", "binary", "classes", "unknown"],
)
def test_shares(dtype: str, is_raw: bool, outputs: list[oip.RequestedOutput]) -> None:
    array: Any = np.arange(6).reshape(3, 2).astype(dtype)
    entry: Any = SimpleNamespace(model=SimpleNamespace(name="m"))
    request = oip.InferRequest([], outputs, "7")
    incoming = oip_proto.Incoming("m", "", request, is_raw)

    def answer(result: Any) -> Any:
        try:
            return b"".join(grpc_edge.encode(entry, incoming, result))
        except FailureError as error:
            return error.kind, str(error)

    expected = answer(oip.InferResponse([tensor_of(array[1:])]))
    assert answer(Share(Whole("m", array, tensor_of), 1, 3)) == expected


def test_a_shape_may_be_a_list_as_models_write_it() -> None:
    tensor = oip.Tensor("y", [2, 1], "FP32", memoryview(bytes(8)))  # type: ignore[arg-type]
    (found,) = oip_proto.encode(oip.InferResponse([tensor], "m", "7"), [tensor], is_raw=True)
    assert found == by_protobuf(oip.InferResponse([tensor], "m", "7"))
