"""Which host a request names: the syntax of ``Host`` and ``:authority``.

Called by ``http1_reader`` and ``http2_rest`` for every request whose head is not known yet. A model server answers
whoever reaches it, so the name itself means nothing here; but a proxy in front of it chose the route by that name, and a
value that two parsers read differently is how a request gets around the proxy's rules. Source: RFC 9112 3.2, RFC 9110
4.2.3 (no user information), RFC 3986 3.2.2. An empty value is allowed: it is what a client sends that has no authority.

Invariant: what passes is a host as RFC 3986 spells it, with at most one port.
"""

from __future__ import annotations

import re

from wakeful.core.protocol.problem import shown
from wakeful.serving.http_body import WireError

_HOST = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,}(?:%[\w.~%-]+)?\]|\[v[0-9A-Fa-f]+\.[\w!$&'()*+,;=.~:-]+\]|(?:[\w!$&'()*+,;=.~-]|%[0-9A-Fa-f]{2})*)"
    r"(?::[0-9]{0,5})?",
    re.ASCII,
).fullmatch


def check(host: str) -> None:
    """Refuse what is no ``HOST`` or ``HOST:PORT``. Raises ``WireError``."""
    if _HOST(host) is None:
        raise WireError(f"the request's Host is {shown(host)}: send HOST or HOST:PORT, and nothing else")
