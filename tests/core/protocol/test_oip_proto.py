"""V2 in protobuf: every datatype both ways, what is refused, and that large and small messages mean the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.core.errors import FailureError, InvalidError
from wakeful.core.protocol import arrays, oip, oip_proto
from wakeful.core.protocol.oip_messages import ModelInferRequest, ModelInferResponse

TYPED = {
    "BOOL": [True, False, True, True],
    "INT8": [-128, 127, 0, 1],
    "INT16": [-(2**15), 2**15 - 1, 0, 1],
    "INT32": [-(2**31), 2**31 - 1, 0, 1],
    "INT64": [-(2**63), 2**63 - 1, 0, 1],
    "UINT8": [0, 255, 1, 2],
    "UINT16": [0, 2**16 - 1, 1, 2],
    "UINT32": [0, 2**32 - 1, 1, 2],
    "UINT64": [0, 2**64 - 1, 1, 2],
    "FP32": [0.5, -1.0, 2.0, 0.0],
    "FP64": [1e300, -0.1, 2.0, 0.0],
    "BYTES": [b"a", b"", b"\xff", "ä".encode()],
}


def typed(datatype: str, values: list[Any], shape: tuple[int, ...] = (2, 2)) -> Any:
    request = ModelInferRequest(model_name="m")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    getattr(tensor.contents, oip_proto.CONTENTS[datatype]).extend(values)
    return request


def raw(datatype: str, shape: tuple[int, ...], *contents: bytes) -> Any:
    request = ModelInferRequest(model_name="m", id="1")
    for place in range(max(1, len(contents))):
        request.inputs.add(name=f"x{place}", datatype=datatype, shape=shape)
    request.raw_input_contents.extend(contents)
    return request


def decode(request: Any) -> oip_proto.Incoming:
    return oip_proto.decode(request.SerializeToString())


def answer(tensor: oip.Tensor, *, is_raw: bool) -> Any:
    response = oip.InferResponse([tensor], "m", "1")
    return ModelInferResponse.FromString(b"".join(oip_proto.encode(response, [tensor], is_raw=is_raw)))


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_contents_both_ways(datatype: str) -> None:
    incoming = decode(typed(datatype, TYPED[datatype]))
    tensor = incoming.request.inputs[0]
    assert (tensor.data, tensor.shape, incoming.is_raw) == (TYPED[datatype], (2, 2), False)
    told = answer(tensor, is_raw=False).outputs[0]
    assert list(getattr(told.contents, oip_proto.CONTENTS[datatype])) == TYPED[datatype]
    nested = oip.Tensor("x", (2, 2), datatype, [tensor.data[:2], tensor.data[2:]])
    assert answer(nested, is_raw=False).outputs[0].contents == told.contents


@pytest.mark.parametrize("datatype", [d for d in arrays.DTYPES if d not in ("BYTES", "BF16")])
def test_raw_contents_both_ways(datatype: str) -> None:
    content = np.arange(4).astype(arrays.DTYPES[datatype]).tobytes()
    incoming = decode(raw(datatype, (4,), content))
    tensor = incoming.request.inputs[0]
    assert bytes(tensor.data) == content and incoming.is_raw and incoming.request.id == "1"
    told = answer(arrays.from_array("y", arrays.to_array(tensor)), is_raw=True)
    assert list(told.raw_output_contents) == [content]
    assert told.outputs[0].parameters["binary_data_size"].int64_param == len(content)


def test_raw_text_is_taken_apart() -> None:
    incoming = decode(raw("BYTES", (2,), b"\2\0\0\0ab\0\0\0\0"))
    assert incoming.request.inputs[0].data == [b"ab", b""]


def test_bfloats_pass_as_they_are() -> None:
    incoming = decode(raw("BF16", (2,), b"\x80\x3f\0\0"))
    tensor = incoming.request.inputs[0]
    assert arrays.to_array(tensor).tolist() == [1.0, 0.0]
    assert list(answer(tensor, is_raw=False).raw_output_contents) == [b"\x80\x3f\0\0"]


def test_half_floats_go_out_raw_whatever_came() -> None:
    told = answer(arrays.from_array("y", np.zeros(3, np.float16)), is_raw=False)
    assert list(told.raw_output_contents) == [bytes(6)]


def test_large_raw_contents_are_views_and_leave_uncopied() -> None:
    content = bytes(range(256)) * 1024
    request = raw("UINT8", (len(content),), content, content)
    request.outputs.add(name="y")
    body = request.SerializeToString()
    tensor = oip_proto.decode(body).request.inputs[1]
    assert tensor.data.obj is body and tensor.data == content
    parts = oip_proto.encode(oip.InferResponse([tensor], "m"), [tensor], is_raw=True)
    assert parts[-1] is tensor.data
    assert list(ModelInferResponse.FromString(b"".join(parts)).raw_output_contents) == [content]


def test_parameters_of_every_kind() -> None:
    request = typed("FP32", TYPED["FP32"])
    values = {"b": True, "i": -5, "s": "ä", "d": 0.5, "u": 2**64 - 1}
    oip_proto.set_parameters(request.parameters, values, "it")
    request.parameters["none"].SetInParent()
    assert decode(request).request.parameters == {**values, "none": None}
    response = oip.InferResponse([], "m", parameters={**values, "none": None})
    told = ModelInferResponse.FromString(b"".join(oip_proto.encode(response, [], is_raw=False)))
    assert oip_proto.parameters(told.parameters) == values


def broken() -> dict[str, tuple[Any, str]]:
    """What is refused, and a word of why."""
    both = raw("UINT8", (1,), b"x")
    both.inputs[0].contents.uint_contents.append(1)
    shared = ModelInferRequest()
    tensor = shared.inputs.add(name="x", datatype="FP32", shape=[1])
    tensor.parameters["shared_memory_region"].string_param = "r"
    wrong = ModelInferRequest()
    wrong.inputs.add(name="x", datatype="FP32", shape=[1]).contents.int_contents.append(1)
    many = ModelInferRequest()
    for place in range(oip.MAX_TENSORS + 1):
        many.inputs.add(name=str(place), datatype="FP32", shape=[1])
    fewer = raw("UINT8", (1,), b"x", b"y")
    del fewer.raw_input_contents[1:]
    twice = raw("UINT8", (1,), b"x", b"y")
    twice.inputs[1].name = "x0"
    return {
        "no-inputs": (ModelInferRequest(), "no inputs"),
        "too-many": (many, "at most"),
        "both-forms": (both, "send one"),
        "fewer-raw": (fewer, "1 raw_input_contents"),
        "short-raw": (raw("FP32", (2,), b"1234"), "takes 8 bytes"),
        "half-element": (raw("FP16", (2,), b"123"), "takes 4 bytes"),
        "wrong-count": (typed("FP32", [1.0], (2, 2)), "holds 4 elements"),
        "wrong-member": (wrong, "belong in fp32_contents"),
        "typed-fp16": (raw("FP16", (1,)), "raw_input_contents"),
        "unknown-type": (raw("FP8", (1,), b"x"), "FP8"),
        "range": (typed("INT8", [1, 2, 3, 128]), "INT8"),
        "negative-dimension": (raw("UINT8", (-1,), b"x"), "dimension"),
        "product-overflow": (raw("UINT8", (2**32, 2**32), b"x"), "takes"),
        "shared-memory": (shared, "shared memory"),
        "name-twice": (twice, "twice"),
        "text-beyond": (raw("BYTES", (1,), b"\xff\0\0\0a"), "says"),
    }


@pytest.mark.parametrize("name", broken())
def test_what_is_refused(name: str) -> None:
    request, words = broken()[name]
    with pytest.raises(InvalidError, match=words):
        decode(request)


@pytest.mark.parametrize(
    "body",
    [b"\xff", b"\x0a\x02\xff\xfe", b"\x0a\xff\xff\xff\xff\x0f", b"\x3b", b"\x0f"],
    ids=["tag", "utf8", "length", "group", "wire-type"],
)
@pytest.mark.parametrize("is_large", [False, True])
def test_garbage_is_refused(body: bytes, is_large: bool) -> None:
    filler = b"\x3a" + oip_proto.varint(70_000) + bytes(70_000) if is_large else b""
    with pytest.raises(InvalidError):
        oip_proto.decode(filler + body)


def test_structure_and_fields_of_large_messages_are_bounded() -> None:
    with pytest.raises(InvalidError, match="fields"):
        oip_proto.decode(b"\x2a\x00" * 100_000)
    with pytest.raises(InvalidError, match="raw_input_contents"):
        oip_proto.decode(typed("INT64", [0] * (17 << 20), (17 << 20,)).SerializeToString())


def test_only_elements_one_by_one_weigh() -> None:
    content = bytes(400_000)
    assert oip_proto.weight(raw("FP32", (100_000,), content).SerializeToString()) < 100
    assert oip_proto.weight(raw("BYTES", (100_000,), content).SerializeToString()) > 400_000
    assert oip_proto.weight(typed("INT64", [1] * 300_000, (300_000,)).SerializeToString()) > 300_000


def test_fixed_size_fields_are_stepped_over() -> None:
    content = bytes(70_000)
    unknown = b"\xf9\x07" + bytes(8) + b"\xfd\x07" + bytes(4) + b"\xf8\x07\x96\x01"
    incoming = oip_proto.decode(unknown + raw("UINT8", (70_000,), content).SerializeToString() + unknown)
    assert incoming.request.inputs[0].data == content


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (oip.Tensor("y", (1,), "FP32", ["text"]), "not FP32"),
        (oip.Tensor("y", (1,), "INT32", [2**40]), "not INT32"),
    ],
)
def test_answers_that_do_not_fit_are_the_models_fault(tensor: oip.Tensor, words: str) -> None:
    with pytest.raises(FailureError, match=words):
        answer(tensor, is_raw=False)


def test_parameters_without_a_form_are_the_models_fault() -> None:
    response = oip.InferResponse([], "m", parameters={"x": [1]})
    with pytest.raises(FailureError, match="gRPC carries"):
        oip_proto.encode(response, [], is_raw=False)


@settings(max_examples=60)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_do_anything_but_decode_or_be_refused(body: bytes, is_large: bool) -> None:
    filler = b"\x3a" + oip_proto.varint(70_000) + bytes(70_000) if is_large else b""
    try:
        oip_proto.decode(filler + body)
    except InvalidError:
        return


@settings(max_examples=30)
@given(st.lists(st.binary(min_size=1, max_size=40_000), min_size=1, max_size=4), st.text(max_size=5))
def test_the_walk_and_protobuf_agree(contents: list[bytes], text: str) -> None:
    request = ModelInferRequest(model_name=text)
    for place, content in enumerate(contents):
        request.inputs.add(name=str(place), datatype="UINT8", shape=[len(content)])
    request.raw_input_contents.extend(contents)
    body = request.SerializeToString()
    rest, raw_contents = oip_proto._take_raw(memoryview(body))
    assert [bytes(view) for view in raw_contents] == contents
    assert ModelInferRequest.FromString(rest).inputs == request.inputs
