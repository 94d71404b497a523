"""What every connection of a server shares, and what a connection is to its port.

``port`` makes one ``Connections`` and one ``Wire`` a connection; the wires (``http1``, HTTP/2) read it. Timers belong
to the port, not to requests: one sweep looks at every wire's ``deadline``, so a request costs no timer.

Invariant: a wire is in ``wires`` from its first byte until ``forget``, and its charge on the budget is gone by then.
"""

from __future__ import annotations

import asyncio

from wakeful.serving.exchange import Handler
from wakeful.serving.http_body import Budget
from wakeful.serving.wire.known_heads import KnownHeads
from wakeful.serving.wire.limits import Limits

NEVER = float("inf")


class Wire(asyncio.Protocol):
    """A connection in the hands of its protocol: asyncio's callbacks, and what the port asks of it."""

    __slots__ = ("deadline",)

    deadline: float
    """Loop time from which ``expire`` is called; ``NEVER``: there is nothing to wait for."""

    def expire(self) -> None:
        """The deadline has passed."""
        raise NotImplementedError

    def close(self) -> None:
        """End now where nothing is being answered, else after that answer."""
        raise NotImplementedError

    def abort(self) -> None:
        """End now, and the work that is being done."""
        raise NotImplementedError


class Connections:
    """All connections of one server, on its loop."""

    def __init__(self, handler: Handler, limits: Limits, budget: Budget) -> None:
        self.handler = handler
        self.limits = limits
        self.budget = budget
        self.is_draining = False
        """From now on every answer is its connection's last."""
        self.wires: dict[Wire, None] = {}
        self.known: KnownHeads = {}
        """Heads of requests that came before, as they came: ``http1_reader`` parses each once."""
        self.refused = 0
        """Connections refused at the bound."""
        self.now = ""
        """The date of answers, at most a second old."""
        self.date = b""
        """It as the line of HTTP/1.1."""
        self.is_fewer = asyncio.Event()
        """Set whenever a connection has ended."""

    def forget(self, wire: Wire) -> None:
        """A connection has ended."""
        self.wires.pop(wire, None)
        self.is_fewer.set()
