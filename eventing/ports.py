"""What the event path needs from a broker's store: the Broker port, and the values that cross it.

Spoken by the ingress (publish), the dispatcher (lease, settle) and the watcher (forget, consumers); implemented by
``eventing.brokers.sqlite``. A consumer is one Trigger incarnation (``NAMESPACE/NAME/UID``); a broker is ``NAMESPACE/NAME``.
Instants are Unix seconds, because they outlive the process.

Invariant, held by every adapter and checked by ``tests/contracts/brokers``: what ``publish`` returned from is delivered
to each named consumer at least once, and never again after a settlement with ``Done`` that answered True.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from wakeful.core.delivery.answers import Answer
from wakeful.core.protocol.cloudevents import Event


class FullError(Exception):
    """The broker's bound is reached; nothing was stored. Try again after ``retry_after_s``."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreError(Exception):
    """The store cannot write (disk full, read-only, broken); nothing was stored. One sentence."""


class Stage(IntEnum):
    """Where a delivery is headed."""

    SUBSCRIBER = 0
    DEAD_LETTER = 1


@dataclass(frozen=True, slots=True)
class Publication:
    """An event and who gets it."""

    broker: str
    event: Event
    consumers: tuple[str, ...]
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Leased:
    """One delivery in the hands of a holder until its lease ends. ``attempts`` counts this one."""

    id: int
    token: int
    consumer: str
    broker: str
    event: Event
    attempts: int
    stage: Stage = Stage.SUBSCRIBER
    headers: tuple[tuple[str, str], ...] = ()
    marks: Mapping[str, str] = field(default_factory=dict)
    """Dead-letter extensions, for stage DEAD_LETTER."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What ``lease`` found; ``next_due_at`` is when the consumer's next delivery is due, None without any."""

    items: tuple[Leased, ...]
    next_due_at: float | None


@dataclass(frozen=True, slots=True)
class Done:
    """Delivered, or given up: the delivery ends; ``replies`` are published with it or not at all."""

    replies: tuple[Publication, ...] = ()


@dataclass(frozen=True, slots=True)
class Again:
    """Due again at ``at``, with ``attempts`` made so far."""

    at: float
    attempts: int


@dataclass(frozen=True, slots=True)
class ToDeadLetter:
    """Goes on to the dead-letter sink, attempts counted from 0, with these extensions."""

    marks: Mapping[str, str]


Settlement = Done | Again | ToDeadLetter


@dataclass(frozen=True, slots=True)
class Depth:
    """What a broker holds."""

    deliveries: int
    bytes: int


class Broker(Protocol):
    """A durable queue of deliveries for each consumer."""

    async def publish(self, publication: Publication) -> None:
        """Store durably, then return. Raises ``FullError``, ``StoreError``."""
        ...

    async def lease(self, consumer: str, limit: int, lease_s: float) -> Batch:
        """Up to ``limit`` due deliveries, oldest due first, invisible to others for ``lease_s`` seconds."""
        ...

    async def settle(self, leased: Leased, settlement: Settlement) -> bool:
        """End or postpone a delivery. False, and no effect, when the lease was lost (fencing).

        Raises ``FullError`` when a reply does not fit; the delivery then stays leased.
        """
        ...

    def depth(self, broker: str) -> Depth:
        """What is stored for ``broker`` now, leased deliveries included."""
        ...

    async def forget(self, consumers: Sequence[str]) -> int:
        """Drop all deliveries of consumers that no longer exist; how many there were."""
        ...

    async def consumers(self) -> set[str]:
        """Every consumer that has deliveries."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One POST to a subscriber, bounded by ``timeout_s`` in all."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float


@dataclass(frozen=True, slots=True)
class NoWay:
    """The platform's own gateway is away: nobody was asked, so that this was no attempt of the event."""

    reason: str


class Sink(Protocol):
    """The way to subscribers."""

    async def deliver(self, call: Call) -> Answer | NoWay | str:
        """The answer, or one phrase that says why there was none."""
        ...
