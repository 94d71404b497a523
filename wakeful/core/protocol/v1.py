"""KServe's V1 protocol: bodies of ``:predict`` and ``:explain``.

The HTTP edge of the model server decodes requests here and clients encode them. Source: kserve.md 5.2. A request is
a JSON object, normally with ``instances`` (or ``inputs``) as a list; the answer is whatever object the model
returns, normally ``{"predictions": [...]}``. Better than the source: the media type is parsed, so that
``application/json; charset=utf-8`` is JSON too; an object sent by ``curl -d`` without a Content-Type (curl then says
``application/x-www-form-urlencoded``) is taken for what it is; every server says what is wrong with ``instances``.
Left out: CloudEvents (the edge unwraps them first).

Invariant: ``decode`` never returns anything but a JSON object or the untouched bytes of another media type.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

from wakeful.core.errors import InvalidError
from wakeful.core.protocol.cloudevents_types import charset_of
from wakeful.core.protocol.problem import parse_json, type_name

JSON_TYPES = frozenset(
    {
        "",
        "application/json",
        "application/cloudevents+json",
        "application/ld+json",
        "application/octet-stream",
    }
)
LOOSE_TYPES = frozenset({"application/x-www-form-urlencoded", "text/plain", "text/json"})
"""What clients say that were told nothing (curl, fetch): the body's first character decides, and nothing else."""
CHARSETS = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii"})
ROW_KEYS = ("instances", "inputs")


def media_type(content_type: str) -> str:
    """The type without parameters, lower case: ``Application/JSON; charset=utf-8`` gives ``application/json``."""
    return content_type.partition(";")[0].strip().lower()


def is_json(content_type: str) -> bool:
    """Whether a body of this Content-Type (may be empty) is decoded as JSON."""
    kind = media_type(content_type)
    return kind in JSON_TYPES or kind.endswith("+json")


def check_charset(content_type: str) -> None:
    """Refuse a charset that JSON is not sent in (RFC 8259 8.1). Raises ``InvalidError``."""
    if ";" not in content_type:
        return
    charset = charset_of(content_type).strip("'")
    if charset not in CHARSETS:
        raise InvalidError(
            f"the request's Content-Type says charset={charset[:40]}: JSON is sent as UTF-8; encode the body so, and send "
            f"{media_type(content_type)[:80] or 'application/json'} without a charset"
        )


def holds_json(body: bytes, content_type: str) -> bool:
    """Whether a V1 body is decoded as JSON: by its type, or for ``LOOSE_TYPES`` when it is empty or begins so."""
    if is_json(content_type):
        return True
    return media_type(content_type) in LOOSE_TYPES and body[:64].lstrip()[:1] in (b"", b"{", b"[")


def decode(body: bytes, content_type: str) -> dict[str, Any] | bytes:
    """The payload of a request: an object checked by ``check``, or the bytes where it is not JSON.

    Raises ``InvalidError``.
    """
    if not holds_json(body, content_type):
        return body
    check_charset(content_type)
    return decode_object(body)


def decode_object(body: bytes) -> dict[str, Any]:
    """The V1 request object in ``body``, whatever it was called: for models that take nothing but JSON.

    Raises ``InvalidError``.
    """
    if not body:
        raise InvalidError(
            'the request body is empty: send a JSON object such as {"instances": [[1.0, 2.0]]}'
        )
    return check(parse_json(body, "the request body"))


def check(value: Any) -> dict[str, Any]:
    """``value`` if it is a V1 request object. Raises ``InvalidError``."""
    if not isinstance(value, dict):
        raise InvalidError(
            f"the request body is {type_name(value)}: a V1 request is a JSON object such as "
            '{"instances": [[1.0, 2.0]]}'
        )
    for key in ROW_KEYS:
        if key in value and not isinstance(value[key], list):
            raise InvalidError(f'Expected "{key}" to be a list, got {type_name(value[key])}')
    return value


def holds_at_most(values: list[Any], limit: int) -> bool:
    """Whether ``values`` (parsed JSON) hold at most ``limit`` values, arrays and objects counted as one more each.

    All levels are looked at, however rows differ, and never more than ``limit`` values: some 0.1 us each.
    """
    count, level = len(values), values
    while count <= limit:
        kinds = set(map(type, level))
        if dict in kinds:
            level = [list(item.values()) if type(item) is dict else item for item in level]
        elif list not in kinds:
            return True
        nested = [item for item in level if type(item) is list]
        count += sum(map(len, nested))
        if count <= limit:
            level = list(chain.from_iterable(nested))
    return False


def rows(payload: dict[str, Any]) -> list[Any]:
    """The rows to predict: ``instances``, or ``inputs`` where that is missing. Raises ``InvalidError``."""
    for key in ROW_KEYS:
        if key in payload:
            found = payload[key]
            if not isinstance(found, list):
                raise InvalidError(f'Expected "{key}" to be a list, got {type_name(found)}')
            if not found:
                raise InvalidError(f'"{key}" is empty: send at least one row')
            return found
    raise no_rows(payload)


def no_rows(payload: dict[str, Any]) -> InvalidError:
    """The error for a request without rows."""
    names = ", ".join(sorted(payload)[:8]) or "none"
    return InvalidError(f'the request has no "instances" (or "inputs"); its members: {names}')


def lacks(payload: Any, keys: tuple[Any, ...]) -> bool:
    """Whether ``keys``, of a ``KeyError`` of model code, is the one for rows, and the request is without it."""
    return isinstance(payload, dict) and len(keys) == 1 and keys[0] in ROW_KEYS and keys[0] not in payload
