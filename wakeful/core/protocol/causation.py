"""Which attributes tie the answer of a model to the event that caused it. Pure.

Used by the model server (on a cluster it answers the broker itself) and by the broker's inference adapter (on one
machine), so that the answer to an event is the same event in both homes. Left out: the answer's id, which each makes.
"""

from __future__ import annotations

from wakeful.core.protocol.cloudevents import Event
from wakeful.core.protocol.cloudevents_types import ExtensionValue

KEPT_EXTENSIONS = ("traceparent", "tracestate", "correlationid", "partitionkey")


def of_answer(event: Event) -> dict[str, ExtensionValue]:
    """Extensions of the answer to an event: trace and correlation stay, and the event itself is named."""
    kept: dict[str, ExtensionValue] = {
        name: value for name, value in event.extensions.items() if name in KEPT_EXTENSIONS
    }
    return kept | {"causationid": event.id, "causationsource": event.source}
