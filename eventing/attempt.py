"""One attempt of one delivery: from a leased event to the settlement that follows from the subscriber's answer.

Called by the dispatcher for each lease; calls the Sink and the pure decisions of ``wakeful.core.delivery``. It does not
touch the store: it returns what to settle. Order: Trigger still there, filter (again, as Knative does), subscriber
resolved, call, meaning of the answer, retry decision.
Invariant: every leased delivery ends in exactly one settlement, and each failed call is counted; the log says the same
thing of one Trigger at most once a second and then how many lines it left out (``unsaid``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from eventing.metrics import Metrics
from eventing.ports import (
    Again,
    Call,
    Done,
    Leased,
    NoWay,
    Publication,
    Settlement,
    Sink,
    Stage,
    ToDeadLetter,
)
from eventing.quiet import Quiet
from eventing.routes import Routes, Subscription
from wakeful.core.api import instants
from wakeful.core.delivery import answers, dead_letter, filters, hops, inference, retry
from wakeful.core.delivery.answers import Answer, Delivered
from wakeful.core.delivery.retry import Failure, Verdict
from wakeful.core.protocol import cloudevents
from wakeful.core.protocol.cloudevents import Event, Limits
from wakeful.kit import logs

CRASH_ALLOWANCE = 3
"""Attempts beyond the policy's before an event that never gets an outcome (it kills us) is taken for failed."""
UNRESOLVED = 404
NO_WAY_WAIT_S = 0.5
SINK_WAIT_S, SINK_TRIES = 2.0, 1800
"""How often, and how many times (an hour in all), a named dead-letter sink without an address is looked for."""


@dataclass(frozen=True, slots=True)
class Result:
    """What to settle, and the outcome to count once the settlement took effect ('' when it goes on)."""

    settlement: Settlement
    outcome: str


class Attempts:
    """Makes attempts. Stateless but for what it is composed of."""

    def __init__(
        self,
        sink: Sink,
        routes: Routes,
        metrics: Metrics,
        clock: Callable[[], float],
        limits: Limits,
        timeout_s: float,
    ) -> None:
        self._sink = sink
        self._routes = routes
        self._metrics = metrics
        self._clock = clock
        self._limits = limits
        self._timeout_s = timeout_s
        self._log = logs.get("dispatcher")
        self._quiet = Quiet()

    async def make(self, item: Leased, subscription: Subscription) -> Result:
        """Try ``item`` once."""
        if item.stage is Stage.DEAD_LETTER:
            return await self._to_dead_letter_sink(item, subscription)
        if not filters.wants(subscription.filter, item.event):
            return Result(Done(), "filtered")
        if item.attempts > subscription.policy.retries + 1 + CRASH_ALLOWANCE:
            crashed = Failure(subscription.subscriber_uri or "", None, "the event never got an outcome")
            return self._failed(item, subscription, crashed)
        outcome = await self._to_subscriber(item, subscription)
        if isinstance(outcome, NoWay):
            return self._no_attempt(item, outcome)
        if isinstance(outcome, Failure):
            return self._failed(item, subscription, outcome)
        if outcome.reply is None:
            return Result(Done(), "delivered")
        return self._replied(item, subscription, outcome.reply)

    def refused_reply(self, item: Leased, subscription: Subscription, message: str) -> Result:
        """The result when the broker had no room for the reply."""
        failure = Failure(self._routes.reply_url(item.broker), 429, message, message.encode())
        return self._failed(item, subscription, failure)

    async def _to_subscriber(self, item: Leased, subscription: Subscription) -> Delivered | Failure | NoWay:
        url = subscription.subscriber_uri
        if url is None:
            text = "the Trigger's subscriber is not resolved: see its status"
            return Failure("", UNRESOLVED, text, text.encode())
        event = hops.for_subscriber(item.event)
        if subscription.model is not None:
            return await self._infer(item, subscription, event, url)
        headers, body = self._encode(event, subscription)
        answer = await self._call(item, subscription, url, {**headers, "prefer": "reply"}, body)
        if isinstance(answer, str):
            return Failure(url, None, answer)
        if isinstance(answer, NoWay):
            return answer
        return answers.read_answer(answer, url, self._limits)

    async def _infer(
        self, item: Leased, subscription: Subscription, event: Event, url: str
    ) -> Delivered | Failure | NoWay:
        try:
            body = inference.request_body(event, urlsplit(url).path)
        except inference.NotAnInferenceError as error:
            return Failure(url, 400, str(error), str(error).encode())
        headers = {"content-type": "application/json"}
        traceparent = event.extensions.get("traceparent")
        if isinstance(traceparent, str):
            headers["traceparent"] = traceparent
        answer = await self._call(item, subscription, url, headers, body)
        if isinstance(answer, str):
            return Failure(url, None, answer)
        if isinstance(answer, NoWay):
            return answer
        model = subscription.model or ""
        at = instants.render_micro(instants.of_unix(self._clock()))
        return inference.read_answer(event, answer, url, model, subscription.uid, at, self._limits)

    async def _to_dead_letter_sink(self, item: Leased, subscription: Subscription) -> Result:
        url = subscription.dead_letter_uri
        if url is None and subscription.names_dead_letter and item.attempts <= SINK_TRIES:
            return Result(Again(self._clock() + SINK_WAIT_S, item.attempts), "")
        if url is None:
            return self._lost(item, "the dead-letter sink was removed, or never got an address")
        event = replace(item.event, extensions={**item.event.extensions, **item.marks})
        headers, body = self._encode(event, subscription)
        answer = await self._call(item, subscription, url, headers, body)
        if isinstance(answer, NoWay):
            return self._no_attempt(item, answer)
        if isinstance(answer, Answer) and answers.is_success(answer):
            return Result(Done(), "dead_lettered")
        failure = Failure(url, None, answer) if isinstance(answer, str) else answers.refused(answer, url)
        decision = self._decide(item, subscription, failure, has_dead_letter=False)
        if decision.verdict is Verdict.RETRY:
            return Result(Again(self._clock() + decision.wait_s, item.attempts), "")
        return self._lost(item, decision.sentence)

    def _encode(self, event: Event, subscription: Subscription) -> tuple[dict[str, str], bytes]:
        if subscription.policy.is_structured:
            return cloudevents.encode_structured(event)
        return cloudevents.encode_binary(event)

    async def _call(
        self, item: Leased, subscription: Subscription, url: str, headers: Mapping[str, str], body: bytes
    ) -> Answer | NoWay | str:
        """POST and count it."""
        timeout_s = subscription.policy.timeout_s or self._timeout_s
        sent = {**dict(item.headers), **headers, "kn-namespace": subscription.namespace}
        started = time.monotonic()
        answer = await self._sink.deliver(Call(url, sent, body, timeout_s))
        if isinstance(answer, NoWay):
            return answer
        labels = (subscription.namespace, subscription.trigger)
        self._metrics.duration.labels(*labels).observe(time.monotonic() - started)
        code = "0" if isinstance(answer, str) else str(answer.status)
        self._metrics.attempts.labels(*labels, code).inc()
        return answer

    def _replied(self, item: Leased, subscription: Subscription, reply: Event) -> Result:
        """The reply goes into the broker in the transaction that ends the delivery."""
        admitted = hops.admit(
            hops.for_reply(reply, item.event), instants.render_micro(instants.of_unix(self._clock()))
        )
        if admitted is None:
            text = f"{hops.TTL} is used up: the reply would go round in a loop"
            failure = Failure(self._routes.reply_url(item.broker), 400, text, text.encode())
            return self._failed(item, subscription, failure)
        reply_to = Publication(item.broker, admitted, (), item.headers)
        return Result(self.readdress(item, subscription, Done((reply_to,))), "replied")

    def readdress(self, item: Leased, subscription: Subscription, settlement: Settlement) -> Settlement:
        """``settlement`` with its replies going to who wants them now: Triggers come and go while a disk is full."""
        if not isinstance(settlement, Done):
            return settlement
        besides = item.consumer if subscription.model is not None else ""
        replies = (
            replace(reply, consumers=self._routes.consumers_for(reply.broker, reply.event, besides))
            for reply in settlement.replies
        )
        return Done(tuple(replies))

    def _no_attempt(self, item: Leased, what: NoWay) -> Result:
        unsaid = self._quiet.unsaid("no way", self._clock())
        if unsaid is not None:
            self._log.warning("no way to subscribers", why=what.reason, unsaid=unsaid)
        return Result(Again(self._clock() + NO_WAY_WAIT_S, item.attempts - 1), "")

    def _failed(self, item: Leased, subscription: Subscription, failure: Failure) -> Result:
        has_dead_letter = subscription.names_dead_letter
        decision = self._decide(item, subscription, failure, has_dead_letter)
        if decision.verdict is Verdict.RETRY:
            return Result(Again(self._clock() + decision.wait_s, item.attempts), "")
        if decision.verdict is Verdict.DROP:
            return self._lost(item, decision.sentence)
        extensions = dead_letter.mark(item.event, failure).extensions
        marks = {name: str(value) for name, value in extensions.items() if name.startswith("knativeerror")}
        return Result(ToDeadLetter(marks), "")

    def _decide(
        self, item: Leased, subscription: Subscription, failure: Failure, has_dead_letter: bool
    ) -> retry.Decision:
        at = datetime.fromtimestamp(self._clock(), UTC)
        decision = retry.decide(subscription.policy, item.attempts, failure, has_dead_letter, at)
        unsaid = self._quiet.unsaid(f"failed {item.consumer}", self._clock())
        if unsaid is None:
            return decision
        self._log.warning(
            "delivery failed",
            unsaid=unsaid,
            consumer=item.consumer,
            event_id=item.event.id[:128],
            stage=item.stage.name,
            destination=failure.destination,
            status=failure.status,
            error=failure.error[:300],
            decision=decision.verdict,
            reason=decision.reason,
            sentence=decision.sentence,
        )
        return decision

    def _lost(self, item: Leased, why: str) -> Result:
        unsaid = self._quiet.unsaid(f"lost {item.consumer}", self._clock())
        if unsaid is not None:
            self._log.error(
                "event lost",
                unsaid=unsaid,
                consumer=item.consumer,
                event_id=item.event.id[:128],
                source=item.event.source[:128],
                why=why,
            )
        return Result(Done(), "lost")
