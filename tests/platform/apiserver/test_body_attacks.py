"""Bodies made to hurt: deep, growing, endless, random. Each gets an answer, and the server lives."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_api import Api
from cluster_objects import definition, widget, widgets
from hypothesis import given, settings
from hypothesis import strategies as st
from server_process import ServerProcess

from standalone.apiserver import server_protobuf

PATH = "/api/v1/namespaces/default/configmaps"
YAML = "application/yaml"
APPLY = "application/apply-patch+yaml"
GROWING = b"metadata: {name: a}\na0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (level, level, b",".join([b"*a%d" % (level - 1)] * 10)) for level in range(1, 9)
)


@pytest.fixture
def api(shared: ServerProcess) -> Iterator[Api]:
    """A client; afterwards the server must still be there, and small."""
    found = shared.api()
    yield found
    assert found.get("/livez").status == 200
    assert shared.rss_mib() < 200


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/json", b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("application/json", b'{"data":' + b"[" * 900 + b"]" * 900 + b"}"),
        (YAML, b"metadata: {name: a}\ndata: " + b"[" * 100_000 + b"]" * 100_000),
        (YAML, b"\n".join(b" " * level + b"a:" for level in range(1500))),
    ],
    ids=["json", "json-900", "yaml-flow", "yaml-block"],
)
def test_deep_body_is_refused(api: Api, media: str, body: bytes) -> None:
    """The YAML cases once ended the process with a segmentation fault in the parser."""
    api.post(PATH, body, media=media).fails(400, "BadRequest")


@pytest.mark.parametrize("media", [YAML, APPLY])
def test_yaml_that_grows_is_refused(api: Api, media: str) -> None:
    if media == APPLY:
        answer = api.patch(f"{PATH}/a", GROWING, media=media, fieldManager="x")
    else:
        answer = api.post(PATH, GROWING, media=media)
    answer.fails(400, "BadRequest")
    assert "line 3: YAML aliases" in answer.message


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def test_depth_that_is_accepted_works_everywhere(api: Api) -> None:
    crd = definition("deep.contract.example.com")
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).ok()
    path = widgets(crd, "default")
    body = widget(crd, "a", free=_nested(190))
    api.post(path, body).ok()
    api.patch(f"{path}/a", {"spec": {"free": {"b": _nested(190)}}}).ok()
    api.patch(f"{path}/s", {**body, "metadata": {"name": "s"}}, media=APPLY, fieldManager="x").ok()
    found = api.get(f"{path}/a").ok()
    api.put(f"{path}/a", {**found, "spec": {**found["spec"], "size": 2}}).ok()
    deeper = [{"op": "add", "path": "/spec/free" + "/a" * 150, "value": _nested(150)}]
    answer = api.patch(f"{path}/a", deeper, media="application/json-patch+json")
    answer.fails(400, "BadRequest")
    assert "nested too deeply" in answer.message


def test_warnings_are_bounded(api: Api) -> None:
    body = {"metadata": {"generateName": "w-"}, **{f"unknown{index}": 1 for index in range(20_000)}}
    answer = api.post(PATH, body)
    answer.ok()
    found = answer.header("Warning")
    assert len(found) < 10_000
    assert "more warnings" in found


def test_null_metadata_is_no_metadata(api: Api) -> None:
    assert api.post(PATH, {"metadata": None}).fails(422, "Invalid").causes() == {
        "metadata.name": "FieldValueRequired"
    }


@pytest.mark.parametrize("number", [10**30, -(10**30), 1e308])
def test_numbers_beyond_sixty_four_bits(api: Api, number: float) -> None:
    crd = definition(f"n{secrets.token_hex(3)}.contract.example.com")
    api.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd).ok()
    api.post(widgets(crd, "default"), widget(crd, "a", size=number)).fails(422, "Invalid")


def _varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def _field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _envelope(kind: str, raw: bytes) -> bytes:
    """The ``runtime.Unknown`` around a protobuf body."""
    type_meta = _field(1, b"v1") + _field(2, kind.encode())
    return b"k8s\x00" + _field(1, type_meta) + _field(2, raw)


@settings(max_examples=300)
@given(st.sampled_from(["Pod", "ConfigMap", "Secret", "Nothing"]), st.binary(max_size=300))
def test_random_protobuf_is_decoded_or_refused(kind: str, raw: bytes) -> None:
    for body in (_envelope(kind, raw), b"k8s\x00" + raw, raw):
        try:
            value = server_protobuf.decode(body)
        except server_protobuf.ProtobufError as error:
            assert str(error)
        else:
            assert isinstance(value, dict)


def test_protobuf_over_http(api: Api) -> None:
    metadata = _field(1, b"from-protobuf") + _field(3, b"default")
    data = _field(1, b"key") + _field(2, b"value")
    body = _envelope("ConfigMap", _field(1, metadata) + _field(2, data))
    media = "application/vnd.kubernetes.protobuf"
    assert api.post(PATH, body, media=media).ok()["data"] == {"key": "value"}
    api.post(PATH, b"k8s\x00\xff\xff\xff", media=media).fails(400, "BadRequest")
    assert json.loads(api.get(f"{PATH}/from-protobuf").raw)["data"] == {"key": "value"}
