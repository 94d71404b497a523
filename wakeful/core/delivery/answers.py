"""What a subscriber's HTTP answer means: delivered, delivered with a reply event, or failed.

Called by the dispatcher after each attempt. Source: Knative's filter service (reference section 4.5). A 2xx with a body
that is not a CloudEvent is a failure (502), because Knative treats it so: plain JSON answers need the inference adapter.
Redirects are not followed; a 3xx is a failure that is not retried.
Invariant: every answer gives exactly one outcome, and a failure always names the destination.
"""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.core.delivery.retry import Failure
from wakeful.core.protocol import cloudevents
from wakeful.core.protocol.cloudevents import DEFAULT_LIMITS, Event, InvalidEventError, Limits

BAD_GATEWAY = 502


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. ``is_cut`` when the body was longer than the dispatcher reads."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    is_cut: bool = False

    def header(self, name: str) -> str | None:
        """The first header of that lower-case name."""
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The event has arrived; ``reply`` goes back into the broker."""

    reply: Event | None


def read_answer(answer: Answer, destination: str, limits: Limits = DEFAULT_LIMITS) -> Delivered | Failure:
    """The outcome of an attempt that got an answer."""
    if not is_success(answer):
        return refused(answer, destination)
    if answer.is_cut:
        return too_large(destination, limits)
    try:
        if cloudevents.mode_of(answer.headers) is None:
            if not answer.body:
                return Delivered(None)
            text = "the subscriber answered with a body that is not a CloudEvent: answer with an event or an empty body"
            return Failure(destination, BAD_GATEWAY, text, text.encode())
        return Delivered(cloudevents.decode(answer.headers, answer.body, limits))
    except InvalidEventError as error:
        text = f"the subscriber answered with an invalid CloudEvent: {error}"
        return Failure(destination, BAD_GATEWAY, text, text.encode())


def is_success(answer: Answer) -> bool:
    """True for 2xx."""
    return 200 <= answer.status <= 299


def refused(answer: Answer, destination: str) -> Failure:
    """The failure of an answer that is no 2xx."""
    return Failure(
        destination, answer.status, f"status {answer.status}", answer.body, answer.header("retry-after")
    )


def too_large(destination: str, limits: Limits) -> Failure:
    """The failure of a 2xx whose body was longer than is read."""
    text = f"the subscriber's answer is larger than {limits.max_body_bytes} bytes"
    return Failure(destination, BAD_GATEWAY, text, text.encode())
