"""What a DeliverySpec asks for, and which of Trigger's and Broker's counts.

Called by the dispatcher when a Trigger or Broker changes. Source: Knative delivery spec (reference section 4.2, 4.3).
The rule that surprises: ``Trigger.spec.delivery`` replaces ``Broker.spec.delivery`` as a whole, so a Trigger that sets
only ``format`` gets 0 retries; the dead-letter sink alone falls back to the broker's.
Invariant: a policy is always usable: retries >= 0, delays finite and >= 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wakeful.core.delivery import iso_duration


class Backoff(StrEnum):
    """How the wait grows from retry to retry."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class Policy:
    """Delivery settings in seconds. ``timeout_s`` None: the dispatcher's own bound; ``retry_after_max_s`` None: ignore."""

    retries: int = 0
    backoff: Backoff | None = None
    delay_s: float | None = None
    timeout_s: float | None = None
    retry_after_max_s: float | None = None
    is_structured: bool = False


def parse_policy(delivery: Mapping[str, Any]) -> Policy:
    """The policy of a DeliverySpec. Raises ``ValueError`` naming the field; admission refuses such specs already."""
    retries = delivery.get("retry") or 0
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError("retry must be a number of at least 0")
    backoff = delivery.get("backoffPolicy")
    if backoff is not None and backoff not in tuple(Backoff):
        raise ValueError("backoffPolicy must be exponential or linear")
    form = delivery.get("format")
    if form not in (None, "json", "binary"):
        raise ValueError("format must be json or binary")
    return Policy(
        retries,
        Backoff(backoff) if backoff else None,
        _seconds(delivery, "backoffDelay"),
        _seconds(delivery, "timeout") or None,
        _seconds(delivery, "retryAfterMax"),
        form == "json",
    )


def effective(trigger: Mapping[str, Any] | None, broker: Mapping[str, Any] | None) -> Policy:
    """The policy for a Trigger's deliveries: its own DeliverySpec, else the broker's, else no retries."""
    chosen = trigger if trigger is not None else broker
    return parse_policy(chosen) if chosen else Policy()


def dead_letter_uri(trigger_uri: str | None, broker_uri: str | None) -> str | None:
    """The dead-letter sink: the Trigger's, else the broker's, whichever DeliverySpec the retries come from."""
    return trigger_uri or broker_uri or None


def _seconds(delivery: Mapping[str, Any], key: str) -> float | None:
    value = delivery.get(key)
    if value is None:
        return None
    try:
        seconds = iso_duration.parse(str(value))
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    if seconds < 0:
        raise ValueError(f"{key} must not be negative")
    return seconds
