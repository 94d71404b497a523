"""The event a dead-letter sink receives: the original one and what went wrong with it, in three extensions.

Called by the dispatcher when retrying is over. Source: Knative (reference section 4.8). The body is cut to 768 bytes
and then encoded, which gives at most the documented 1024 characters; Knative's own dispatcher encodes first and fails
on longer bodies. Unlike Knative, an answer that is no CloudEvent and an unresolved subscriber get the extensions too.
Invariant: the result is a valid event with the id, source, type and data of the original.
"""

from __future__ import annotations

import base64
import re
from dataclasses import replace

from wakeful.core.delivery.retry import Failure
from wakeful.core.protocol.cloudevents import Event

MAX_BODY_BYTES = 768
NO_ANSWER_CODE = 500
_CONTROL = re.compile(r"[^\x20-\x7e]")


def mark(event: Event, failure: Failure) -> Event:
    """``event`` with ``knativeerrordest``, ``knativeerrorcode`` and, unless it would be empty, ``knativeerrordata``."""
    body = failure.body if failure.status is not None else f"dispatch error: {failure.error}".encode()
    extensions = dict(event.extensions)
    extensions["knativeerrorcode"] = str(failure.status or NO_ANSWER_CODE)
    destination = _CONTROL.sub("", failure.destination)
    if destination:
        extensions["knativeerrordest"] = destination
    if body:
        extensions["knativeerrordata"] = base64.b64encode(body[:MAX_BODY_BYTES]).decode()
    return replace(event, extensions=extensions)
