"""Open Inference Protocol in JSON: decode, every refusal with its words, encode with KServe's member order."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import oip
from wakeful.core.protocol.problem import SchemaError


def body(**changes: Any) -> bytes:
    tensor = {"name": "x", "shape": [2, 2], "datatype": "INT32", "data": [1, 2, 3, 4], **changes}
    return json.dumps({"inputs": [{k: v for k, v in tensor.items() if v is not ...}]}).encode()


def test_flat_and_nested_are_the_same() -> None:
    flat = oip.decode_json(body()).inputs[0]
    nested = oip.decode_json(body(data=[[1, 2], [3, 4]])).inputs[0]
    assert flat == nested
    assert (flat.shape, flat.size, flat.data) == ((2, 2), 4, [1, 2, 3, 4])


def test_whole_request() -> None:
    request = oip.decode_json(
        b'{"id": "7", "parameters": {"a": 1}, "inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", '
        b'"data": ["s"], "parameters": {"p": true}}], "outputs": [{"name": "y", "parameters": {"binary_data": true}}]}'
    )
    assert (request.id, request.parameters) == ("7", {"a": 1})
    assert request.input("x").parameters == {"p": True}
    assert request.outputs[0].is_binary
    with pytest.raises(InvalidError, match="'z' is missing; the request has: x"):
        request.input("z")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": [1, 2, 3]}, "input 'x': shape [2, 2] holds 4 elements, data has 3"),
        ({"shape": [0, 2]}, "holds 0 elements, data has 4"),
        ({"shape": [-1, 2]}, "every dimension must be from 0 to 2^63 - 1"),
        ({"shape": [2**63]}, "every dimension must be from 0 to 2^63 - 1"),
        ({"shape": [2**32, 2**32]}, "holds 18446744073709551616 elements"),
        ({"shape": [1] * 40}, "40 dimensions"),
        ({"datatype": "FLOAT"}, "datatype 'FLOAT'; known are BOOL"),
        ({"datatype": "FP16"}, "which JSON cannot carry"),
        ({"data": [[1, 2], [3]]}, "ragged: at depth 1, the first row has 2 elements and row 1 has 1"),
        ({"data": [[1, 2], 3]}, "row 1 is a number"),
        ({"data": [1, 2, 3, "4"]}, "element 3 of data is '4', which is not INT32"),
        ({"data": [1, 2, None, 4]}, "element 2 of data is null"),
        ({"data": [1, 2, [3], 4]}, "element 2 of data is an array"),
        ({"data": [1, 2, 3.5, 4]}, "element 2 of data is 3.5, which is not INT32"),
        ({"data": [1, 2, 2**31, 4]}, "outside INT32"),
        ({"data": [True, 2, 3, 4]}, "element 0 of data is True"),
        ({"datatype": "UINT8", "data": [1, 2, 3, -1]}, "outside UINT8 (0 to 255)"),
        ({"datatype": "FP32", "data": [1, 2, 3, 1e39]}, "outside FP32"),
        ({"datatype": "FP32", "data": [None, 2, 3, 1e39]}, "element 3 of data is 1e+39, outside FP32"),
        ({"datatype": "FP64", "data": [1, 2, 3, "4"]}, "element 3 of data is '4', which is not FP64"),
        ({"datatype": "BOOL", "data": [True, 0, 1, 2]}, "BOOL takes true and false"),
        ({"datatype": "BYTES", "data": ["a", "b", "c", 1]}, "element 3 of data is 1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_tensors_are_refused_by_name(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        oip.decode_json(body(**changes))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "loc", "kind"),
    [
        (b"[]", ["body"], "dict_type"),
        (b"{}", ["body", "inputs"], "missing"),
        (b'{"inputs": []}', ["body", "inputs"], "too_short"),
        (b'{"inputs": 3}', ["body", "inputs"], "list_type"),
        (b'{"inputs": [3]}', ["body", "inputs", 0], "dict_type"),
        (body(name=...), ["body", "inputs", 0, "name"], "missing"),
        (body(shape=...), ["body", "inputs", 0, "shape"], "missing"),
        (body(datatype=...), ["body", "inputs", 0, "datatype"], "missing"),
        (body(data=...), ["body", "inputs", 0, "data"], "missing"),
        (body(data="x"), ["body", "inputs", 0, "data"], "list_type"),
        (body(shape=[2, "2"]), ["body", "inputs", 0, "shape", 1], "int_type"),
        (body(shape=[2, True]), ["body", "inputs", 0, "shape", 1], "int_type"),
        (body(shape="2"), ["body", "inputs", 0, "shape"], "list_type"),
        (body(parameters=[]), ["body", "inputs", 0, "parameters"], "dict_type"),
        (b'{"id": 3, "inputs": [{}]}', ["body", "id"], "string_type"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_schema_mismatch_names_the_place(raw: bytes, loc: list[Any], kind: str) -> None:
    with pytest.raises(SchemaError) as caught:
        oip.decode_json(raw)
    assert caught.value.issues[0].as_json()["loc"] == loc
    assert caught.value.issues[0].type == kind


def test_refusals_of_the_whole() -> None:
    one = json.loads(body())["inputs"][0]
    with pytest.raises(InvalidError, match="'x' is given twice"):
        oip.decode_json(json.dumps({"inputs": [one, one]}).encode())
    with pytest.raises(InvalidError, match="at most 1024"):
        oip.decode_json(json.dumps({"inputs": [one] * 1025}).encode())
    with pytest.raises(InvalidError, match="empty"):
        oip.decode_json(b"")
    with pytest.raises(SchemaError) as caught:
        oip.decode_json(
            b'{"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}], "outputs": [1]}'
        )
    assert caught.value.issues[0].loc == ("body", "outputs", 0)


def test_whole_floats_are_integers() -> None:
    assert oip.decode_json(body(data=[1.0, 2, 3.0, 4])).inputs[0].data == [1, 2, 3, 4]


@pytest.mark.parametrize("datatype", ["FP32", "FP64", "fp32"])
def test_null_among_floats_is_nan(datatype: str) -> None:
    tensor = oip.decode_json(body(datatype=datatype, data=[None, 2, 3.5, None])).inputs[0]
    assert tensor.datatype == datatype.upper()
    assert np.array(tensor.data).tolist()[1:3] == [2.0, 3.5]
    assert np.isnan(np.array(tensor.data)).tolist() == [True, False, False, True]
    assert np.isnan(oip.decode_json(body(datatype=datatype, data=[None] * 4)).inputs[0].data).all()


def test_whole_floats_are_dimensions() -> None:
    assert oip.decode_json(body(shape=[2.0, 2])).inputs[0].shape == (2, 2)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity"])
def test_what_python_writes_for_nan_is_explained(token: str) -> None:
    raw = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP64", "data": [%s]}]}' % token.encode()
    with pytest.raises(InvalidError, match="JSON has neither NaN nor Infinity: send null"):
        oip.decode_json(raw)


def response() -> oip.InferResponse:
    return oip.InferResponse(
        [
            oip.Tensor("a", (2,), "FP32", np.array([1.5, float("nan")], "<f4")),
            oip.Tensor("b", (1,), "BYTES", ["t"]),
        ],
        "m",
        "7",
    )


def test_encoding_has_kserve_order_and_nulls() -> None:
    text = oip.encode_json(response(), response().outputs).decode()
    assert text == (
        '{"model_name":"m","model_version":null,"id":"7","parameters":null,"outputs":['
        '{"name":"a","shape":[2],"datatype":"FP32","parameters":null,"data":[1.5,null]},'
        '{"name":"b","shape":[1],"datatype":"BYTES","parameters":null,"data":["t"]}]}'
    )


def test_outputs_are_selected_in_the_order_asked() -> None:
    request = oip.decode_json(body())
    assert [t.name for t in oip.select_outputs(request, response())] == ["a", "b"]
    request.outputs = [oip.RequestedOutput("b")]
    assert [t.name for t in oip.select_outputs(request, response())] == ["b"]
    request.outputs = [oip.RequestedOutput("c")]
    with pytest.raises(InvalidError, match="Unexpected inference output 'c': the model gives a, b"):
        oip.select_outputs(request, response())


def test_fp16_output_needs_binary() -> None:
    with pytest.raises(InvalidError, match="binary_data"):
        oip.encode_json(response(), [oip.Tensor("h", (1,), "FP16", [1.0])])


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 2, 2], [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ([8], [[1, 2, 3, 4], [5, 6, 7, 8]]),
        ([1, 8], [[[1, 2, 3, 4, 5, 6, 7, 8]]]),
        ([2, 1, 4], [[1, 2, 3, 4], [5, 6, 7, 8]]),
    ],
    ids=str,
)
def test_levels_of_nested_data_may_be_joined_and_split(shape: list[int], data: list[Any]) -> None:
    assert oip.decode_json(body(shape=shape, data=data)).inputs[0].data == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ([2, 3], [[1, 2], [3, 4], [5, 6]]),
        ([3, 2, 1], [[1, 2, 3], [4, 5, 6]]),
        ([2, 2, 3], [[[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]]),
    ],
    ids=str,
)
def test_data_nested_across_its_shape_is_refused(shape: list[int], data: list[Any]) -> None:
    with pytest.raises(InvalidError, match=r"data is nested as \[.*\], not as its shape"):
        oip.decode_json(body(shape=shape, data=data))


def test_the_ends_of_fp32_are_fp32() -> None:
    """As anybody writes them: the shortest text that reads as FP32's maximum is a double just over it."""
    ends = oip.decode_json(body(datatype="FP32", data=[3.4028235e38, -3.4028235e38, 1, 2])).inputs[0]
    assert np.array(ends.data, "<f4").tolist()[:2] == [float(np.finfo("<f4").max), float(np.finfo("<f4").min)]
    with pytest.raises(InvalidError, match="outside FP32"):
        oip.decode_json(body(datatype="FP32", data=[3.4028236e38, 1, 2, 3]))


RANGES = {"UINT8": (0, 255), "INT64": (-(2**63), 2**63 - 1), "UINT64": (0, 2**64 - 1)}


@given(st.sampled_from(sorted(RANGES)), st.data())
def test_decode_gives_back_what_was_encoded(datatype: str, data: st.DataObject) -> None:
    low, high = RANGES[datatype]
    rows = data.draw(
        st.lists(st.lists(st.integers(low, high), min_size=3, max_size=3), min_size=1, max_size=5)
    )
    tensor = {"name": "x", "shape": [len(rows), 3], "datatype": datatype, "data": rows}
    decoded = oip.decode_json(json.dumps({"inputs": [tensor]}).encode()).inputs[0]
    assert decoded.data == [value for row in rows for value in row]


@pytest.mark.parametrize("where", ["inputs", "outputs"])
def test_shared_memory_is_refused_even_beside_data(where: str) -> None:
    tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}
    body: dict[str, Any] = {"inputs": [tensor], "outputs": [{"name": "y"}]}
    body[where][0]["parameters"] = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    with pytest.raises(InvalidError, match=r"in shared memory, which this server does not use"):
        oip.from_object(body)


def test_no_elements_need_no_data() -> None:
    """KServe's client sends an empty tensor in binary form as JSON without data."""
    empty = {"name": "x", "shape": [0, 4], "datatype": "FP32", "parameters": {"binary_data_size": 0}}
    assert oip.decode_json(json.dumps({"inputs": [empty]}).encode()).inputs[0].data == []
    with pytest.raises(SchemaError):
        oip.decode_json(json.dumps({"inputs": [empty | {"shape": [1, 4]}]}).encode())
