"""The CloudEvents 1.0 type system: which names and values an attribute may have, and their canonical strings.

Called by ``cloudevents`` (the event value) and its HTTP and JSON codecs. Left out: Binary and Timestamp as Python
types, because neither survives the wire (JSON and headers carry strings); edges convert them to base64 and RFC 3339.

Sources: CloudEvents 1.0 section "Type System" (String forbids control characters, U+FFFE-like noncharacters and lone
surrogates; Integer is int32; Timestamp is RFC 3339; URI and URI-reference are RFC 3986); media types are RFC 2045.
Worked example: ``2018-02-29T10:00:00Z`` is refused because 2018 has no 29 February; ``...T10:00:00.123456789z`` is kept.
Invariant: a value that passes a check here can be written in every mode and read back unchanged.
"""

from __future__ import annotations

import calendar
import re
from enum import StrEnum

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1

ExtensionValue = bool | int | str
"""What an extension holds; in binary mode everything arrives as a string."""


class Rule(StrEnum):
    """Why a message is not an acceptable event."""

    NOT_AN_EVENT = "not_an_event"
    MISSING = "missing"
    EMPTY = "empty"
    NAME = "name"
    TYPE = "type"
    FORMAT = "format"
    CHARACTER = "character"
    DUPLICATE = "duplicate"
    ENCODING = "encoding"
    DATA = "data"
    BATCH = "batch"
    UNSUPPORTED = "unsupported"
    TOO_LARGE = "too_large"


class InvalidEventError(ValueError):
    """A message that is not a valid CloudEvent: ``attribute`` ('' for the whole message), ``rule``, one sentence."""

    def __init__(self, attribute: str, rule: Rule, message: str) -> None:
        super().__init__(message)
        self.attribute = attribute
        self.rule = rule


_NAME = re.compile(r"[a-z0-9]+\Z")
_NONCHARACTERS = "".join(chr(plane * 0x10000 + low) for plane in range(17) for low in (0xFFFE, 0xFFFF))
_FORBIDDEN = re.compile(f"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef{_NONCHARACTERS}]")
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.\d+)?(?:[Zz]|[+-](\d\d):(\d\d))\Z", re.ASCII
)
_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{2})"
_HIER = (
    rf"(?://(?:[A-Za-z0-9\-._~!$&'()*+,;=:@]|%[0-9A-Fa-f]{{2}}|\[[0-9A-Fa-f:.v]+\])*(?:/{_PCHAR}*)*"
    rf"|/(?:{_PCHAR}+(?:/{_PCHAR}*)*)?|{{first}}(?:/{_PCHAR}*)*|)"
)
_TAIL = rf"(?:\?(?:{_PCHAR}|[/?])*)?(?:\#(?:{_PCHAR}|[/?])*)?"
_URI = re.compile(
    r"[A-Za-z][A-Za-z0-9+.\-]*:" + _HIER.replace("{first}", _PCHAR + "+") + _TAIL + r"\Z", re.ASCII
)
_SEGMENT_WITHOUT_COLON = _PCHAR.replace(":@", "@") + "+"
_RELATIVE = re.compile(_HIER.replace("{first}", _SEGMENT_WITHOUT_COLON) + _TAIL + r"\Z", re.ASCII)
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = rf"{_TOKEN}=(?:{_TOKEN}|\"(?:[^\"\\\r\n]|\\.)*\")"
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/{_TOKEN}(?:[ \t]*;(?:[ \t]*{_PARAMETER})?)*[ \t]*\Z", re.ASCII)
_JSON_TYPE = re.compile(r"[^/]+/(?:[^;]+\+)?json[ \t]*(?:;|\Z)", re.IGNORECASE)
_CHARSET = re.compile(r";[ \t]*charset[ \t]*=[ \t]*\"?([^\";\s]+)", re.IGNORECASE)


def check_name(name: str) -> None:
    """Refuse an extension name that is not lower-case letters and digits, or is ``data``."""
    if not _NAME.match(name) or name == "data":
        raise InvalidEventError(
            name[:64],
            Rule.NAME,
            f"extension name {name[:64]!r} is not allowed: use only a-z and 0-9, and not 'data'",
        )


def check_string(name: str, value: str) -> None:
    """Refuse an empty string and the characters CloudEvents forbids in String."""
    if not value:
        raise InvalidEventError(
            name, Rule.EMPTY, f"attribute {name} is empty: give it a value or leave it out"
        )
    bad = _FORBIDDEN.search(value)
    if bad:
        raise InvalidEventError(
            name,
            Rule.CHARACTER,
            f"attribute {name} holds U+{ord(bad.group()):04X} at position {bad.start()}, which CloudEvents forbids",
        )


def check_extension(name: str, value: object) -> None:
    """Refuse an extension whose name or value is outside the type system."""
    check_name(name)
    if isinstance(value, bool):
        return
    if isinstance(value, int):
        if not INT32_MIN <= value <= INT32_MAX:
            raise InvalidEventError(
                name, Rule.TYPE, f"extension {name} is {str(value)[:40]}, outside the int32 range of Integer"
            )
    elif isinstance(value, str):
        check_string(name, value)
    else:
        kind = type(value).__name__
        raise InvalidEventError(
            name,
            Rule.TYPE,
            f"extension {name} is a {kind}: only strings, int32 numbers and booleans are allowed",
        )


def check_time(name: str, value: str) -> None:
    """Refuse what is not an RFC 3339 timestamp with an offset (any fraction, ``z`` and ``t`` allowed)."""
    match = _TIME.match(value)
    if match:
        year, month, day, hour, minute, second, *offset = (int(part or 0) for part in match.groups())
        days = calendar.monthrange(max(year, 4), month)[1] if 1 <= month <= 12 else 0
        in_day = hour <= 23 and minute <= 59 and second <= 60
        if 1 <= day <= days and in_day and offset[0] <= 23 and offset[1] <= 59:
            return
    raise InvalidEventError(
        name,
        Rule.FORMAT,
        f"attribute {name} is {value[:64]!r}, not an RFC 3339 timestamp with offset like 2026-01-31T12:00:00Z",
    )


def check_uri(name: str, value: str, absolute: bool) -> None:
    """Refuse what is not an RFC 3986 URI-reference (or, with ``absolute``, a URI with a scheme)."""
    if _URI.match(value) or (not absolute and _RELATIVE.match(value)):
        return
    want = "an absolute URI like https://example.com/schema" if absolute else "a URI-reference (RFC 3986)"
    raise InvalidEventError(name, Rule.FORMAT, f"attribute {name} is {value[:128]!r}, not {want}")


def check_media_type(name: str, value: str) -> None:
    """Refuse what is not a media type with optional parameters."""
    if not _MEDIA_TYPE.match(value):
        raise InvalidEventError(
            name, Rule.FORMAT, f"attribute {name} is {value[:128]!r}, not a media type like application/json"
        )


def is_json_type(media_type: str) -> bool:
    """True for ``*/json`` and ``*/*+json`` in any case, with or without parameters."""
    return _JSON_TYPE.match(media_type) is not None


def charset_of(media_type: str) -> str:
    """The ``charset`` parameter in lower case, '' when there is none."""
    match = _CHARSET.search(media_type)
    return match.group(1).lower() if match else ""


def render_value(value: ExtensionValue) -> str:
    """The canonical string of a value: ``true``, ``-7``, or the string itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
