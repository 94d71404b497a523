"""A listening TCP socket, and one sentence when there is none to be had.

Used by every process that serves, aiohttp or not. Left out: what is served.
"""

from __future__ import annotations

import errno
import ipaddress
import socket


class ListenError(Exception):
    """The address cannot be listened on; the text is one sentence for the user."""


def bind(host: str, port: int) -> socket.socket | None:
    """A bound, non-blocking socket for a numeric address; None for a name, which only a resolver can turn into one.

    Without the resolver, because it would start threads: they cost a waking model milliseconds. Raises ``OSError``.
    """
    try:
        version = ipaddress.ip_address(host.strip("[]")).version
    except ValueError:
        return None
    listener = socket.socket(socket.AF_INET6 if version == 6 else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host.strip("[]"), port))
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def sentence(listen: str, error: OSError) -> str:
    """Why ``listen`` (``tcp:HOST:PORT`` or ``unix:PATH``) cannot be listened on, and what to do."""
    if error.errno == errno.EADDRINUSE:
        return f"{listen} is in use by another program: stop it or choose another port"
    return f"cannot listen on {listen}: {error.strerror or error}"
