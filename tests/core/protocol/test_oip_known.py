"""A JSON part that is known is read as if it were parsed, or left to the parser: for any bytes, good and bad."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import oip, oip_binary, oip_known

SIZES = {"FP32": 4, "INT8": 1, "FP64": 8, "FP16": 2, "BOOL": 1}
PARAMETERS = st.dictionaries(
    st.sampled_from(["binary_data", "binary_data_output", "p", "id"]),
    st.booleans() | st.none() | st.integers() | st.text(max_size=3) | st.just([1]),
    max_size=2,
)
IDS = st.sampled_from(["7", "8", "a-b", "1234", "é", '"', "\\", " ", "", "\n", "id"])


@st.composite
def inputs(draw: st.DrawFn, place: int) -> dict[str, Any]:
    datatype, rows = draw(st.sampled_from([*SIZES] * 2 + ["BYTES"])), draw(st.integers(1, 3))
    size = SIZES.get(datatype, 5) * rows
    found: dict[str, Any] = {"name": f"x{place}", "shape": [rows], "datatype": datatype}
    if datatype in ("INT8", "BYTES") and not draw(st.integers(0, 3)):
        return {**found, "data": [1 if datatype == "INT8" else "a"] * rows}
    return {
        **found,
        "parameters": {"binary_data_size": size, **(draw(PARAMETERS) if not draw(st.integers(0, 7)) else {})},
    }


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, int]:
    """A body and how much of it is JSON; often right."""
    found: dict[str, Any] = {"inputs": [draw(inputs(place)) for place in range(draw(st.integers(1, 2)))]}
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        more["parameters"] = draw(PARAMETERS)
    if draw(st.booleans()):
        more["outputs"] = [{"name": "o", "parameters": draw(PARAMETERS)}]
    if draw(st.booleans()):
        given_id = {"id": draw(IDS)}
        found = {**given_id, **found} if draw(st.booleans()) else {**found, **given_id}
    head = json.dumps({**found, **more}, separators=draw(st.sampled_from([None, (",", ":")]))).encode()
    if draw(st.integers(0, 9)) == 0:
        head = head.replace(b"}", b',"\\u0069d":"7"}', 1)
    size = sum(tensor.get("parameters", {}).get("binary_data_size", 0) for tensor in found["inputs"])
    return head + draw(st.binary(min_size=size, max_size=size)), len(head)


def changed(body: bytes, json_bytes: int, request_id: str | None, draw: Any) -> bytes:
    """A body that differs a little: another id, one byte of the JSON or behind it, the end."""
    match draw(st.sampled_from(["id", "json", "tail", "cut", "longer"])):
        case "id" if request_id:
            size = len(request_id)
            plain = st.text("09az-_ ", min_size=size, max_size=size).map(str.encode)
            other: bytes = draw(plain | st.binary(min_size=size, max_size=size))
            return body.replace(b'"%b"' % request_id.encode(), b'"%b"' % other)
        case "json" | "tail" as where:
            low, high = (0, json_bytes) if where == "json" else (json_bytes, len(body))
            place = draw(st.integers(low, max(low, high - 1)))
            byte: bytes = draw(st.binary(min_size=1, max_size=1))
            return body[:place] + byte + body[place + 1 :]
        case "cut":
            return body[:-1]
        case "longer":
            return body + b"x"
    return body


def closely(body: bytes, json_bytes: int) -> Any:
    try:
        return oip_binary.decode(body, json_bytes)
    except FailureError as error:
        return str(error)


@settings(max_examples=300)
@given(st.data())
def test_a_known_head_is_read_as_it_is_parsed(data: st.DataObject) -> None:
    body, json_bytes = data.draw(bodies())
    request = closely(body, json_bytes)
    if not isinstance(request, oip.InferRequest):
        return
    known = oip_known.learn(body, json_bytes, request)
    if known is not None:
        assert known.read(body) == request
        other = changed(body, json_bytes, request.id, data.draw)
        found = known.read(other)
        assert found is None or found == closely(other, json_bytes)


def framed(tail: bytes = b"abcd", **more: Any) -> tuple[bytes, int]:
    tensor = {"name": "x", "shape": [4], "datatype": "UINT8", "parameters": {"binary_data_size": 4}}
    head = json.dumps(more | {"inputs": [tensor]}).encode()
    return head + tail, len(head)


def learned(body: bytes, json_bytes: int) -> oip_known.KnownHead | None:
    return oip_known.learn(body, json_bytes, oip_binary.decode(body, json_bytes))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"parameters": {"binary_data_output": True}},
        {"outputs": [{"name": "o", "parameters": {"binary_data": True}}, {"name": "p"}]},
    ],
    ids=["plain", "parameters", "outputs"],
)
def test_what_most_clients_send_is_known(more: dict[str, Any]) -> None:
    body, length = framed(**more)
    known = learned(body, length)
    other = body[:-4] + b"1234"
    assert known is not None and known.read(other) == oip_binary.decode(other, length)
    assert known.read(b"[" + other[1:]) is known.read(other + b"5") is None


def test_an_id_may_change() -> None:
    body, length = framed(id="cf-00-17")
    known = learned(body, length)
    other = body.replace(b"cf-00-17", b"00-17-cf")
    assert known is not None and known.read(other) == oip_binary.decode(other, length)
    for text in (b'cf"00-17', b"cf\\n0-17", "cf-00-\xe9".encode(), b"cf-00-1\n"):
        assert known.read(body.replace(b"cf-00-17", text)) is None


@pytest.mark.parametrize(
    "more",
    [
        {"id": "é"},
        {"parameters": {"p": [1]}},
        {"parameters": {"p": "x" * 3000}},
        {"outputs": [{"name": "o", "parameters": {"p": {}}}]},
    ],
    ids=["id", "list", "long", "object"],
)
def test_what_is_not_learned(more: dict[str, Any]) -> None:
    assert learned(*framed(**more)) is None


@pytest.mark.parametrize(
    "words",
    [(b"{", b'{"id":"7",'), (b"}]}", b'}],"id":"7"}'), (b"}]}", b'}],"\\u0069d":"7"}')],
    ids=["again", "later", "spelled"],
)
def test_an_id_that_may_be_another_is_not_learned(words: tuple[bytes, bytes]) -> None:
    body, length = framed(id="7")
    head = body[:length].replace(*words, 1)
    assert learned(head + b"abcd", len(head)) is None


def test_requests_share_nothing_that_a_model_may_change() -> None:
    body, length = framed(parameters={"p": 1}, outputs=[{"name": "o", "parameters": {"q": 1}}])
    request = oip_binary.decode(body, length)
    known = oip_known.learn(body, length, request)
    for _ in range(2):
        request.parameters["p"] = request.outputs[0].parameters["q"] = 2
        request.inputs[0].parameters["r"] = 3
        request.inputs.clear()
        assert known is not None
        found = known.read(body)
        assert found is not None and found == oip_binary.decode(body, length)
        request = found
