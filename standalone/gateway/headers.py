"""Header rules of a proxy: what ends at this hop, what is added, what only platforms may say. Pure.

Called by ``engine`` for every request and answer. Sources: RFC 9110 section 7.6 (hop-by-hop), spec 3.1 (Knative's
headers: the routing pair is stripped before the pod sees it, the app sees the public Host, ``Forwarded`` is made from
``X-Forwarded-*`` where it is absent).
"""

from __future__ import annotations

import secrets

from standalone.gateway.exchange import Head
from standalone.gateway.inbox import Headers

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
        b"expect",
    }
)
PLATFORM_ONLY = frozenset(
    {
        b"knative-serving-revision",
        b"knative-serving-namespace",
        b"knative-serving-default-route",
        b"k-original-host",
        b"k-proxy-request",
        b"k-passthrough-lb",
    }
)
"""A client's own are dropped: they would let it name a revision or another Host."""
NEVER_TO_PODS = frozenset({b"knative-serving-revision", b"knative-serving-namespace"})


def to_pod(head: Head, appended: Headers) -> Headers:
    """The headers a pod gets: the client's, less hop-by-hop, plus forwarding headers and the route's ``appended``."""
    replaced = {name for name, _ in appended}
    named = _named_by_connection(head.headers)
    seen: dict[bytes, bytes] = {}
    out: Headers = [(b"host", head.authority.encode("latin-1"))]
    for name, value in head.headers:
        if name in _DROPPED or name in replaced or name in named or name == b"host":
            if name == b"te" and b"trailers" in value.lower():
                out.append((b"te", b"trailers"))
            continue
        if name in _FORWARDING:
            seen[name] = seen[name] + b", " + value if name in seen else value
            continue
        out.append((name, value))
    out += _forwarding(head, seen)
    out += [(name, value) for name, value in appended if name not in NEVER_TO_PODS]
    return out


_FORWARDING = frozenset(
    {b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"forwarded", b"x-request-id"}
)
_DROPPED = HOP_BY_HOP | PLATFORM_ONLY


def _forwarding(head: Head, seen: dict[bytes, bytes]) -> Headers:
    peer = head.peer.encode()
    earlier = seen.get(b"x-forwarded-for")
    addresses = earlier + b", " + peer if earlier else peer
    proto = seen.get(b"x-forwarded-proto") or b"http"
    host = seen.get(b"x-forwarded-host")
    out = [(b"x-forwarded-for", addresses), (b"x-forwarded-proto", proto)]
    if host:
        out.append((b"x-forwarded-host", host))
    out.append((b"forwarded", seen.get(b"forwarded") or _forwarded(addresses, host, proto)))
    out.append((b"x-request-id", seen.get(b"x-request-id") or secrets.token_hex(16).encode()))
    return out


def _forwarded(addresses: bytes, host: bytes | None, proto: bytes) -> bytes:
    first, *rest = (_node(part.strip()) for part in addresses.split(b","))
    parts = [b"for=" + first]
    if host:
        parts.append(b"host=" + host)
    parts.append(b"proto=" + proto)
    return b", ".join([b";".join(parts), *(b"for=" + node for node in rest)])


def _node(address: bytes) -> bytes:
    return b'"[' + address.strip(b"[]") + b']"' if b":" in address else address


def to_client(headers: Headers) -> Headers:
    """A pod's answer headers less the hop-by-hop ones."""
    named = _named_by_connection(headers)
    return [(name, value) for name, value in headers if name not in HOP_BY_HOP and name not in named]


_KEPT_WHEN_NAMED = frozenset({b"content-length", b"host", b"content-type", b"authorization"})


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    values = b",".join([value for name, value in headers if name == b"connection"]).lower()
    if not values:
        return frozenset()
    return frozenset(part.strip() for part in values.split(b",")) - _KEPT_WHEN_NAMED
