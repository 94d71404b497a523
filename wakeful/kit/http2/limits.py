"""Every bound of one HTTP/2 connection in a frozen value; the owner makes it once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, durations in seconds."""

    streams: int = 256
    """Requests at once on one connection; a client queues what is beyond (SETTINGS_MAX_CONCURRENT_STREAMS)."""
    head_bytes: int = 64 * 1024
    """A request's headers as RFC 9113 counts them; above it the owner refuses the request, far above the connection."""
    frame_bytes: int = 256 * 1024
    """Largest DATA frame we take: bigger ones cost less per byte."""
    stream_window_bytes: int = 1024 * 1024
    """Bytes a client may send ahead on one stream."""
    window_bytes: int = 16 * 1024 * 1024
    """Bytes a client may send ahead on all streams of one connection."""
    pending_bytes: int = 64 * 1024 * 1024
    """Answers that wait for the client to read; above it new requests of the connection are refused."""
    calm: int = 2_000
    """Control frames (RST_STREAM, PING, SETTINGS, empty DATA, ...) a client may send at once; see ``calm_per_s``."""
    calm_per_s: int = 500
    """How many of those come back each second; every answered request gives some back as well."""
    idle_s: float = 65.0
    """A connection without a request is closed after this time."""
    stall_s: float = 60.0
    """For a client to send a body that it owes; and one that takes nothing of an answer for so long loses the stream."""
    ping_s: float = 60.0
    """A silent client with requests under way is asked for a sign of life after this time, and cut after as long again."""
