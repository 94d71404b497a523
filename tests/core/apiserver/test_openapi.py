"""The OpenAPI documents: every kind described, references resolved, and the protobuf form read back."""

import json

import pytest

from standalone.apiserver.kinds_core import CORE
from standalone.apiserver.schema import descriptions, openapi, openapi_described, openapi_proto


@pytest.fixture(scope="module")
def v2():
    return openapi.build_v2(CORE)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def fields(data):
    """(number, value) of a message, read independently of the writer."""
    at, found = 0, []
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            value, at = varint(data, at)
        else:
            size = 8 if tag & 7 == 1 else None
            if size is None:
                assert tag & 7 == 2
                size, at = varint(data, at)
            value, at = data[at : at + size], at + size
        found.append((tag >> 3, value))
    return found


def named(data, number):
    pairs = [dict(fields(value)) for at, value in fields(data) if at == number]
    return {pair[1].decode(): pair[2] for pair in pairs}


def test_the_protobuf_says_what_the_document_says(v2):
    packed = dict(fields(openapi_proto.encode(v2)))
    assert packed[1] == b"2.0"
    schemas = named(packed[9], 1)
    assert schemas.keys() == v2["definitions"].keys()
    container = dict(fields(schemas["io.k8s.api.core.v1.Container"]))
    properties = named(container[25], 1)
    assert properties.keys() == v2["definitions"]["io.k8s.api.core.v1.Container"]["properties"].keys()
    name = dict(fields(properties["name"]))
    assert dict(fields(name[22])) == {1: b"string"} and b"DNS_LABEL" in name[4]
    ports = dict(fields(dict(fields(properties["ports"]))[23]))
    assert dict(fields(ports[1]))[1] == b"#/definitions/io.k8s.api.core.v1.ContainerPort"
    extensions = named(properties["ports"], 31)
    keys = dict(fields(extensions["x-kubernetes-list-map-keys"]))[2]
    assert json.loads(keys) == ["containerPort", "protocol"]


def test_the_protobuf_has_the_paths(v2):
    packed = dict(fields(openapi_proto.encode(v2)))
    paths = named(packed[8], 2)
    assert paths.keys() == v2["paths"].keys()
    item = dict(fields(paths["/api/v1/namespaces/{namespace}/pods/{name}"]))
    patch = fields(item[8])
    assert b"application/strategic-merge-patch+json" in [value for number, value in patch if number == 7]
    parameters = [value for number, value in patch if number == 8]
    assert any(b"fieldValidation" in one for one in parameters)


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"maximum": 1.5}, [(7, b"\0\0\0\0\0\0\xf8?")]),
        ({"maxLength": 300}, [(11, 300)]),
        ({"exclusiveMinimum": True}, [(10, 1)]),
        ({"additionalProperties": True}, [(21, b"\x10\x01")]),
        ({"default": {"a": [1]}}, [(5, b'\x12\x09{"a":[1]}')]),
        ({"oneOf": [{}], "nullable": True}, []),
        ({"type": ["a", "b"]}, [(22, b"\x0a\x01a\x0a\x01b")]),
    ],
)
def test_each_kind_of_field(schema, expected):
    packed = dict(fields(openapi_proto.encode({"definitions": {"x": schema}})))
    assert fields(named(packed[9], 1)["x"]) == expected


def test_every_core_type_and_most_fields_are_described(v2):
    described = total = 0
    for name, schema in v2["definitions"].items():
        assert "Attributes:" not in schema.get("description", ""), name
        for field in (schema.get("properties") or {}).values():
            total += 1
            described += bool(field.get("description"))
    assert described > 0.9 * total
    assert descriptions.of_type("V1Pod")[0].startswith("Pod is a collection of containers")


def test_without_the_package_there_are_no_descriptions():
    assert descriptions.of_type("V1NoSuchType") == ("", {})


def test_inlined_pods_and_containers_are_described():
    pod = {
        "properties": {name: {"type": "object"} for name in ("volumes", "serviceAccountName", "nodeSelector")}
    }
    probe = {"properties": {"httpGet": {"properties": {"port": {}}}}}
    pod["properties"]["containers"] = {"items": {"properties": {"image": {}, "livenessProbe": probe}}}
    pod["properties"]["minReplicas"] = {"description": "kept"}
    given = json.dumps(pod)
    found = openapi_described.describe({"properties": {"spec": pod}})["properties"]["spec"]["properties"]
    assert found["minReplicas"] == {"description": "kept"}
    container = found["containers"]["items"]["properties"]
    assert container["image"]["description"].startswith("Container image name")
    port = container["livenessProbe"]["properties"]["httpGet"]["properties"]["port"]
    assert port["description"].startswith("Name or number of the port")
    assert json.dumps(pod) == given
