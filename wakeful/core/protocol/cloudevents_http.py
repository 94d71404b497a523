"""The HTTP binding of CloudEvents 1.0: which mode a message is in, and header values to and from attributes.

Called by ``cloudevents``. A header value is UTF-8, percent-encoded: space, '"', '%' and every byte outside
U+0021..U+007E are written ``%XX``; reading unquotes a double-quoted string first, then percent-decodes once.
Worked example: ``Euro € 😀`` is ``Euro%20%E2%82%AC%20%F0%9F%98%80``. A '%' without two hex digits stays as it is.
Invariant: a duplicate ``ce-`` header is an error, never "last one wins".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from wakeful.core.protocol.cloudevents_types import ExtensionValue, InvalidEventError, Rule

STRUCTURED_JSON = "application/cloudevents+json; charset=utf-8"
BATCH_JSON = "application/cloudevents-batch+json; charset=utf-8"
_ILLEGAL = ("data", "datacontenttype", "data_base64")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNSAFE = re.compile(rb"[^\x21\x23\x24\x26-\x7e]")
_QUOTED = re.compile(r"\\(.)", re.DOTALL)


class Mode(StrEnum):
    """How an HTTP message carries events."""

    BINARY = "binary"
    STRUCTURED = "structured"
    BATCH = "batch"


def pairs(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The headers as (lower-case name, value), duplicates kept."""
    items = headers.items() if isinstance(headers, Mapping) else headers
    return [(name.lower(), value) for name, value in items]


def mode_of(headers: list[tuple[str, str]]) -> Mode | None:
    """The mode, or None when the message carries no event. Raises when the event format is not JSON."""
    content_type = next((value for name, value in headers if name == "content-type"), "").strip().lower()
    if content_type.startswith("application/cloudevents-batch"):
        _require_json(content_type, "application/cloudevents-batch+json")
        return Mode.BATCH
    if content_type.startswith("application/cloudevents"):
        _require_json(content_type, "application/cloudevents+json")
        return Mode.STRUCTURED
    return Mode.BINARY if any(name == "ce-specversion" for name, _ in headers) else None


def binary_attributes(headers: list[tuple[str, str]]) -> dict[str, ExtensionValue]:
    """The attributes of a message in binary mode; an empty header is an absent attribute."""
    found: dict[str, ExtensionValue] = {}
    seen: set[str] = set()
    for header, value in headers:
        name = "datacontenttype" if header == "content-type" else header.removeprefix("ce-")
        if name == header:
            continue
        if name in _ILLEGAL and header != "content-type":
            raise InvalidEventError(name, Rule.NAME, f"header {header} is not allowed in binary mode")
        if name in seen:
            raise InvalidEventError(
                name[:64], Rule.DUPLICATE, f"header {header[:64]} is given more than once"
            )
        seen.add(name)
        text = value.strip() if header == "content-type" else decode_value(name, value)
        if text:
            found[name] = text
    return found


def decode_value(name: str, value: str) -> str:
    """The attribute value in a header value. Raises when its bytes are not UTF-8."""
    text = value.strip(" \t")
    if len(text) >= 2 and text[0] == text[-1] == '"':
        text = _QUOTED.sub(r"\1", text[1:-1])
    try:
        raw = text.encode("utf-8", "surrogateescape")
        return _ESCAPE.sub(lambda match: bytes([int(match.group(1), 16)]), raw).decode()
    except UnicodeError:
        raise InvalidEventError(
            name[:64], Rule.ENCODING, f"header ce-{name[:64]} is not UTF-8 after percent-decoding"
        ) from None


def encode_value(value: str) -> str:
    """The header value of an attribute value: printable ASCII without space and quote."""
    return _UNSAFE.sub(lambda match: b"%%%02X" % match.group()[0], value.encode()).decode("ascii")


def _require_json(content_type: str, want: str) -> None:
    essence, _, parameters = content_type.partition(";")
    if essence.strip() != want:
        raise InvalidEventError(
            "", Rule.UNSUPPORTED, f"event format {essence.strip()[:64]!r} is not supported: use {want}"
        )
    charset = re.search(r"charset\s*=\s*\"?([^\";\s]+)", parameters)
    if charset and charset.group(1) not in ("utf-8", "utf8", "us-ascii"):
        raise InvalidEventError("", Rule.ENCODING, f"JSON events are UTF-8, not {charset.group(1)[:32]}")
