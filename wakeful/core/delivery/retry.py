"""After a failed attempt: try again and when, hand the event to the dead-letter sink, or give it up.

Called by the dispatcher. Source: Knative delivery (reference section 4.7). Total tries are 1 + ``retries``. Retried:
no answer, status >= 500, 404, 408, 409, 429; anything else fails at once. The wait before retry k with delay d is
exponential d*2^(k-1) or linear d*(k-1) (so the first linear retry is immediate, as Knative does, not as its text says).
Worked example: 10 exponential retries of 0.2 s wait 0.2*(2^10-1) = 204.6 s in total.
Invariant: at most ``retries`` decisions to retry an event, then exactly one terminal decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from wakeful.core.delivery.policy import Backoff, Policy

MAX_WAIT_S = 30 * 86_400.0
_RETRIED_BELOW_500 = frozenset({404, 408, 409, 429})


class Reason(StrEnum):
    """Why a delivery goes the way it goes: label of metrics, key of logs."""

    RETRY_STATUS = "retry_status"
    RETRY_NO_ANSWER = "retry_no_answer"
    EXHAUSTED = "exhausted"
    NOT_RETRYABLE = "not_retryable"


class Verdict(StrEnum):
    """What happens next."""

    RETRY = "retry"
    DEAD_LETTER = "dead_letter"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt. ``status`` None: no HTTP answer, ``error`` says why. ``destination`` is the URL that failed."""

    destination: str
    status: int | None
    error: str = ""
    body: bytes = b""
    retry_after: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """``wait_s`` counts only for RETRY. ``sentence`` is for logs and people."""

    verdict: Verdict
    reason: Reason
    wait_s: float
    sentence: str


def is_retryable(status: int | None) -> bool:
    """Whether an attempt that ended so is repeated; None is no answer at all."""
    return status is None or status >= 500 or status in _RETRIED_BELOW_500


def backoff_s(policy: Policy, retry: int) -> float:
    """Seconds to wait before retry number ``retry`` (1 is the first)."""
    if policy.backoff is None or policy.delay_s is None:
        return 0.0
    if policy.backoff is Backoff.LINEAR:
        return min(policy.delay_s * (retry - 1), MAX_WAIT_S)
    return min(policy.delay_s * 2.0 ** min(retry - 1, 64), MAX_WAIT_S)


def retry_after_s(text: str | None, at: datetime) -> float:
    """Seconds a ``Retry-After`` header (seconds or HTTP date) asks for from ``at``; 0 when absent or unreadable."""
    value = (text or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        due = datetime.strptime(value, "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return 0.0
    return max((due - at).total_seconds(), 0.0)


def decide(policy: Policy, attempts: int, failure: Failure, has_dead_letter: bool, at: datetime) -> Decision:
    """What to do after attempt number ``attempts`` (1 is the first) failed at ``at`` (aware)."""
    what = f"status {failure.status}" if failure.status is not None else failure.error or "no answer"
    last = Verdict.DEAD_LETTER if has_dead_letter else Verdict.DROP
    if not is_retryable(failure.status):
        return Decision(last, Reason.NOT_RETRYABLE, 0.0, f"{what} is not retried")
    if attempts > policy.retries:
        return Decision(last, Reason.EXHAUSTED, 0.0, f"{what} on try {attempts} of {policy.retries + 1}")
    wait_s = backoff_s(policy, attempts)
    if policy.retry_after_max_s is not None and failure.status in (429, 503):
        wait_s = max(wait_s, min(retry_after_s(failure.retry_after, at), policy.retry_after_max_s))
    reason = Reason.RETRY_NO_ANSWER if failure.status is None else Reason.RETRY_STATUS
    sentence = f"{what} on try {attempts} of {policy.retries + 1}; next in {wait_s:g} s"
    return Decision(Verdict.RETRY, reason, wait_s, sentence)
