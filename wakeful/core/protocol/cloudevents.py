"""CloudEvents 1.0 as a value, and its HTTP binding: binary and structured JSON mode, strict in both directions.

Called by the broker's ingress and dispatcher and by the model server's event edge. ``decode`` is the only admission
check of an event; the CloudEvents SDK is used for its types at public edges and never here, because it invents
missing ids and mangles JSON (spec section 5.7). Left out: protobuf, Avro and XML formats (refused by name).

An ``Event`` that exists is valid. ``time`` and ``datacontenttype`` stay as they were written (nanoseconds, parameters).
``data`` is bytes and never interpreted; JSON data from a structured message is the exact text of its ``data`` member.
Invariant: ``decode(*encode_structured(e)) == e``; in binary mode the same but extensions become strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from wakeful.core.protocol import cloudevents_http as http
from wakeful.core.protocol import cloudevents_json as json_format
from wakeful.core.protocol import cloudevents_types as types
from wakeful.core.protocol.cloudevents_http import Mode
from wakeful.core.protocol.cloudevents_types import ExtensionValue, InvalidEventError, Rule

__all__ = [
    "CORE",
    "DEFAULT_LIMITS",
    "Event",
    "Headers",
    "InvalidEventError",
    "Limits",
    "Mode",
    "Rule",
    "decode",
    "decode_batch",
    "encode_batch",
    "encode_binary",
    "encode_structured",
    "mode_of",
]

Headers = Mapping[str, str] | Iterable[tuple[str, str]]
"""HTTP headers; a multi-value mapping or pairs, so that duplicates are seen. Text is UTF-8 with surrogateescape."""

_NO_EXTENSIONS: Mapping[str, ExtensionValue] = MappingProxyType({})
CORE = ("id", "source", "type", "datacontenttype", "dataschema", "subject", "time")
"""The context attributes but ``specversion``; every other attribute is an extension."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one message. Beyond them decoding fails with ``Rule.TOO_LARGE``."""

    max_body_bytes: int = 16 * 1024 * 1024
    max_attribute_bytes: int = 16 * 1024
    max_extensions: int = 128
    max_batch: int = 1_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Event:
    """One valid CloudEvent. Construction raises ``InvalidEventError``; empty ``data`` becomes None (no data)."""

    id: str
    source: str
    type: str
    data: bytes | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    subject: str | None = None
    time: str | None = None
    extensions: Mapping[str, ExtensionValue] = field(default_factory=lambda: _NO_EXTENSIONS)

    def __post_init__(self) -> None:
        for name in ("id", "source", "type"):
            types.check_string(name, getattr(self, name))
        types.check_uri("source", self.source, absolute=False)
        for name in ("datacontenttype", "dataschema", "subject", "time"):
            value = getattr(self, name)
            if value is not None:
                types.check_string(name, value)
        if self.datacontenttype is not None:
            types.check_media_type("datacontenttype", self.datacontenttype)
        if self.dataschema is not None:
            types.check_uri("dataschema", self.dataschema, absolute=True)
        if self.time is not None:
            types.check_time("time", self.time)
        for name, extension in self.extensions.items():
            if name in CORE or name == "specversion":
                raise InvalidEventError(name, Rule.NAME, f"{name} is a context attribute, not an extension")
            types.check_extension(name, extension)
        object.__setattr__(self, "extensions", MappingProxyType(dict(self.extensions)))
        if not self.data:
            object.__setattr__(self, "data", None)

    def attributes(self) -> dict[str, ExtensionValue]:
        """Every attribute that is set, ``specversion`` first, extensions last."""
        known: dict[str, ExtensionValue] = {"specversion": "1.0"}
        for name in CORE:
            value = getattr(self, name)
            if value is not None:
                known[name] = value
        return known | dict(self.extensions)


def mode_of(headers: Headers) -> Mode | None:
    """How the message carries an event (batch is tested before structured), or None when it carries none."""
    return http.mode_of(http.pairs(headers))


def decode(headers: Headers, body: bytes, limits: Limits = DEFAULT_LIMITS) -> Event:
    """The event of one HTTP message in binary or structured mode. Raises ``InvalidEventError``; batches are refused."""
    pairs = http.pairs(headers)
    mode = _require_mode(pairs, body, limits)
    if mode is Mode.BATCH:
        raise InvalidEventError(
            "", Rule.BATCH, "a batch of events is not accepted here: send one event a request"
        )
    if mode is Mode.STRUCTURED:
        return _structured(json_format.members_of(body), limits)
    return _event(http.binary_attributes(pairs), body, limits)


def decode_batch(headers: Headers, body: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Event]:
    """The events of a message in batch mode. Raises ``InvalidEventError``; the text names the position."""
    mode = _require_mode(http.pairs(headers), body, limits)
    if mode is not Mode.BATCH:
        raise InvalidEventError(
            "", Rule.BATCH, "the message is not a batch: application/cloudevents-batch+json"
        )
    events = []
    for index, members in enumerate(json_format.items_of(body, limits.max_batch)):
        try:
            events.append(_structured(members, limits))
        except InvalidEventError as error:
            raise InvalidEventError(
                error.attribute, error.rule, f"event {index} of the batch: {error}"
            ) from None
    return events


def encode_binary(event: Event) -> tuple[dict[str, str], bytes]:
    """The headers and body of ``event`` in binary mode; attribute values are percent-encoded ASCII."""
    attributes = event.attributes()
    content_type = attributes.pop("datacontenttype", None)
    headers = {
        f"ce-{name}": http.encode_value(types.render_value(value)) for name, value in attributes.items()
    }
    if content_type is not None:
        headers["content-type"] = str(content_type)
    return headers, event.data or b""


def encode_structured(event: Event) -> tuple[dict[str, str], bytes]:
    """The headers and body of ``event`` as structured JSON; data that is neither JSON nor text becomes base64."""
    return {"content-type": http.STRUCTURED_JSON}, _json(event)


def encode_batch(events: Iterable[Event]) -> tuple[dict[str, str], bytes]:
    """The headers and body of a JSON batch (``[]`` when there are no events)."""
    return {"content-type": http.BATCH_JSON}, b"[" + b",".join(map(_json, events)) + b"]"


def _json(event: Event) -> bytes:
    return json_format.render(event.attributes(), event.data, event.datacontenttype)


def _require_mode(pairs: list[tuple[str, str]], body: bytes, limits: Limits) -> Mode:
    if len(body) > limits.max_body_bytes:
        raise InvalidEventError(
            "", Rule.TOO_LARGE, f"the message has {len(body)} bytes; the limit is {limits.max_body_bytes}"
        )
    mode = http.mode_of(pairs)
    if mode is None and any(name.startswith("ce-") for name, _ in pairs):
        raise InvalidEventError(
            "specversion",
            Rule.MISSING,
            "required attribute specversion is missing: send the header ce-specversion: 1.0",
        )
    if mode is None:
        raise InvalidEventError(
            "",
            Rule.NOT_AN_EVENT,
            "not a CloudEvent: neither a ce-specversion header nor Content-Type application/cloudevents+json",
        )
    return mode


def _structured(members: json_format.Members, limits: Limits) -> Event:
    attributes, data, datacontenttype = json_format.read(members)
    if datacontenttype:
        attributes["datacontenttype"] = datacontenttype
    return _event(attributes, data, limits)


def _event(attributes: dict[str, ExtensionValue], data: bytes | None, limits: Limits) -> Event:
    _check_sizes(attributes, limits)
    version = attributes.pop("specversion", None)
    if version is None:
        raise InvalidEventError(
            "specversion", Rule.MISSING, "attribute specversion is missing: it must be 1.0"
        )
    if version != "1.0":
        raise InvalidEventError(
            "specversion", Rule.FORMAT, f"specversion is {str(version)[:16]!r}; only 1.0 is supported"
        )
    for name in ("id", "source", "type"):
        if name not in attributes:
            raise InvalidEventError(name, Rule.MISSING, f"required attribute {name} is missing")
    known: dict[str, str] = {}
    for name in CORE:
        value = attributes.pop(name, None)
        if value is None:
            continue
        if not isinstance(value, str):
            raise InvalidEventError(name, Rule.TYPE, f"attribute {name} must be a string")
        known[name] = value
    return Event(**known, data=data, extensions=attributes)


def _check_sizes(attributes: dict[str, ExtensionValue], limits: Limits) -> None:
    if len(attributes) > limits.max_extensions + len(CORE) + 1:
        raise InvalidEventError("", Rule.TOO_LARGE, f"more than {limits.max_extensions} extensions")
    for name, value in attributes.items():
        if isinstance(value, str) and len(value) > limits.max_attribute_bytes // 4:
            size = len(value.encode("utf-8", "surrogatepass"))
            if size > limits.max_attribute_bytes:
                raise InvalidEventError(
                    name[:64],
                    Rule.TOO_LARGE,
                    f"attribute {name[:64]} has {size} bytes; the limit is {limits.max_attribute_bytes}",
                )
