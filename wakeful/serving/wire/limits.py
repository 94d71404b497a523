"""What one port takes from its clients at most: sizes, counts and times. Read by every wire; made from the settings.

Invariant: whatever clients send, memory is bounded by ``connections`` times ``head_bytes`` and the budget of bodies.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one port and of each connection on it."""

    head_bytes: int = 64 * 1024
    """Request line and headers of one request (trailers too); then 431, or 414 where most of it is the target."""
    headers: int = 256
    """Header lines of one request; then 431."""
    body_bytes: int = 64 * 1024 * 1024
    """One body, inflated; then 413."""
    body_timeout_s: float = 60.0
    """For a client to send its body (then 408), and for one that does not read its answer (then it is cut off)."""
    idle_timeout_s: float = 65.0
    """For a connection without a request, or with half a head."""
    linger_s: float = 5.0
    """After a refusal: how long what still comes is read and thrown away, so that the client can read the refusal."""
    connections: int = 10_000
    """At one moment; then 503 and close."""
    ahead: int = 16
    """Pipelined requests held while one is answered; then the connection is not read for a while."""
    compress_min_bytes: int = 0
    """JSON and text answers from here on are compressed for clients that ask for it; 0: none."""
