"""CloudEvents on the predict routes and on ``POST /``: the event's data is the payload, the answer is an event.

Used by ``http_v1``. Source: kserve.md 5.6; the codec is ``wakeful.core.protocol.cloudevents``, so that an event is
admitted here by the same rules as at the broker. Better than the source: a request that carries some ``ce-`` headers
of an event but not all is refused with the attribute's name, instead of being predicted as if it were none.
The answer names the event that caused it (``causationid``, ``causationsource``), as the broker's adapter does.
Environment: ``CE_TYPE``, ``CE_SOURCE`` (of answers), ``CE_MERGE=true`` (extensions of the request are kept).

Invariant: the answer has a new id and time, and is structured exactly if the request's Content-Type was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import causation, cloudevents, json_values, spaced_json, v1
from wakeful.core.protocol.problem import parse_json
from wakeful.serving import ids
from wakeful.serving.exchange import Headers

RESPONSE_TYPE = "io.kserve.inference.response"
SOURCE_PREFIX = "io.kserve.inference."
REQUIRED_HEADERS = ("ce-specversion", "ce-id", "ce-source", "ce-type")
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
EVENTS = frozenset({STRUCTURED, BATCH})
ERROR_TYPE = "io.kserve.inference.error"
"""Of the events that stand for a failure in the answer to a batch."""
KSERVE_MEMBERS = frozenset({"time", "type", "source", "id", "specversion", "data"})


@dataclass(frozen=True, slots=True)
class Naming:
    """What answers are called, from the environment."""

    type: str = RESPONSE_TYPE
    source: str = ""
    is_merging: bool = False


def naming(environ: Mapping[str, str]) -> Naming:
    """The naming of this process."""
    return Naming(
        environ.get("CE_TYPE") or RESPONSE_TYPE,
        environ.get("CE_SOURCE") or "",
        environ.get("CE_MERGE", "").lower() == "true",
    )


@dataclass(frozen=True, slots=True)
class Received:
    """An event that came in, its payload for the model, and how to answer."""

    event: cloudevents.Event
    payload: Any
    is_structured: bool


def receive(headers: Headers, body: bytes) -> Received | None:
    """The event of a request, or None when it carries none. Raises ``InvalidError``."""
    content_type = headers.get("content-type", "")
    is_structured = v1.media_type(content_type) == STRUCTURED
    if not is_structured and not _has_event_headers(headers) and not _looks_structured(content_type, body):
        return None
    pairs = list(headers.pairs)
    if not is_structured and not _has_event_headers(headers):
        pairs = [("content-type", STRUCTURED)]
    try:
        event = cloudevents.decode(pairs, body, cloudevents.Limits(max_body_bytes=len(body) + 1))
    except cloudevents.InvalidEventError as error:
        raise InvalidError(f"not a valid CloudEvent: {error}") from error
    return Received(event, _payload(event), is_structured)


def is_batch(headers: Headers) -> bool:
    """Whether a body under these headers is a batch of events."""
    return v1.media_type(headers.get("content-type", "")) == BATCH


def unwrapped(event: cloudevents.Event) -> Received:
    """One event of a batch. Raises ``InvalidError`` where its data is no payload."""
    return Received(event, _payload(event), is_structured=True)


def _has_event_headers(headers: Headers) -> bool:
    present = [name for name in REQUIRED_HEADERS if name in headers]
    if present and len(present) < len(REQUIRED_HEADERS):
        missing = ", ".join(name for name in REQUIRED_HEADERS if name not in headers)
        raise InvalidError(f"not a valid CloudEvent: the request has {', '.join(present)} but not {missing}")
    return bool(present)


def _looks_structured(content_type: str, body: bytes) -> bool:
    """KServe's second way: plain JSON with every member of an event. A cheap search comes before the parse."""
    if not (b'"specversion"' in body and b'"source"' in body and v1.holds_json(body, content_type)):
        return False
    value = parse_json(body, "the request body")
    return isinstance(value, dict) and value.keys() >= KSERVE_MEMBERS


def _payload(event: cloudevents.Event) -> Any:
    data = event.data or b""
    content_type = event.datacontenttype or "application/json"
    if not v1.holds_json(data, content_type):
        return data
    if not data:
        raise InvalidError("the event has no data: a model needs a payload")
    return parse_json(data, "Failed to decode or parse binary json cloudevent: the event's data")


def answer(
    request: cloudevents.Event, model: str, result: Any, names: Naming, kind: str = ""
) -> cloudevents.Event:
    """The event that answers ``request`` with ``result`` (any JSON value, or bytes); ``kind``: its type, if not the usual one.

    Raises ``FailureError`` (internal) for what JSON has no form for.
    """
    is_raw = isinstance(result, bytes)
    data = result if is_raw else spaced_json.spaced(json_values.answer(result))  # KServe's separators
    return cloudevents.Event(
        id=ids.answer_id(),
        source=names.source or SOURCE_PREFIX + model,
        type=kind or names.type,
        time=datetime.now(UTC).isoformat(),
        data=data,
        datacontenttype="application/octet-stream" if is_raw else "application/json",
        extensions={**(request.extensions if names.is_merging else {}), **causation.of_answer(request)},
    )


def rendered(event: cloudevents.Event, is_structured: bool) -> tuple[dict[str, str], bytes]:
    """Headers and body of an answer in the mode of its request."""
    if not is_structured:
        return cloudevents.encode_binary(event)
    headers, body = cloudevents.encode_structured(event)
    headers["content-type"] = STRUCTURED
    return headers, body
