"""V2 in protobuf as callers see it: what goes out comes back, and no answer is trusted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import arrays, oip, oip_proto, oip_proto_caller
from wakeful.core.protocol.oip_messages import ModelInferResponse


def response(datatype: str, shape: tuple[int, ...], **contents: Any) -> Any:
    message = ModelInferResponse(model_name="m", id="1")
    item = message.outputs.add(name="y", datatype=datatype, shape=shape)
    for field, values in contents.items():
        getattr(item.contents, field).extend(values)
    return message


def test_a_request_is_what_the_server_reads() -> None:
    tensors = [
        arrays.from_array("x", np.array([[0.5, 1]], np.float32)),
        oip.Tensor("t", (2,), "BYTES", ["ä", b"b"], {"k": 2}),
    ]
    request = oip.InferRequest(
        tensors,
        [oip.RequestedOutput("y", parameters={"classification": 3})],
        "7",
        {"temperature": 0.5, "gone": None},
    )
    read = oip_proto.decode(oip_proto_caller.encode("m", request).SerializeToString())
    assert (read.model_name, read.is_raw, read.request.id) == ("m", True, "7")
    assert read.request.parameters == {"temperature": 0.5}
    assert arrays.to_array(read.request.inputs[0]).tolist() == [[0.5, 1]]
    assert (read.request.inputs[1].data, read.request.inputs[1].parameters) == (
        ["ä".encode(), b"b"],
        {"k": 2},
    )
    assert read.request.outputs[0].parameters == {"classification": 3}


@pytest.mark.parametrize("is_raw", [True, False])
def test_an_answer_is_what_the_server_wrote(is_raw: bool) -> None:
    outputs = [
        arrays.from_array("y", np.array([1, 2], np.int64)),
        oip.Tensor("t", (1,), "BYTES", [b"b"], {"k": True}),
    ]
    written = oip.InferResponse(outputs, "m", "7", "3", {"n": 1})
    message = ModelInferResponse.FromString(b"".join(oip_proto.encode(written, outputs, is_raw=is_raw)))
    read = oip_proto_caller.decode(message)
    assert (read.model_name, read.id, read.model_version, read.parameters) == ("m", "7", "3", {"n": 1})
    assert arrays.to_array(read.outputs[0]).tolist() == [1, 2]
    assert (read.outputs[1].data, read.outputs[1].parameters) == ([b"b"], {"k": True})


def two_raw() -> Any:
    message = response("INT8", (1,))
    message.raw_output_contents.extend([b"a", b"b"])
    return message


def raw(datatype: str, content: bytes) -> Any:
    message = response(datatype, (1,))
    message.raw_output_contents.append(content)
    return message


BROKEN = [
    (two_raw(), "1 outputs and 2 raw contents"),
    (raw("FP32", b"abc"), r"shape \[1\] has 3 bytes"),
    (raw("BYTES", b"\x09\0\0\0a"), "y"),
    (response("FP31", (1,)), "'FP31' of shape"),
    (response("FP32", (-1,)), r"of shape \[-1\]"),
    (response("FP32", (2,), fp32_contents=[1.0]), "has 1 elements"),
    (response("FP16", (1,)), "has 0 elements"),
]


@pytest.mark.parametrize(("message", "why"), BROKEN, ids=[why for _, why in BROKEN])
def test_an_answer_that_does_not_fit_is_refused(message: Any, why: str) -> None:
    with pytest.raises(FailureError, match=f"the server's gRPC answer cannot be read: .*{why}") as refused:
        oip_proto_caller.decode(message)
    assert refused.value.kind is FailureKind.INTERNAL


@pytest.mark.parametrize("value", [[1], 2**64, -(2**63) - 1])
def test_parameters_that_grpc_cannot_carry_are_the_callers_mistake(value: Any) -> None:
    for request in (
        oip.InferRequest([], parameters={"a": value}),
        oip.InferRequest([oip.Tensor("x", (1,), "UINT8", b"a", {"a": value})]),
        oip.InferRequest([], [oip.RequestedOutput("y", parameters={"a": value})]),
    ):
        with pytest.raises(FailureError, match=r"parameter 'a' of .* gRPC carries") as refused:
            oip_proto_caller.encode("m", request)
        assert refused.value.kind is FailureKind.INVALID
