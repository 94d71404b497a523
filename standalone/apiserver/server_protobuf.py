"""Kubernetes' protobuf bodies to JSON objects: kubectl sends them for ``create``, ``autoscale``, reviews and tokens.

Called by ``handlers_body``. Field numbers and types are facts in ``server_protobuf.json``, made by
``hack/gen-protobuf-fields``. Answers are always JSON: every client that sends protobuf accepts it.
The wire always carries fields that are no pointers in Go; their zero values mean "not set" and are left out, as
Go's JSON would (``omitempty``).

Invariant: total on any bytes: a malformed or too deep body is a ``ProtobufError``, never another exception, and costs
time and memory in proportion to its size.
"""

from __future__ import annotations

import base64
import datetime
import json
import struct
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from wakeful.core.api import instants

MAGIC = b"k8s\x00"
MAX_DEPTH = 64
_FACTS = Path(__file__).with_name("server_protobuf.json")
Wire = int | bytes


class ProtobufError(Exception):
    """The bytes are no such object."""


@lru_cache(maxsize=1)
def _facts() -> tuple[dict[str, str], dict[str, dict[int, tuple[str, str, str]]]]:
    """(roots by apiVersion/kind, messages: number -> (name, shape, type))."""
    raw = json.loads(_FACTS.read_text())
    messages = {}
    for message, fields in raw["messages"].items():
        table = {}
        for field in fields:
            number, name, code = field.split("|")
            shape = code[0] if code[0] in "*[{" else ""
            table[int(number)] = (name, shape, code[len(shape) :])
        messages[message] = table
    return raw["roots"], messages


def decode(body: bytes) -> dict[str, Any]:
    """The object in an envelope of ``application/vnd.kubernetes.protobuf``. Raises ``ProtobufError``."""
    if not body.startswith(MAGIC):
        raise ProtobufError("the body has no Kubernetes protobuf prefix")
    try:
        envelope = dict(_fields(body[len(MAGIC) :]))
        meta = {number: _text(value) for number, value in _fields(_bytes(envelope.get(1, b"")))}
        api_version, kind = meta.get(1, ""), meta.get(2, "")
        roots, _ = _facts()
        root = roots.get(f"{api_version}/{kind}")
        if root is None and kind == "DeleteOptions":
            root = roots["v1/DeleteOptions"]
        if root is None:
            raise ProtobufError(
                f"{kind or 'no kind'} in {api_version or 'no version'} cannot be read as protobuf: send JSON"
            )
        return {"apiVersion": api_version, "kind": kind, **_message(_bytes(envelope.get(2, b"")), root, 0)}
    except (ValueError, IndexError, struct.error, UnicodeDecodeError, OverflowError) as error:
        raise ProtobufError(f"the body is not valid protobuf: {error}") from error


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """(field number, value) in order."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        value: Wire
        if wire == 0:
            value, position = _varint(data, position)
        elif wire in (1, 2, 5):
            size = 8 if wire == 1 else 4
            if wire == 2:
                size, position = _varint(data, position)
            if position + size > len(data):
                raise ValueError("a field is cut short")
            value = data[position : position + size]
            position += size
        else:
            raise ValueError(f"wire type {wire} is not used by Kubernetes")
        yield tag >> 3, value


def _message(data: bytes, name: str, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise ValueError("too deep")
    table = _facts()[1][name]
    result: dict[str, Any] = {}
    for number, wire in _fields(data):
        known = table.get(number)
        if known is None:
            continue
        field, shape, code = known
        if shape == "{":
            key, value = _entry(_bytes(wire), code, depth)
            result.setdefault(field, {})[key] = value
            continue
        value = _value(wire, code, depth)
        if shape == "[":
            result.setdefault(field, []).append(value)
        elif not field:
            result.update(value)
        elif value not in ((None,) if shape == "*" else (None, "", 0, False, {}, [])):
            result[field] = value
    return result


def _entry(data: bytes, code: str, depth: int) -> tuple[str, Any]:
    pair: dict[int, Wire] = dict(_fields(data))
    default: Wire = 0 if code in "ibd" else b""
    return _text(pair.get(1, b"")), _value(pair.get(2, default), code, depth)


def _value(wire: Wire, code: str, depth: int) -> Any:
    convert = _CONVERT.get(code)
    return convert(wire) if convert is not None else _message(_bytes(wire), code, depth + 1)


def _bytes(wire: Wire) -> bytes:
    if isinstance(wire, int):
        raise ValueError("a number stands where bytes are expected")
    return wire


def _text(wire: Wire) -> str:
    return _bytes(wire).decode()


def _number(wire: Wire) -> int:
    if not isinstance(wire, int):
        raise ValueError("bytes stand where a number is expected")
    return wire - (1 << 64) if wire >= 1 << 63 else wire


def _double(wire: Wire) -> float:
    return float(struct.unpack("<d", _bytes(wire))[0])


def _parts(wire: Wire) -> dict[int, Wire]:
    return dict(_fields(_bytes(wire)))


def _instant(wire: Wire) -> datetime.datetime | None:
    parts = _parts(wire)
    if not parts:
        return None
    at = datetime.datetime.fromtimestamp(_number(parts.get(1, 0)), datetime.UTC)
    return at + datetime.timedelta(microseconds=_number(parts.get(2, 0)) // 1000)


def _time(wire: Wire) -> str | None:
    at = _instant(wire)
    return instants.render(at) if at is not None else None


def _micro_time(wire: Wire) -> str | None:
    at = _instant(wire)
    return instants.render_micro(at) if at is not None else None


def _int_or_string(wire: Wire) -> int | str:
    parts = _parts(wire)
    return _text(parts.get(3, b"")) if _number(parts.get(1, 0)) == 1 else _number(parts.get(2, 0))


def _json(wire: Wire) -> Any:
    raw = _bytes(_parts(wire).get(1, b""))
    return orjson.loads(raw) if raw else None


_CONVERT: dict[str, Callable[[Wire], Any]] = {
    "s": _text,
    "i": _number,
    "b": lambda wire: bool(_number(wire)),
    "d": _double,
    "y": lambda wire: base64.b64encode(_bytes(wire)).decode(),
    "t": _time,
    "T": _micro_time,
    "q": lambda wire: _text(_parts(wire).get(1, b"")),
    "o": _int_or_string,
    "f": _json,
    "r": _json,
    "u": lambda wire: f"{_number(_parts(wire).get(1, 0)) / 1e9:g}s",
    "x": lambda wire: [_text(value) for _, value in _fields(_bytes(wire))],
}
"""By the letters of the facts: string, integer, bool, double, bytes, Time, MicroTime, Quantity, IntOrString,
FieldsV1, RawExtension, Duration, a named list of strings."""
