"""What the payload logger says about one call: a record of the request, one of the answer, as an event or as a row.

Used by ``wakeful.serving.payload_log``. Source: kserve.md 5.9: CloudEvents of two types with one id, extensions that
name the service, the configured headers as ``metadata``. Better than the source: errors and batched answers are
records too (``statuscode``), each record has the content type of its own body, and values of named members are
taken out (``redact``) before anything leaves the process.

Invariant: both records of one call have the same id; a body over the bound is left out as a whole, never cut in two.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

import orjson

from wakeful.core.protocol import v1
from wakeful.core.protocol.cloudevents import Event
from wakeful.core.protocol.cloudevents_http import decode_value
from wakeful.core.protocol.cloudevents_types import InvalidEventError

REDACTED = "[redacted]"
ID_CHARACTERS = 256
"""Of an event's id that is a record's: longer ones are not."""
NESTED = frozenset({dict, list})
EVENTS = "application/cloudevents"
"""Media types of events, whose data may be base64: nobody could say what it holds."""
NEVER_SHOWN = frozenset({"authorization", "cookie", "proxy-authorization", "set-cookie", "x-api-key"})
"""Headers that are secrets: their value is replaced even when somebody asks for them by name."""


class Kind(StrEnum):
    """Which half of a call a record is."""

    REQUEST = "request"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose calls are logged; '' where unknown."""

    source: str = ""
    inferenceservice: str = ""
    namespace: str = ""
    component: str = ""
    endpoint: str = ""
    revision: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Record:
    """One half of one call."""

    kind: Kind
    id: str
    at: str
    """RFC 3339, UTC."""
    path: str
    content_type: str
    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)
    status: int | None = None
    """Of the answer; None for a request."""
    duration_ms: float | None = None
    body_bytes: int = 0
    """Bytes of the body as it was, whatever ``body`` shows of it: nothing where it was left out."""
    traceparent: str = ""
    request_id: str = ""
    """Of the call, where ``id`` is an event's, which may come several times."""


def call_id(headers: Mapping[str, str], request_id: str) -> str:
    """What both records of a call are called: as in KServe the ``Ce-Id`` of the event that it carries, else ``request_id``."""
    try:
        given = decode_value("id", headers.get("ce-id", ""))
    except InvalidEventError:
        return request_id
    return given if given.isprintable() and 0 < len(given) <= ID_CHARACTERS else request_id


def metadata(
    headers: Mapping[str, str], names: tuple[str, ...], redacted: frozenset[str] = frozenset()
) -> dict[str, str]:
    """Those of ``names`` (any case) that ``headers`` (lower-case names) has; secrets and ``redacted`` (folded) are replaced."""
    found = {}
    for name in names:
        key = name.lower()
        value = headers.get(key)
        if value is not None:
            found[name] = REDACTED if key in NEVER_SHOWN or key.casefold() in redacted else value
    return found


def redact(body: bytes, content_type: str, names: frozenset[str]) -> bytes:
    """``body`` without the values of members called one of ``names``, at any depth, and of V2 tensors so named.

    ``names`` are folded (``fold``): the same in capitals and small letters.
    What is no JSON is left out (b'') when there is anything to redact: nobody could say what it holds.
    """
    if not names or not body:
        return body
    if not v1.holds_json(body, content_type):
        return b""
    try:
        value = orjson.loads(body)
    except ValueError:
        return b""
    if v1.media_type(content_type).startswith(EVENTS):
        names |= {"data_base64"}
    return orjson.dumps(_redacted(value, names))


def _redacted(value: Any, names: frozenset[str]) -> Any:
    match value:
        case dict():
            name = value.get("name")
            is_tensor = isinstance(name, str) and name.casefold() in names and "data" in value
            return {
                key: REDACTED
                if key.casefold() in names or (is_tensor and key == "data")
                else _redacted(item, names)
                for key, item in value.items()
            }
        case list() if not NESTED.isdisjoint(map(type, value)):
            return [_redacted(item, names) for item in value]
        case _:
            return value


def redacted_target(target: str, names: frozenset[str]) -> str:
    """``target`` without the values of query parameters called one of ``names`` (folded)."""
    path, mark, query = target.partition("?")
    if not names or not query:
        return target
    shown = [
        f"{name}={REDACTED}" if unquote_plus(name).casefold() in names else part
        for part in query.split("&")
        for name in (part.partition("=")[0],)
    ]
    return path + mark + "&".join(shown)


def fold(names: Iterable[str]) -> frozenset[str]:
    """Names to redact as the functions here take them: who writes ``ssn`` means ``SSN`` too. Once, not for each record."""
    return frozenset(map(str.casefold, names))


def as_event(record: Record, identity: Identity) -> Event:
    """The CloudEvent that KServe's agent would send, with our extensions beside it."""
    named = {
        "inferenceservicename": identity.inferenceservice,
        "namespace": identity.namespace,
        "component": identity.component,
        "endpoint": identity.endpoint,
        "revision": identity.revision,
        "path": record.path,
        "recordedtime": record.at,
        "traceparent": record.traceparent,
        "statuscode": "" if record.status is None else str(record.status),
        "durationms": "" if record.duration_ms is None else f"{record.duration_ms:.3f}",
        "omittedbytes": str(record.body_bytes) if record.body_bytes and not record.body else "",
        "annotations": _json_text(identity.annotations) if identity.annotations else "",
    }
    extensions: dict[str, Any] = {name: value for name, value in named.items() if value}
    extensions["metadata"] = _json_text(record.metadata)
    return Event(
        id=record.id,
        source=identity.source or identity.inferenceservice or "wakeful",
        type=f"org.kubeflow.serving.inference.{record.kind.value}",
        time=record.at,
        data=record.body,
        datacontenttype=record.content_type or "application/json",
        extensions=extensions,
    )


def as_row(record: Record, identity: Identity) -> dict[str, Any]:
    """The record as a flat JSON object for a store: a JSON body as ``payload``, another as base64 ``bytes``."""
    row: dict[str, Any] = {
        "id": record.id,
        "reqType": record.kind.value,
        "time": record.at,
        "sourceUri": identity.source,
        "inferenceService": identity.inferenceservice,
        "namespace": identity.namespace,
        "component": identity.component,
        "endpoint": identity.endpoint,
        "revision": identity.revision,
        "path": record.path,
        "contentType": record.content_type,
        "metadata": dict(record.metadata),
        "annotations": dict(identity.annotations),
        "status": record.status,
        "durationMs": record.duration_ms,
        "bodyBytes": record.body_bytes,
        "traceparent": record.traceparent,
        "payload": None,
        "bytes": None,
    }
    if record.body and v1.holds_json(record.body, record.content_type):
        try:
            row["payload"] = orjson.loads(record.body)
            return row
        except ValueError:
            pass
    row["bytes"] = base64.b64encode(record.body).decode() if record.body else None
    return row


def object_key(prefix: str, record: Record, identity: Identity, extension: str) -> str:
    """``{prefix}/{ns}/{isvc}/{component}/{path}/{id}-{kind}.{ext}`` (kserve.md 5.9); no part can climb out of it.

    Where an event came several times each call has its objects, by its request id.
    """
    path = "/".join(_safe(part) for part in record.path.partition("?")[0].split("/") if part)
    parts = (
        prefix.strip("/"),
        identity.namespace or "default",
        identity.inferenceservice or "model",
        identity.component or "predictor",
        path,
        f"{_safe(record.request_id or record.id)}-{record.kind.value}.{extension}",
    )
    return "/".join(part for part in parts if part)


def _safe(part: str) -> str:
    """One segment of an object's key: what is no letter, digit or one of ``-_.:`` becomes ``_``; '..' is none."""
    text = "".join(c if c.isascii() and (c.isalnum() or c in "-_.:") else "_" for c in part)[:200]
    return text if text.strip(".") else "_"


def _json_text(value: Mapping[str, str]) -> str:
    return orjson.dumps(dict(value), option=orjson.OPT_SORT_KEYS).decode()
