"""The OpenAPI v2 document as protobuf (gnostic's ``openapi.v2.Document``), which is the only form client-go asks for.

Called by ``routes_openapi``; ``kubectl explain --output plaintext-openapiv2`` and older clients read it. The tables are
the field numbers of that message for the keys that ``openapi.build_v2`` writes; a key that is not in them is left out.
Free values (extensions, enums, defaults) travel as YAML text, and JSON is YAML.

Invariant: total on the documents of ``build_v2``; the bytes are the same for the same document.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

Encode = Callable[[Any], bytes]
_VARINT, _FIXED64, _BYTES = 0, 1, 2


def encode(document: dict[str, Any]) -> bytes:
    """The document's bytes."""
    return _message(_DOCUMENT)(document)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes_field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(data)) + data


def _text(number: int) -> Encode:
    return lambda value: _bytes_field(number, str(value).encode())


def _texts(number: int) -> Encode:
    return lambda values: b"".join(_bytes_field(number, str(value).encode()) for value in values)


def _flag(number: int) -> Encode:
    return lambda value: _varint(number << 3 | _VARINT) + (b"\1" if value else b"\0")


def _whole(number: int) -> Encode:
    return lambda value: _varint(number << 3 | _VARINT) + _varint(int(value))


def _double(number: int) -> Encode:
    return lambda value: _varint(number << 3 | _FIXED64) + struct.pack("<d", float(value))


def _yaml(value: Any) -> bytes:
    """A message ``Any``."""
    return _bytes_field(2, json.dumps(value, separators=(",", ":")).encode())


def _free(number: int) -> Encode:
    return lambda value: _bytes_field(number, _yaml(value))


def _frees(number: int) -> Encode:
    return lambda values: b"".join(_bytes_field(number, _yaml(value)) for value in values)


def _inner(number: int, table: dict[str, Any]) -> Encode:
    inner = _message(table)
    return lambda value: _bytes_field(number, inner(value))


def _each(number: int, encode_one: Encode) -> Encode:
    return lambda values: b"".join(_bytes_field(number, encode_one(value)) for value in values)


def _named(number: int, encode_one: Encode) -> Encode:
    """A map as repeated messages of name and value."""

    def encode_map(values: dict[str, Any]) -> bytes:
        return b"".join(
            _bytes_field(number, _bytes_field(1, name.encode()) + _bytes_field(2, encode_one(value)))
            for name, value in values.items()
        )

    return encode_map


def _message(table: dict[str, Any]) -> Encode:
    """A message whose keys are in ``table``; ``x-`` is the field number of its extensions."""
    extensions = table.get("x-", 0)

    def encode_one(value: dict[str, Any]) -> bytes:
        parts = []
        for key, child in value.items():
            if key.startswith("x-"):
                if extensions:
                    named = _bytes_field(1, key.encode()) + _bytes_field(2, _yaml(child))
                    parts.append(_bytes_field(extensions, named))
            elif child is not None and (field := table.get(key)) is not None:
                parts.append(field(child))
        return b"".join(parts)

    return encode_one


def _schema(value: dict[str, Any]) -> bytes:
    return _message(_SCHEMA)(value)


def _types(value: Any) -> bytes:
    listed = value if isinstance(value, list) else [value]
    return _bytes_field(22, b"".join(_bytes_field(1, one.encode()) for one in listed))


def _additional(value: Any) -> bytes:
    inner = _flag(2)(value) if isinstance(value, bool) else _bytes_field(1, _schema(value))
    return _bytes_field(21, inner)


_SCHEMA: dict[str, Any] = {
    "$ref": _text(1),
    "format": _text(2),
    "title": _text(3),
    "description": _text(4),
    "default": _free(5),
    "multipleOf": _double(6),
    "maximum": _double(7),
    "exclusiveMaximum": _flag(8),
    "minimum": _double(9),
    "exclusiveMinimum": _flag(10),
    "maxLength": _whole(11),
    "minLength": _whole(12),
    "pattern": _text(13),
    "maxItems": _whole(14),
    "minItems": _whole(15),
    "uniqueItems": _flag(16),
    "maxProperties": _whole(17),
    "minProperties": _whole(18),
    "required": _texts(19),
    "enum": _frees(20),
    "additionalProperties": _additional,
    "type": _types,
    "items": lambda value: _bytes_field(23, _bytes_field(1, _schema(value))),
    "properties": lambda value: _bytes_field(25, _named(1, _schema)(value)),
    "x-": 31,
}
_BODY = {
    "description": _text(1),
    "name": _text(2),
    "in": _text(3),
    "required": _flag(4),
    "schema": lambda value: _bytes_field(5, _schema(value)),
}
_PATH_PARAMETER = {
    "required": _flag(1),
    "in": _text(2),
    "description": _text(3),
    "name": _text(4),
    "type": _text(5),
}
_QUERY_PARAMETER = {**_PATH_PARAMETER, "type": _text(6)}


def _parameter(value: dict[str, Any]) -> bytes:
    """A ``ParametersItem``: by the place of the parameter one of three messages."""
    place = value["in"]
    if place == "body":
        inner = _bytes_field(1, _message(_BODY)(value))
    else:
        number, table = (4, _PATH_PARAMETER) if place == "path" else (3, _QUERY_PARAMETER)
        inner = _bytes_field(2, _bytes_field(number, _message(table)(value)))
    return _bytes_field(1, inner)


def _response(value: dict[str, Any]) -> bytes:
    """A ``ResponseValue``."""
    described = _bytes_field(1, value["description"].encode())
    if "schema" in value:
        described += _bytes_field(2, _bytes_field(1, _schema(value["schema"])))
    return _bytes_field(1, described)


_OPERATION: dict[str, Any] = {
    "tags": _texts(1),
    "description": _text(3),
    "operationId": _text(5),
    "produces": _texts(6),
    "consumes": _texts(7),
    "parameters": _each(8, _parameter),
    "responses": lambda value: _bytes_field(9, _named(1, _response)(value)),
    "x-": 13,
}
_PATH_ITEM: dict[str, Any] = {
    "get": _inner(2, _OPERATION),
    "put": _inner(3, _OPERATION),
    "post": _inner(4, _OPERATION),
    "delete": _inner(5, _OPERATION),
    "patch": _inner(8, _OPERATION),
    "parameters": _each(9, _parameter),
    "x-": 10,
}
_DOCUMENT: dict[str, Any] = {
    "swagger": _text(1),
    "info": _inner(2, {"title": _text(1), "version": _text(2), "description": _text(3)}),
    "paths": lambda value: _bytes_field(8, _named(2, _message(_PATH_ITEM))(value)),
    "definitions": lambda value: _bytes_field(9, _named(1, _schema)(value)),
    "x-": 16,
}
