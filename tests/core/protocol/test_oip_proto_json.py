"""gRPC's messages as JSON that somebody reads later: every datatype, what JSON has no form for, and what is no message."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import arrays, oip, oip_proto, oip_proto_caller, oip_proto_json
from wakeful.core.protocol.oip_messages import ModelInferRequest


def framed(*contents: bytes) -> bytes:
    return b"".join(b"\0" + len(content).to_bytes(4, "big") + content for content in contents)


def answer(*outputs: oip.Tensor, is_raw: bool = True, **more: Any) -> bytes:
    response = oip.InferResponse(list(outputs), "m", "7", **more)
    return b"".join(oip_proto.encode(response, outputs, is_raw=is_raw))


def test_a_request_is_v2s_json_with_its_model() -> None:
    tensors = [
        arrays.from_array("x", np.array([[0.1, np.nan], [np.inf, 1]], np.float32)),
        oip.Tensor("t", (2,), "BYTES", ["ä", b"\xff"], {"content_type": "str"}),
    ]
    wanted = [oip.RequestedOutput("y", parameters={"classification": 3})]
    asked = oip.InferRequest(tensors, wanted, "7", {"temperature": 0.5})
    content = oip_proto_caller.encode("m", asked).SerializeToString()
    assert json.loads(oip_proto_json.request(content)) == {
        "model_name": "m",
        "id": "7",
        "parameters": {"temperature": 0.5},
        "inputs": [
            {"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [0.1, None, None, 1.0]},
            {
                "name": "t",
                "shape": [2],
                "datatype": "BYTES",
                "parameters": {"content_type": "str"},
                "data": ["ä", {"b64": "/w=="}],
            },
        ],
        "outputs": [{"name": "y", "parameters": {"classification": 3}}],
    }


def test_a_version_is_told_and_nothing_that_is_not_there() -> None:
    message = ModelInferRequest(model_name="m", model_version="3")
    message.inputs.add(name="x", datatype="INT64", shape=[1]).contents.int64_contents.append(-(2**62))
    assert json.loads(oip_proto_json.request(message.SerializeToString())) == {
        "model_name": "m",
        "model_version": "3",
        "inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [-(2**62)]}],
    }


@pytest.mark.parametrize("datatype", [name for name in arrays.DTYPES if name != "BYTES"])
@pytest.mark.parametrize("is_raw", [True, False])
def test_every_datatype_of_an_answer_is_its_numbers(datatype: str, is_raw: bool) -> None:
    tensor = arrays.from_array("y", np.array([[1, 0]]), datatype)
    shown = json.loads(oip_proto_json.answers(framed(answer(tensor, is_raw=is_raw))))
    assert shown == {
        "model_name": "m",
        "model_version": None,
        "id": "7",
        "parameters": None,
        "outputs": [{"name": "y", "shape": [1, 2], "datatype": datatype, "data": [1, 0]}],
    }


def test_the_parts_of_a_stream_are_a_list() -> None:
    parts = [answer(oip.Tensor("y", (1,), "BYTES", [text])) for text in ("a", "b")]
    shown = json.loads(oip_proto_json.answers(framed(*parts)))
    assert [part["outputs"][0]["data"] for part in shown] == [["a"], ["b"]]


@pytest.mark.parametrize("content", [b"\xff", b"{}", framed(b"\xff\xff"), framed(answer())[:-1], b"\0\0"])
def test_what_is_no_message_is_refused(content: bytes) -> None:
    with pytest.raises(FailureError):
        oip_proto_json.answers(content)
    with pytest.raises(FailureError):
        oip_proto_json.request(content)


@given(st.binary(max_size=200))
def test_any_bytes_are_shown_or_refused(content: bytes) -> None:
    for show in (oip_proto_json.request, oip_proto_json.answers):
        with contextlib.suppress(FailureError):
            json.loads(show(content))
