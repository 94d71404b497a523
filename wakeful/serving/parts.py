"""What a model says when several requests can be answered by one call of it: the words between models and batcher.

A model whose ``batching`` is not None is called through it: ``part`` takes one request's payload apart, on the event
loop, ``answer`` answers several parts of one signature at once, in a thread or, where it is short, on the loop.
``tabular`` has the one for matrices, ``joining`` the one for any model by its V1 rows or V2 tensors.

Invariant: parts in one ``answer`` have equal signatures, and its answers are what each part alone would have got.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wakeful.serving.model import Context


@dataclass(slots=True)
class Part:
    """One request's share of a batch."""

    payload: Any
    """As the edge decoded it: what kind of answer is wanted depends on it."""
    value: Any
    """What ``answer`` joins, such as a matrix."""
    rows: int
    """How much of ``max_batch_size`` it takes."""
    signature: Hashable
    """Datatypes, widths and names: parts that differ in it never meet."""


@dataclass(frozen=True, slots=True)
class Joining:
    """What a user's model says to have requests joined row by row: ``batching = Joining(max_batch_size=32)``.

    Its ``predict`` then gets one V1 object with the ``instances`` of several requests (or one V2 request with their
    tensors one under the other), and answers as many ``predictions`` (or output rows) as it got rows.
    """

    max_batch_size: int = 32
    """Rows in one call of ``predict``."""
    max_latency_s: float = 0.0
    """How long a request may be held back so that others join it. 0: only while the model is busy anyway."""


class Batching(Protocol):
    """How requests to one model become one call."""

    max_batch_size: int
    """Rows in one call; a request that has more goes alone."""
    max_latency_s: float
    """How long a request may be held back so that others join it. 0: only while the model is busy anyway."""
    is_brief: bool
    """Whether ``answer`` does nothing but compute (no waiting, no locks): then, where it is short, it runs on the loop."""

    def part(self, payload: Any, context: Context) -> Part | None:
        """The payload taken apart; None where it has to go alone (by ``Model.predict``).

        Raises ``FailureError``, for this request alone. Called on the event loop: it must be quick.
        """

    def answer(self, parts: Sequence[Part]) -> Sequence[Any]:
        """The answers, one a part, in order; may be a coroutine function.

        Whatever it raises is found out part by part: each is then answered alone.
        """
