"""Bodies and paths that nobody would send: codecs refuse them in words or take them, and never do anything else."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import arrays, oip, oip_binary, problem, v1
from wakeful.serving import http_routes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["name", "data"]), inner)
    ),
    max_leaves=20,
)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=4) | JSON,
        "shape": st.lists(st.integers(-2, 2**65) | st.integers(1, 3), max_size=4) | JSON,
        "datatype": st.sampled_from([*oip.ELEMENT_BYTES, "fp32", "X"]) | JSON,
        "data": st.lists(st.integers() | st.floats() | st.text(max_size=3) | st.none(), max_size=9) | JSON,
        "parameters": st.dictionaries(st.just("binary_data_size"), st.integers(-1, 40) | JSON) | JSON,
    },
)
REQUEST = st.fixed_dictionaries(
    {"inputs": st.lists(TENSOR, max_size=3) | JSON},
    optional={"id": JSON, "outputs": st.lists(TENSOR, max_size=2) | JSON, "parameters": JSON},
)


def refused_or_taken(call: Any, *given_: Any) -> Any:
    """The result, or None after a ``FailureError`` whose answer is short, one line of JSON and says something."""
    try:
        return call(*given_)
    except FailureError as error:
        body = oip.dump(problem.render(error).body)
        assert 10 < len(body) < 8000
        assert b"Traceback" not in body and b".py" not in body
        return None


@given(st.binary(max_size=200), st.sampled_from(["", "application/json", "text/plain", "image/png"]))
def test_v1_bytes(body: bytes, content_type: str) -> None:
    payload = refused_or_taken(v1.decode, body, content_type)
    assert payload is None or isinstance(payload, dict | bytes)


@given(JSON)
def test_v1_json(value: Any) -> None:
    payload = refused_or_taken(v1.decode, json.dumps(value).encode(), "application/json")
    if payload is not None:
        refused_or_taken(v1.rows, payload)


@settings(max_examples=150)
@given(REQUEST)
def test_v2_json_becomes_arrays_of_its_shape(value: Any) -> None:
    request = refused_or_taken(oip.decode_json, json.dumps(value).encode())
    if request is not None:
        for tensor in request.inputs:
            assert arrays.to_array(tensor).shape == tensor.shape


@settings(max_examples=150)
@given(REQUEST, st.binary(max_size=60), st.integers(-3, 3) | st.just(0))
def test_v2_binary_takes_every_byte_or_none(value: Any, tail: bytes, shift: int) -> None:
    head = json.dumps(value).encode()
    length = max(0, len(head) + shift)
    request = refused_or_taken(oip_binary.decode, head + tail, min(length, len(head + tail)))
    if request is not None:
        for tensor in request.inputs:
            assert arrays.to_array(tensor).shape == tensor.shape


@given(st.binary(max_size=120), st.integers(0, 120))
def test_v2_binary_of_noise(body: bytes, length: int) -> None:
    refused_or_taken(oip_binary.decode, body, min(length, len(body)))


@given(st.text(max_size=30) | st.none(), st.integers(0, 2**40))
def test_header_length_is_within_the_body(value: str | None, size: int) -> None:
    found = refused_or_taken(oip_binary.header_length, value, size)
    assert found is None or 0 <= found <= size


PATH = st.lists(
    st.sampled_from(["v1", "v2", "models", "m", "infer", "ready", "..", "%2e%2e", "%2F", "%00", "%zz", ":predict", "", "é"])
    | st.text(max_size=5),
    max_size=7,
).map("/".join)  # fmt: skip


@given(st.sampled_from(["GET", "HEAD", "POST", "TRACE", "x"]), PATH)
def test_every_path_has_one_route_or_the_methods_it_takes(method: str, path: str) -> None:
    found = http_routes.match(method, "/" + path)
    if isinstance(found, list):
        assert set(found) <= {"GET", "POST"} and method not in found
    else:
        assert isinstance(found, http_routes.Route)
