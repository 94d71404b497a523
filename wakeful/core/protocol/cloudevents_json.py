"""The JSON event format of CloudEvents 1.0: one object, or an array of them, to and from attributes and data bytes.

Called by ``cloudevents``. The top level is walked member by member so that ``data`` can be taken as the exact text
that was sent: no number is rounded, no key reordered, and a duplicate member is seen. Unknown members are extensions.
Rules: null is "not set" for attributes; ``data`` and ``data_base64`` exclude each other; with a JSON (or no) content
type ``data`` is a JSON value, otherwise it must be a string that holds the text.
Invariant: what ``render`` writes, ``read`` returns unchanged.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

import orjson

from wakeful.core.protocol.cloudevents_types import (
    ExtensionValue,
    InvalidEventError,
    Rule,
    charset_of,
    is_json_type,
)

Members = dict[str, tuple[Any, str]]
"""Member name -> (its value, its exact text)."""

_SPACE = re.compile(r"[ \t\n\r]*")
_TEXT_TYPE = re.compile(r"text/|[^/;]+/(?:[^;]+\+)?xml(?:[ \t]*;|[ \t]*\Z)", re.IGNORECASE)
_UTF8 = ("", "utf-8", "utf8", "us-ascii")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_SCAN = json.JSONDecoder(parse_constant=_refuse_constant).raw_decode


def members_of(body: bytes) -> Members:
    """The members of the JSON object that is the whole of ``body``."""
    text = _text(body)
    members, end = _object(text, _skip(text, 0))
    _require_end(text, end)
    return members


def items_of(body: bytes, max_items: int) -> list[Members]:
    """The members of every object in the JSON array that is the whole of ``body``."""
    text = _text(body)
    at = _skip(text, 0)
    if text[at : at + 1] != "[":
        raise _malformed("a batch must be a JSON array of events")
    items: list[Members] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        if len(items) >= max_items:
            raise InvalidEventError("", Rule.TOO_LARGE, f"the batch holds more than {max_items} events")
        members, at = _object(text, at)
        items.append(members)
        at = _separator(text, _skip(text, at), "]")
    _require_end(text, at + 1)
    return items


def read(members: Members) -> tuple[dict[str, ExtensionValue], bytes | None, str | None]:
    """(attributes without datacontenttype, data, datacontenttype). Absent type with ``data`` reads as JSON."""
    attributes: dict[str, ExtensionValue] = {}
    for name, (value, _) in members.items():
        if name in ("data", "data_base64", "datacontenttype") or value is None or value == "":
            continue
        attributes[name] = value
    content_type = members.get("datacontenttype", (None, ""))[0] or None
    if content_type is not None and not isinstance(content_type, str):
        raise InvalidEventError("datacontenttype", Rule.TYPE, "attribute datacontenttype must be a string")
    encoded = members.get("data_base64", (None, ""))[0]
    if encoded is not None:
        if members.get("data", (None, ""))[0] is not None:
            raise InvalidEventError("data", Rule.DATA, "data and data_base64 are both given: use one of them")
        return attributes, _base64(encoded), content_type
    if "data" not in members:
        return attributes, None, content_type
    value, raw = members["data"]
    if content_type is None or is_json_type(content_type):
        return attributes, raw.encode("utf-8", "surrogatepass"), content_type or "application/json"
    return attributes, _from_string(value, content_type), content_type


def render(attributes: dict[str, ExtensionValue], data: bytes | None, content_type: str | None) -> bytes:
    """The JSON object of an event."""
    head = orjson.dumps(attributes)
    if data is None:
        return head
    if content_type is not None and is_json_type(content_type):
        if _is_json(data):
            return head[:-1] + b',"data":' + data + b"}"
    elif content_type is not None and _TEXT_TYPE.match(content_type) and charset_of(content_type) in _UTF8:
        try:
            return head[:-1] + b',"data":' + orjson.dumps(data.decode()) + b"}"
        except UnicodeDecodeError:
            pass  # a lying content type: base64 keeps the bytes
    return head[:-1] + b',"data_base64":"' + base64.b64encode(data) + b'"}'


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidEventError("", Rule.ENCODING, f"the body is not UTF-8 at byte {error.start}") from None


def _object(text: str, at: int) -> tuple[Members, int]:
    if text[at : at + 1] != "{":
        raise _malformed("an event must be a JSON object")
    members: Members = {}
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise _malformed(f"expected a member name at character {at}")
        name, at = _value(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise _malformed(f"expected ':' at character {at}")
        start = _skip(text, at + 1)
        value, at = _value(text, start)
        if name in members:
            raise InvalidEventError(
                name[:64], Rule.DUPLICATE, f"member {name[:64]!r} is given more than once"
            )
        members[name] = (value, text[start:at])
        at = _separator(text, _skip(text, at), "}")
    return members, at + 1


def _separator(text: str, at: int, closing: str) -> int:
    """Step over a comma that another item follows, or stay at ``closing``."""
    character = text[at : at + 1]
    if character == closing:
        return at
    following = _skip(text, at + 1)
    if character != "," or text[following : following + 1] == closing:
        raise _malformed(f"expected ',' or {closing!r} at character {at}")
    return following


def _value(text: str, at: int) -> tuple[Any, int]:
    try:
        return _SCAN(text, at)
    except RecursionError:
        raise _malformed("the JSON is nested too deeply") from None
    except ValueError as error:
        raise _malformed(str(error)[:120]) from None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _require_end(text: str, at: int) -> None:
    if _skip(text, at) != len(text):
        raise _malformed(f"unexpected text after the event at character {at}")


def _malformed(detail: str) -> InvalidEventError:
    return InvalidEventError("", Rule.FORMAT, f"the body is not a JSON event: {detail}")


def _base64(encoded: object) -> bytes:
    if not isinstance(encoded, str):
        raise InvalidEventError("data_base64", Rule.TYPE, "data_base64 must be a string")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidEventError("data_base64", Rule.DATA, f"data_base64 is not base64: {error}") from None


def _from_string(value: object, content_type: str) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise InvalidEventError(
            "data", Rule.DATA, f"data must be a string because datacontenttype is {content_type[:64]}"
        )
    charset = charset_of(content_type) or "utf-8"
    try:
        return value.encode(charset)
    except (LookupError, UnicodeError):
        raise InvalidEventError(
            "data", Rule.ENCODING, f"data cannot be written in charset {charset[:32]}"
        ) from None


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True
