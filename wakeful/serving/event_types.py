"""CloudEvents to users' model code, and from it, as the CloudEvents SDK's own type: what Python code for events knows.

Called by ``model`` (``Context.event``) and ``http_v1`` (a model that answers with an event of its own). Whether a message is an
event, and what is sent, stays ours (docs/decisions/0082). The SDK is imported by the first model that asks for it.

Invariant: what a model answers is sent only if it is an event by our own check.
"""

from __future__ import annotations

import contextlib
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import causation, cloudevents, json_values, v1

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent

JSON, TEXT, BYTES = "application/json", "text/plain; charset=utf-8", "application/octet-stream"


def given(event: cloudevents.Event, payload: Any) -> CloudEvent:
    """``event`` in the SDK's type; ``payload`` is what its data says. Raises ``FailureError`` where the SDK is missing."""
    try:
        from cloudevents.core.v1.event import CloudEvent
    except ImportError as error:
        text = "context.event needs the package cloudevents, which is not here: install it beside the model"
        raise FailureError(FailureKind.INTERNAL, text) from error
    attributes: dict[str, Any] = event.attributes()
    time = attributes.pop("time", None)
    found = CloudEvent(attributes, payload)
    known = found.get_attributes()
    del known["time"]  # the SDK's own now
    with contextlib.suppress(ValueError):  # a leap second, which a datetime does not have
        if time is not None:
            known["time"] = datetime.fromisoformat(time.upper())
    return found


def is_event(answer: object) -> bool:
    """Whether model code answered with an event of the SDK's."""
    module = sys.modules.get("cloudevents.core.v1.event")
    return module is not None and isinstance(answer, module.CloudEvent)


def answered(answer: Any, request: cloudevents.Event | None) -> cloudevents.Event:
    """What a model answered, tied to the event that it answers, if that was one. Raises ``FailureError`` (internal)."""
    try:
        given = dict(answer.get_attributes())
        core = {name: given.pop(name) for name in cloudevents.CORE if given.get(name) is not None}
        given.pop("specversion", None)
        if isinstance(core.get("time"), datetime):
            core["time"] = core["time"].isoformat()
        data, kind = _data(answer.get_data(), core.get("datacontenttype"))
        core["datacontenttype"] = kind
        ties = causation.of_answer(request) if request is not None else {}
        extensions = {
            name: value for name, value in given.items() if name not in cloudevents.CORE and value is not None
        }
        return cloudevents.Event(**core, data=data, extensions={**extensions, **ties})
    except (cloudevents.InvalidEventError, TypeError) as error:
        raise FailureError(
            FailureKind.INTERNAL, f"the model answered with an invalid CloudEvent: {error}"
        ) from error


def _data(data: Any, kind: str | None) -> tuple[bytes | None, str | None]:
    """The data as bytes, and its media type. Text that is to be JSON is taken to be JSON already, as the SDK does."""
    if data is None:
        return None, kind
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data), kind or BYTES
    if isinstance(data, str):
        return json_values.text(data, "the data of the model's event"), kind or TEXT
    if kind is not None and not v1.is_json(kind):
        raise TypeError(
            f"its data is {type(data).__name__} and its datacontenttype {kind}: return bytes or text"
        )
    return json_values.answer(data, "the data of the model's event"), kind or JSON
