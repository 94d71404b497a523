"""A batch of CloudEvents on a predict route or on ``POST /``: each event is asked for itself, the answer is a batch of events.

Called by ``http_ask`` for ``application/cloudevents-batch+json``. Events are asked ``AT_ONCE`` at a time, so that models that
batch answer them together while one request cannot fill the queue alone. A batch that is not valid is refused as a
whole before anything is asked. An event that its model refuses is answered by an event of type ``http_events.ERROR_TYPE``
with the status and the error in its place; only where nothing could be answered the request fails, as its first event did.

Invariant: the answer has one event for each that came, in their order, and names it (``causationid``).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from wakeful.core.errors import FailureError, InvalidError
from wakeful.core.protocol import cloudevents, problem
from wakeful.serving import http_events, http_replies
from wakeful.serving.dataplane import DataPlane, Verb
from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.http_v1 import V1Edge
from wakeful.serving.model import Context
from wakeful.serving.registry import Entry

AT_ONCE = 32
MAX_EVENTS = 1_000


def decode(headers: Headers, body: bytes) -> list[cloudevents.Event]:
    """The events of a batch. Raises ``InvalidError``, which names the event's position."""
    limits = cloudevents.Limits(max_body_bytes=len(body) + 1, max_batch=MAX_EVENTS)
    try:
        return cloudevents.decode_batch(list(headers.pairs), body, limits)
    except cloudevents.InvalidEventError as error:
        raise InvalidError(f"not a valid batch of CloudEvents: {error}") from error


class Batch:
    """The events of one request. ``limit`` is the server's, of calls at one moment; 0: none."""

    def __init__(self, edge: V1Edge, plane: DataPlane, entry: Entry, verb: Verb, limit: int) -> None:
        self._edge = edge
        self._plane = plane
        self._entry = entry
        self._verb = verb
        self._places = asyncio.Semaphore(min(limit or AT_ONCE, AT_ONCE))

    async def answer(self, request: Request, context: Context) -> Reply:
        """The reply. Raises ``FailureError`` where the batch is wrong, or no event of it could be answered."""
        context.protocol = "cloudevents"
        events = await self._plane.aside(partial(decode, request.headers, request.body))
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._ask(event, request.headers, context)) for event in events]
        outcomes = [task.result() for task in asked]
        failures = [outcome for outcome in outcomes if isinstance(outcome, FailureError)]
        if failures and len(failures) == len(outcomes):
            raise failures[0]
        answers = [
            self._refusal(event, outcome) if isinstance(outcome, FailureError) else outcome
            for event, outcome in zip(events, outcomes, strict=True)
        ]
        _, body = await self._plane.aside(partial(cloudevents.encode_batch, answers))
        return Reply(200, {"Content-Type": http_events.BATCH}, body)

    async def _ask(
        self, event: cloudevents.Event, headers: Headers, whole: Context
    ) -> cloudevents.Event | FailureError:
        context = Context(headers, whole.request_id, "cloudevents")
        context.deadline = whole.deadline
        async with self._places:
            try:
                context.received = received = http_events.unwrapped(event)
                payload, inference = self._edge.payload_of(received)
                result = await self._plane.call(self._entry, self._verb, payload, context)
                return self._edge.event_of(self._entry, received, inference, result)
            except Exception as error:
                return http_replies.failure(error, context.request_id)

    def _refusal(self, event: cloudevents.Event, error: FailureError) -> cloudevents.Event:
        rendered = problem.render(error)
        value: dict[str, Any] = {"status": rendered.status, **rendered.body}
        return http_events.answer(
            event, self._entry.model.name, value, self._edge.naming, http_events.ERROR_TYPE
        )
