"""An event as an inference request, and the model's answer as an event: the adapter for InferenceService subscribers.

Called by the dispatcher for a Trigger whose subscriber is a ref to an InferenceService without uri, since a broker
treats a plain JSON prediction as a failed delivery. The request is the event's data, verbatim for a JSON object; a bare
JSON array becomes ``{"instances": array}`` (V1). The answer gets type ``io.kserve.inference.response``, source
``io.kserve.inference.NAME`` as KServe's, and an id derived from source, id and Trigger, so that a repeated delivery
answers with the same id. ``causationid``/``causationsource`` name the request; trace and correlation extensions stay.
Invariant: equal (event, trigger, model) give equal reply ids; different ones differ but for a SHA-256 collision.
"""

from __future__ import annotations

import hashlib
import re
import uuid

import orjson

from wakeful.core.delivery import answers
from wakeful.core.delivery.answers import Answer, Delivered
from wakeful.core.delivery.retry import Failure
from wakeful.core.protocol import causation, cloudevents
from wakeful.core.protocol.cloudevents import DEFAULT_LIMITS, Event, InvalidEventError, Limits
from wakeful.core.protocol.cloudevents_types import check_media_type, is_json_type

RESPONSE_TYPE = "io.kserve.inference.response"
SOURCE_PREFIX = "io.kserve.inference."
_V1_PREDICT = re.compile(r"/v1/models/[^/]+:predict/?\Z")


class NotAnInferenceError(ValueError):
    """The event's data cannot be an inference request; one sentence."""


def request_body(event: Event, path: str) -> bytes:
    """The JSON body to POST to ``path``. Raises ``NotAnInferenceError``."""
    if event.data is None:
        raise NotAnInferenceError("the event has no data: an inference needs a JSON object with its inputs")
    if event.datacontenttype is not None and not is_json_type(event.datacontenttype):
        raise NotAnInferenceError(
            f"datacontenttype is {event.datacontenttype[:64]}: an InferenceService takes application/json"
        )
    try:
        value = orjson.loads(event.data)
    except orjson.JSONDecodeError as error:
        raise NotAnInferenceError(f"the event's data is not JSON: {error}") from None
    if isinstance(value, dict):
        return event.data
    if isinstance(value, list) and _V1_PREDICT.search(path):
        return b'{"instances":' + event.data + b"}"
    raise NotAnInferenceError("the event's data must be a JSON object, the body of an inference request")


def reply_id(event: Event, trigger_uid: str) -> str:
    """The id of the answer to ``event`` by way of that Trigger: a UUID of version 8 from a SHA-256."""
    digest = hashlib.sha256()
    for part in (event.source, event.id, trigger_uid):
        text = part.encode()
        digest.update(len(text).to_bytes(8, "big") + text)
    raw = bytearray(digest.digest()[:16])
    raw[6] = (raw[6] & 0x0F) | 0x80
    raw[8] = (raw[8] & 0x3F) | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def read_answer(
    event: Event,
    answer: Answer,
    destination: str,
    model: str,
    trigger_uid: str,
    at: str,
    limits: Limits = DEFAULT_LIMITS,
) -> Delivered | Failure:
    """The outcome of an inference: a model that answers with an event of its own is taken at its word."""
    if not answers.is_success(answer):
        return answers.refused(answer, destination)
    if answer.is_cut:
        return answers.too_large(destination, limits)
    try:
        if cloudevents.mode_of(answer.headers) is not None:
            return answers.read_answer(answer, destination, limits)
    except InvalidEventError:
        return answers.read_answer(answer, destination, limits)
    if not answer.body:
        return Delivered(None)
    reply = Event(
        id=reply_id(event, trigger_uid),
        source=SOURCE_PREFIX + model,
        type=RESPONSE_TYPE,
        data=answer.body,
        datacontenttype=_content_type(answer),
        time=at,
        extensions=causation.of_answer(event),
    )
    return Delivered(reply)


def _content_type(answer: Answer) -> str:
    given = (answer.header("content-type") or "").strip()
    try:
        check_media_type("datacontenttype", given)
    except InvalidEventError:
        return "application/octet-stream" if given else "application/json"
    return given
