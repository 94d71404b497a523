"""The binary tensor extension: framing, every size checked before a byte is used, round trips."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import oip, oip_binary

RAW = struct.pack("<4f", 1, 2, 3, 4)


def framed(tail: bytes = RAW, **changes: Any) -> tuple[bytes, int]:
    tensor = {
        "name": "x",
        "shape": [2, 2],
        "datatype": "FP32",
        "parameters": {"binary_data_size": len(RAW)},
        **changes,
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + tail, len(head)


def test_raw_tensor_is_a_view_of_the_body() -> None:
    body, length = framed()
    tensor = oip_binary.decode(body, length).inputs[0]
    assert isinstance(tensor.data, memoryview) and tensor.data.obj is body
    assert bytes(tensor.data) == RAW
    assert tensor.parameters == {}


def test_mixed_json_and_binary_in_order() -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "a", "shape": [1], "datatype": "UINT8", "parameters": {"binary_data_size": 1}},
                {"name": "j", "shape": [2], "datatype": "INT32", "data": [1, 2]},
                {"name": "b", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}},
            ]
        }
    ).encode()
    request = oip_binary.decode(head + b"\x07" + oip_binary.join_bytes([b"ab", "c"]), len(head))
    assert bytes(request.inputs[0].data) == b"\x07"
    assert (request.inputs[1].data, request.inputs[2].data) == ([1, 2], [b"ab", b"c"])


@pytest.mark.parametrize(
    ("changes", "tail", "words"),
    [
        ({}, RAW[:-1], "only 15 bytes of the body are left"),
        ({}, RAW + b"x", "1 bytes after the last tensor"),
        ({"parameters": {"binary_data_size": 15}}, RAW, "takes 16 bytes, binary_data_size is 15"),
        ({"parameters": {"binary_data_size": -1}}, RAW, "not a number of bytes"),
        ({"parameters": {"binary_data_size": True}}, RAW, "not a number of bytes"),
        ({"parameters": {"binary_data_size": 2**60}}, RAW, "bytes of the body are left"),
        ({"parameters": {}}, RAW, "neither data nor parameters.binary_data_size"),
        ({"data": [1, 2, 3, 4]}, RAW, "both data and"),
        ({"datatype": "FP16", "shape": [1], "parameters": {"binary_data_size": 3}}, b"abc", "takes 2 bytes"),
        ({"datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}, b"\xff\xff\xff\xffa", "says 4294967295"),
        ({"datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 9}}, b"\x05\0\0\0abcde", "ends inside element 1"),
        ({"datatype": "BYTES", "shape": [10**7], "parameters": {"binary_data_size": 4}}, b"\0\0\0\0", "cannot hold 10000000"),
        ({"datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}}, b"\0\0\0\0a", "1 bytes after its 1"),
        ({"datatype": "BYTES", "shape": [1_000_001], "parameters": {"binary_data_size": 4_000_004}}, bytes(4_000_004), "at most 1000000"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_sizes_that_lie_are_refused(changes: dict[str, Any], tail: bytes, words: str) -> None:
    body, length = framed(tail, **changes)
    with pytest.raises(InvalidError) as caught:
        oip_binary.decode(body, length)
    assert words in str(caught.value)


@pytest.mark.parametrize(("value", "words"), [
    (None, "needs the header"), ("", "not a number"), ("-1", "not a number"), ("1e3", "not a number"),
    ("\u0663", "not a number"), ("9" * 30, "not a number"), ("11", "only 10 bytes"),
])  # fmt: skip
def test_header_length_is_checked(value: str | None, words: str) -> None:
    with pytest.raises(InvalidError, match=words):
        oip_binary.header_length(value, 10)
    assert oip_binary.header_length("10", 10) == 10


def answer() -> oip.InferResponse:
    return oip.InferResponse(
        [oip.Tensor("a", (1,), "FP32", [1.0]), oip.Tensor("b", (1,), "INT8", [2], {"k": "v"})], "m", "7"
    )


@pytest.mark.parametrize(
    ("parameters", "outputs", "names"),
    [
        ({}, [], set()),
        ({"binary_data_output": True}, [], {"a", "b"}),
        ({"binary_data_output": True}, [oip.RequestedOutput("a")], set()),
        ({}, [oip.RequestedOutput("a", True), oip.RequestedOutput("b")], {"a"}),
    ],
)
def test_which_outputs_are_binary(parameters: dict[str, Any], outputs: list[Any], names: set[str]) -> None:
    request = oip.InferRequest([], outputs, None, parameters)
    assert oip_binary.binary_names(request, answer().outputs) == names


def test_answer_mixes_binary_and_json() -> None:
    buffers, length = oip_binary.encode(answer(), answer().outputs, {"a": b"\0\0\x80?"})
    body = b"".join(buffers)
    assert body[:length] == (
        b'{"id":"7","model_name":"m","model_version":null,"outputs":[{"name":"a","shape":[1],"datatype":"FP32",'
        b'"parameters":{"binary_data_size":4}},{"name":"b","shape":[1],"datatype":"INT8","data":[2],"parameters":{"k":"v"}}]}'
    )
    assert body[length:] == b"\0\0\x80?"


def test_answer_members_that_exist_are_sent() -> None:
    response = answer()
    response.model_version, response.parameters = "3", {"p": 1}
    (body,), length = oip_binary.encode(response, [], {})
    assert json.loads(body[:length]) == {
        "id": "7", "model_name": "m", "model_version": "3", "parameters": {"p": 1}, "outputs": []
    }  # fmt: skip
    with pytest.raises(InvalidError, match="FP16"):
        oip_binary.encode(response, [oip.Tensor("h", (1,), "FP16", [1.0])], {})


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=20))
def test_bytes_elements_come_back(elements: list[bytes]) -> None:
    tail = oip_binary.join_bytes(elements)
    body, length = framed(
        tail, datatype="BYTES", shape=[len(elements)], parameters={"binary_data_size": len(tail)}
    )
    assert oip_binary.decode(body, length).inputs[0].data == elements
