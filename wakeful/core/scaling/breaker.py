"""Slots and queue of one revision: who gets a pod now, who waits, who is refused. Pure; one owner calls it.

The gateway (through ``activator_hooks.hold``) calls it for every request. It plays Knative's revision breaker, pod
trackers and queue-proxy breakers at once (spec 3.3, 3.6), with one queue for all pods of a revision instead of one
per pod, so that a request never waits behind a busy pod while another is free.

Theory: with containerConcurrency CC >= 1 a pod holds at most CC requests, the rest waits in arrival order. CC = 0
means no limit: requests wait only while there is no pod. Bounds of the queue: ``queue_limit`` requests and
``queue_limit_bytes``; where the activator would be out of the path (target burst capacity 0 and a pod is there), the
queue-proxies' bound of 10 x CC x pods holds if it is lower. Worked number: CC 2, 3 pods, burst capacity 0: 6 in
flight, 60 waiting, the 67th is refused.

Invariant: nobody waits while a slot is free, and those who wait leave in the order they came.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

QUEUE_PER_SLOT = 10
FIRST_FREE_BELOW = 4
"""CC 1 to 3: first pod in address order with a free slot; from 4 on: round robin (spec 3.3)."""


class Refusal(StrEnum):
    """Why a request may not wait."""

    QUEUE_FULL = "QueueFull"
    BYTES_FULL = "BytesFull"


@dataclass(frozen=True, slots=True)
class Admitted:
    """Send the request to ``pod`` now; call ``leave(pod)`` when it has ended."""

    pod: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits; ``position`` 1 is the next to go."""

    position: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The queue is at its bound: ``waiting`` of ``limit`` (requests or bytes, by ``reason``)."""

    reason: Refusal
    waiting: int
    limit: int


@dataclass(frozen=True, slots=True)
class Handover:
    """A waiting request that goes to ``pod`` now."""

    ticket: int
    pod: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one revision's queue. ``slots`` is containerConcurrency, 0 for no limit."""

    slots: int = 0
    queue_limit: int = 10_000
    queue_limit_bytes: int = 64 << 20
    is_direct_when_ready: bool = False
    """Target burst capacity is 0: the activator leaves the path as soon as a pod is ready."""


class Breaker:
    """The state machine. Methods return outputs; it calls nobody."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._pods: tuple[str, ...] = ()
        self._in_flight: dict[str, int] = {}
        self._queue: dict[int, int] = {}
        self._queued_bytes = 0
        self._next = 0

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._queue)

    @property
    def waiting_bytes(self) -> int:
        """Their sizes added up."""
        return self._queued_bytes

    @property
    def in_flight(self) -> int:
        """Requests at pods, those that are being drained included."""
        return sum(self._in_flight.values())

    @property
    def pods(self) -> tuple[str, ...]:
        """Pods that take new requests."""
        return self._pods

    def in_flight_at(self, pod: str) -> int:
        return self._in_flight.get(pod, 0)

    def arrive(self, ticket: int, size_bytes: int = 0) -> Admitted | Queued | Refused:
        """A new request. ``ticket`` is any number not in the queue now."""
        if not self._queue:
            pod = self._choose()
            if pod is not None:
                self._in_flight[pod] = self._in_flight.get(pod, 0) + 1
                return Admitted(pod)
        limit = self.limit
        if len(self._queue) >= limit:
            return Refused(Refusal.QUEUE_FULL, len(self._queue), limit)
        if self._queued_bytes + size_bytes > self.bounds.queue_limit_bytes:
            return Refused(Refusal.BYTES_FULL, self._queued_bytes, self.bounds.queue_limit_bytes)
        self._queue[ticket] = size_bytes
        self._queued_bytes += size_bytes
        return Queued(len(self._queue))

    def rejoin(self, ticket: int, size_bytes: int = 0) -> Admitted | Queued:
        """A request whose pod could not be reached (after ``leave``): to the head of the queue, above the bound if need be."""
        self._queue = {ticket: size_bytes, **self._queue}
        self._queued_bytes += size_bytes
        pod = self._choose()
        if pod is None:
            return Queued(1)
        self._take(ticket)
        self._in_flight[pod] = self._in_flight.get(pod, 0) + 1
        return Admitted(pod)

    def leave(self, pod: str) -> list[Handover]:
        """A request at ``pod`` has ended, however. Returns who goes next."""
        left = self._in_flight.get(pod, 0) - 1
        if left > 0 or pod in self._pods:
            self._in_flight[pod] = max(left, 0)
        else:
            self._in_flight.pop(pod, None)
        return self._hand_over() if self._queue else []

    def withdraw(self, ticket: int) -> bool:
        """A waiting request is given up (client gone, deadline). False when it was not waiting."""
        return self._take(ticket)

    def set_pods(self, pods: Sequence[str]) -> list[Handover]:
        """The pods that take requests now, in address order. Pods left out keep what is in flight, but get nothing new."""
        self._pods = tuple(pods)
        keep = set(self._pods)
        self._in_flight = {pod: n for pod, n in self._in_flight.items() if n or pod in keep}
        return self._hand_over()

    @property
    def limit(self) -> int:
        """How many may wait at present."""
        slots = self.bounds.slots
        if slots and self._pods and self.bounds.is_direct_when_ready:
            return min(self.bounds.queue_limit, QUEUE_PER_SLOT * slots * len(self._pods))
        return self.bounds.queue_limit

    def _hand_over(self) -> list[Handover]:
        out: list[Handover] = []
        while self._queue and (pod := self._choose()) is not None:
            ticket = next(iter(self._queue))
            self._take(ticket)
            self._in_flight[pod] = self._in_flight.get(pod, 0) + 1
            out.append(Handover(ticket, pod))
        return out

    def _take(self, ticket: int) -> bool:
        size = self._queue.pop(ticket, None)
        if size is None:
            return False
        self._queued_bytes -= size
        return True

    def _choose(self) -> str | None:
        pods, slots = self._pods, self.bounds.slots
        if not pods:
            return None
        if slots == 0:
            return self._least_loaded()
        if slots < FIRST_FREE_BELOW:
            return next((pod for pod in pods if self._in_flight.get(pod, 0) < slots), None)
        for step in range(len(pods)):
            pod = pods[(self._next + step) % len(pods)]
            if self._in_flight.get(pod, 0) < slots:
                self._next = (self._next + step + 1) % len(pods)
                return pod
        return None

    def _least_loaded(self) -> str:
        pods = self._pods
        if len(pods) == 1:
            return pods[0]
        start = self._next % len(pods)
        self._next = start + 1
        order = pods[start:] + pods[:start]
        return min(order, key=lambda pod: self._in_flight.get(pod, 0))
