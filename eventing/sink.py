"""The HTTP way to subscribers: one POST, no redirects, bounded answer, names of the cluster through the gateway.

Adapter of the ``Sink`` port, used by the dispatcher. Cookies, environment proxies and compression are off, so that an
answer's size on the wire is its size in memory. A kept-alive connection that the subscriber closed just as it was used
again is not an attempt of the event: the POST is sent once more on another connection. A gateway that is away is
``NoWay``, which is no attempt either.
Invariant: at most ``max_body_bytes`` + 1 bytes of an answer are read, and at most ``timeout_s`` pass.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Self
from urllib.parse import urlsplit

import aiohttp

from eventing.ports import Call, NoWay
from wakeful.core.delivery.answers import Answer

CONNECT_TIMEOUT_S = 10.0
STALE_CONNECTIONS = 3
_CLUSTER_SUFFIXES = (".svc", ".svc.cluster.local", ".localhost")


def is_cluster_name(host: str) -> bool:
    """Whether only the gateway knows where ``host`` is."""
    return host.lower().rstrip(".").endswith(_CLUSTER_SUFFIXES)


class HttpSink:
    """Use as ``async with HttpSink(proxy, max_body_bytes) as sink``."""

    def __init__(self, proxy: str | None, max_body_bytes: int, limit: int = 256) -> None:
        self._proxy = proxy
        self._max_body_bytes = max_body_bytes
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trace = aiohttp.TraceConfig()
        trace.on_connection_reuseconn.append(_mark_reused)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._limit, ttl_dns_cache=5),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            trace_configs=[trace],
            headers={"User-Agent": "wakeful-eventing", "Accept-Encoding": "identity"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def deliver(self, call: Call) -> Answer | NoWay | str:
        parts = urlsplit(call.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return f"{call.url[:200]!r} is not an http or https URL"
        proxy = self._proxy if self._proxy and is_cluster_name(parts.hostname) else None
        for _ in range(STALE_CONNECTIONS):
            context = SimpleNamespace(is_reused=False)
            try:
                return await self._post(call, proxy, context)
            except aiohttp.ClientProxyConnectionError as error:
                return NoWay(_phrase(error))
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError) as error:
                reason = _phrase(error)
                if not context.is_reused:
                    break
            except TimeoutError:
                return f"no answer within {call.timeout_s:g} s"
            except (aiohttp.ClientError, ValueError, OSError) as error:
                return _phrase(error)
        return reason

    async def _post(self, call: Call, proxy: str | None, context: SimpleNamespace) -> Answer:
        if self._session is None:
            raise RuntimeError("HttpSink is used outside its 'async with'")
        async with self._session.post(
            call.url,
            data=call.body,
            headers=call.headers,
            proxy=proxy,
            allow_redirects=False,
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(total=call.timeout_s, sock_connect=CONNECT_TIMEOUT_S),
            trace_request_ctx=context,
        ) as response:
            body = bytearray()
            is_cut = False
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > self._max_body_bytes:
                    is_cut = True
                    response.close()
                    break
            headers = tuple((name, value) for name, value in response.headers.items())
            return Answer(response.status, headers, bytes(body[: self._max_body_bytes]), is_cut)


async def _mark_reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.is_reused = True


def _phrase(error: Exception) -> str:
    text = str(error) or type(error).__name__
    return text[:300]
