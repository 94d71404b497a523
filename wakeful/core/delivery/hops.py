"""What a broker does to an event that enters: count the hop down, stamp the arrival, make every extension a string.

Called by the ingress for producers' events and by the dispatcher for replies. Source: Knative (reference 4.4, 4.5).
``knativebrokerttl``: absent or no integer becomes 255, else one less; at 0 the event is refused, which ends loops.
Worked example: an incoming 2 leaves as 1; an incoming 1, 0 or -5 is refused. Unlike Knative a forged value above the
maximum is brought down to it. Invariant: an admitted event has 1 <= TTL <= 255 and only string extensions.
"""

from __future__ import annotations

import re
from dataclasses import replace

from wakeful.core.protocol.cloudevents import Event
from wakeful.core.protocol.cloudevents_types import render_value

TTL = "knativebrokerttl"
ARRIVAL = "knativearrivaltime"
MAX_TTL = 255
_INTEGER = re.compile(r"[+-]?\d{1,18}\Z", re.ASCII)


def ttl_of(event: Event) -> int | None:
    """The hops left, or None when the event does not carry a number."""
    value = event.extensions.get(TTL)
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    return int(value) if _INTEGER.match(value) else None


def admit(event: Event, arrival: str) -> Event | None:
    """``event`` as the broker keeps it (``arrival``: RFC 3339), or None when its hops are used up."""
    ttl = ttl_of(event)
    left = MAX_TTL if ttl is None else min(ttl - 1, MAX_TTL)
    if left <= 0:
        return None
    extensions = {name: render_value(value) for name, value in event.extensions.items()}
    return replace(event, extensions=extensions | {TTL: str(left), ARRIVAL: arrival})


def for_subscriber(event: Event) -> Event:
    """``event`` as a subscriber sees it: without the TTL."""
    return replace(event, extensions={name: value for name, value in event.extensions.items() if name != TTL})


def for_reply(reply: Event, original: Event) -> Event:
    """``reply`` with the hops that ``original`` had left, whatever the subscriber wrote there."""
    return replace(reply, extensions={**reply.extensions, TTL: original.extensions.get(TTL, str(MAX_TTL))})
