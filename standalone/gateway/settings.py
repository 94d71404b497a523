"""Every limit of the gateway in one frozen value; ``__main__`` makes it once and passes it down."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the data path. Durations in seconds, sizes in bytes. The defaults suit one machine."""

    connections: int = 10_000
    """Client connections at once; above it new ones get 503 and are closed. Each costs some 10 KB."""
    head_bytes: int = 64 * 1024
    """Request line and headers together; above it 431."""
    header_count: int = 200
    """Header lines of a request; above it 431."""
    target_bytes: int = 16 * 1024
    """The request target; above it 414."""
    body_bytes: int = 0
    """Request body; above it 413. 0: no limit, since bodies are streamed and never kept."""
    header_timeout_s: float = 10.0
    """From the first byte of a request (or the connection) to the end of its headers; then 408 or close."""
    idle_timeout_s: float = 75.0
    """A kept-alive connection without a request; longer than common client pools keep theirs."""
    body_idle_timeout_s: float = 60.0
    """No byte of a request body although we wait for one; then 408."""
    linger_s: float = 5.0
    """How long the rest of a refused body, or an unread answer at close, is given."""
    linger_bytes: int = 256 * 1024
    """How much of a refused body is read and thrown away so that the client can read the answer."""
    buffer_bytes: int = 256 * 1024
    """Bytes of one body kept in memory before the sender is told to pause."""
    pipeline: int = 16
    """Requests a client may send ahead on one connection before we stop reading."""
    hold_requests: int = 10_000
    """Requests of one revision that wait for a pod (Knative's intended activator bound)."""
    hold_bytes: int = 256 << 20
    """Bytes that all waiting requests may occupy together."""
    held_body_bytes: int = 512 * 1024
    """What one waiting request is charged at most, where its body is not complete: ``buffer_bytes`` and one read of the
    socket (uvloop's take up to 256,000 bytes); beyond that its body is not read while it waits."""
    default_timeout_s: float = 300.0
    """Where a revision names no timeoutSeconds."""
    connect_timeout_s: float = 1.0
    """One dial to a pod on this machine."""
    dial_tries: int = 15
    """Dials before a request is given up with 502."""
    pod_idle_s: float = 1.0
    """A kept-alive connection to a pod is used again within this time only: servers close theirs after 2 to 75 s,
    and a request sent into such a close could not be repeated safely."""
    pod_idle_connections: int = 256
    """Idle connections kept per pod."""
    sync_wait_s: float = 10.0
    """How long the first requests wait until the routes were read from the API server."""
    fail_after_s: float = 1.0
    """Requests that wait are told of a pod's failure when it has lasted this long."""
    h2_streams: int = 128
    """Requests at once on one HTTP/2 connection."""
    h2_stream_window_bytes: int = 256 * 1024
    """Flow-control window of one HTTP/2 stream."""
    h2_floods_per_s: int = 500
    """Control frames (RST_STREAM, PING, SETTINGS, empty DATA, ...) of one HTTP/2 peer in a second before it is cut."""
    drain_s: float = 8.0
    """After SIGTERM: how long requests under way may go on (the supervisor kills at 10 s)."""
    tunnel_drain_s: float = 60.0
    """How long a pod that is to end is kept for upgraded connections only (queue-proxy's bound for hijacked ones)."""
