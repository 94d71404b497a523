"""Knative Eventing's webhooks in the API server's own process: defaults, then validation, in Knative's words.

``standalone.apiserver`` composes ``EVENTING_REVIEWERS`` as in-process admission (``standalone/apiserver/ports.py``).
Left out: reading ConfigMaps config-br-defaults and config-features; Knative's built-in defaults hold.
Invariant: a reviewer changes only ``review.obj``, does no I/O, and an object that passed passes again unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from standalone.apiserver.ports import Denied, Review, Reviewer
from wakeful.core.api import eventing
from wakeful.core.api.knative_serving_problem import Problem, render

WEBHOOK = "validation.webhook.eventing.knative.dev"
FEATURES = eventing.Features()


def review_broker(review: Review) -> None:
    """Default and validate a Broker."""
    eventing.default_broker(review.obj)
    eventing.record_user(review.obj, review.old, review.username)
    _deny(review, eventing.validate_broker(review.obj, review.old, FEATURES))


def review_trigger(review: Review) -> None:
    """Default and validate a Trigger."""
    eventing.default_trigger(review.obj)
    eventing.record_user(review.obj, review.old, review.username)
    _deny(review, eventing.validate_trigger(review.obj, review.old, FEATURES))


def _deny(review: Review, problems: Iterable[Problem]) -> None:
    if review.obj["metadata"].get("deletionTimestamp"):
        return
    found = list(problems)
    if found:
        text = f'admission webhook "{WEBHOOK}" denied the request: validation failed: {render(found)}'
        raise Denied(text, reason="BadRequest")


EVENTING_REVIEWERS: Mapping[tuple[str, str], Reviewer] = {
    (eventing.GROUP, "Broker"): review_broker,
    (eventing.GROUP, "Trigger"): review_trigger,
}
