"""A gRPC message that is known is read as protobuf reads it, or left to protobuf: for any bytes, good and bad."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import oip_proto
from wakeful.core.protocol.oip_messages import ModelInferRequest
from wakeful.core.protocol.oip_proto_known import MAX_LENGTHS, KnownMessages, _head

IDS = st.sampled_from(["", "7", "8", "abc-1", "é", '"'])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """The bytes of a request; often right, often with raw contents at its end."""
    request = ModelInferRequest(model_name=draw(st.sampled_from(["m", "other"])), id=draw(IDS))
    request.model_version = draw(st.sampled_from(["", "", "1"]))
    count = draw(st.sampled_from([1, 1, 1, 2]))
    for place in range(count):
        rows = draw(st.integers(1, 3))
        datatype = draw(st.sampled_from(["FP32", "FP32", "UINT8", "BOOL", "BYTES"]))
        request.inputs.add(name=f"x{place}", datatype=datatype, shape=[rows])
        size = rows * {"FP32": 4, "BYTES": 5}.get(datatype, 1) + draw(st.sampled_from([0] * 9 + [1]))
        request.raw_input_contents.append(draw(st.binary(min_size=size, max_size=size)))
    if draw(st.integers(0, 3)) == 0:
        request.outputs.add(name="y").parameters["p"].int64_param = 1
    if draw(st.integers(0, 3)) == 0:
        request.parameters["p"].string_param = "q"
    content: bytes = request.SerializeToString()
    before: bytes = draw(st.sampled_from([b""] * 5 + [b"\x1a\x017"]))
    behind: bytes = draw(st.sampled_from([b""] * 5 + [b"\x1a\x018", b"\x28\x01"]))
    return before + content + behind


def changed(content: bytes, draw: Any) -> bytes:
    """One byte is another (often of the raw contents), or the end is."""
    place = draw(st.integers(0, len(content) - 1) | st.integers(max(0, len(content) - 5), len(content) - 1))
    byte: bytes = draw(st.binary(min_size=1, max_size=1))
    other = content[:place] + byte + content[place + 1 :]
    found: bytes = draw(st.sampled_from([other, other, other, content[:-1], content + b"x"]))
    return found


def outcome(decode: Any, content: bytes) -> Any:
    try:
        return decode(content)
    except FailureError as error:
        return str(error)


@settings(max_examples=300)
@given(st.data())
def test_known_or_not_it_is_read_the_same(data: st.DataObject) -> None:
    known = KnownMessages()
    content = data.draw(messages())
    for _ in range(3):
        assert outcome(known.decode, content) == outcome(oip_proto.decode, content)
        content = changed(content, data.draw)


def message(raw: bytes = b"abcd", **more: Any) -> bytes:
    request = ModelInferRequest(model_name="m", **more)
    request.inputs.add(name="x", datatype="UINT8", shape=[4])
    request.raw_input_contents.append(raw)
    content: bytes = request.SerializeToString()
    return content


@pytest.mark.parametrize("given_id", ["", "a-1"])
def test_what_most_clients_send_is_known(given_id: str) -> None:
    first = oip_proto.decode(message(id=given_id))
    head = _head(message(id=given_id), first)
    assert head is not None
    other = message(b"1234", id=given_id.replace("1", "2"))
    assert head.read(other) == oip_proto.decode(other).request


@pytest.mark.parametrize(
    "content",
    [
        message() + b"\x1a\x017",
        b"\x1a\x017" + message(id="8"),
        message() + b"\x28\x01",
        message() + b"\xa2\x06\x06\x3a\x04abcd",
        message(id="é"),
    ],
    ids=["id behind", "two ids", "a number", "raw contents in an unknown field", "other text"],
)
def test_what_is_not_learned(content: bytes) -> None:
    assert _head(content, oip_proto.decode(content)) is None


def test_few_lengths_are_kept_and_requests_are_their_own() -> None:
    known = KnownMessages()
    for size in range(1, MAX_LENGTHS + 3):
        known.decode(message(id="7" * size))
    assert len(known._known) == 2
    known.decode(message(id="7")).request.inputs.clear()
    for _ in range(2):
        incoming = known.decode(memoryview(message(b"1234", id="8")))
        assert incoming == oip_proto.decode(message(b"1234", id="8"))
        incoming.request.inputs[0].parameters["p"] = 1
