"""A TCP port of this machine that nobody listens on, for the servers that a benchmark starts."""

from __future__ import annotations

import socket


def free_port() -> int:
    """The port; free a moment ago, so start what uses it at once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
