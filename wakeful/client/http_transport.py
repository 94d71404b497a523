"""HTTP calls of one server: a pool of connections, one deadline a call, repeats only where nothing was done yet.

Used by ``asynchronous`` and, through it, by transformers and explainers. A call is repeated when no connection came
about, and when the server refused with 429 or 503 and ``Retry-After``: both say that no work was begun. A POST whose
connection broke is never repeated; a GET is. Left out: what bodies mean. Deadlines go to the server in
``X-Request-Timeout`` (seconds), so that it can drop what nobody waits for any more.

Invariant: every call ends by its deadline, with an answer below 400 or a ``FailureError``; no answer larger than
``max_answer_bytes`` is held.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from wakeful.client.answers import Received, problem_of
from wakeful.client.targets import Target
from wakeful.core.errors import FailureError, FailureKind, UpstreamError

DEADLINE_HEADER = "X-Request-Timeout"
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
ERROR_BODY_BYTES = 64 * 1024
REFUSALS = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Options:
    """How to call. The defaults suit a service in the same cluster."""

    timeout_s: float = 60.0
    """For one call, repeats and waiting for a cold model included."""
    retries: int = 2
    """How often a call may be repeated."""
    connections: int = 100
    """Open at once; further calls wait for one within their deadline."""
    max_answer_bytes: int = 512 * 1024 * 1024
    verify_tls: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every call, such as Authorization."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request. ``is_idempotent``: it may be sent again after its connection broke."""

    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    is_idempotent: bool = False


class HttpTransport:
    """Calls of one target. Belongs to one event loop; ``close`` gives the connections back."""

    def __init__(self, target: Target, options: Options) -> None:
        self.target = target
        self._options = options
        self._session: aiohttp.ClientSession | None = None

    async def call(self, call: Call) -> Received:
        """The answer to ``call``. Raises ``UpstreamError`` for an error answer, ``FailureError`` for none in time."""
        limit_s = self._options.timeout_s if call.timeout_s is None else call.timeout_s
        end = time.monotonic() + limit_s
        pause_s, repeats = FIRST_PAUSE_S, 0
        while True:
            try:
                async with self._sent(call, end) as response:
                    return await self._received(response)
            except _Unsent as unsent:
                failure: FailureError = unsent.failure
                wait_s = failure.retry_after_s or pause_s * random.uniform(0.5, 1.0)
            except TimeoutError as error:
                raise _late(self.target, limit_s) from error
            left_s = end - time.monotonic()
            if (
                left_s <= 0
                and failure.kind is FailureKind.UNAVAILABLE
                and not isinstance(failure, UpstreamError)
            ):
                raise _late(self.target, limit_s) from failure
            if repeats >= self._options.retries or wait_s >= left_s:
                raise failure
            repeats += 1
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            await asyncio.sleep(wait_s)

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """The answer's body in parts as they come; the deadline counts until the last one. Never repeated."""
        limit_s = self._options.timeout_s if call.timeout_s is None else call.timeout_s
        try:
            async with self._sent(call, time.monotonic() + limit_s) as response:
                if response.status >= 300:
                    await self._received(response)
                yield response.content.iter_any()
        except _Unsent as unsent:
            raise unsent.failure from unsent.__cause__
        except TimeoutError as error:
            raise _late(self.target, limit_s) from error

    async def close(self) -> None:
        """Close every connection; the next call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def _sent(self, call: Call, end: float) -> AsyncIterator[aiohttp.ClientResponse]:
        left_s = max(end - time.monotonic(), 0.001)
        headers = {**self._options.headers, **call.headers, DEADLINE_HEADER: f"{left_s:.3f}"}
        where = self.target.netloc
        try:
            async with self._open().request(
                call.method,
                self.target.url + call.path,
                data=call.body or None,
                headers=headers,
                proxy=self.target.proxy,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=left_s),
            ) as response:
                yield response
        except aiohttp.ClientConnectorError as error:
            raise _Unsent(_unavailable(f"cannot connect to {where}: {_phrase(error)}")) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            failure = _unavailable(
                f"the connection to {where} broke before the whole answer came: {_phrase(error)}"
            )
            raise (_Unsent(failure) if call.is_idempotent else failure) from error

    async def _received(self, response: aiohttp.ClientResponse) -> Received:
        limit = ERROR_BODY_BYTES if response.status >= 400 else self._options.max_answer_bytes
        if response.status < 400 and (response.content_length or 0) > limit:
            raise self._too_large(limit)
        parts, size = [], 0
        async for part in response.content.iter_any():
            size += len(part)
            if size > limit:
                if response.status >= 400:
                    break
                raise self._too_large(limit)
            parts.append(part)
        headers = {name.lower(): value for name, value in response.headers.items()}
        received = Received(response.status, headers, parts[0] if len(parts) == 1 else b"".join(parts))
        if response.status < 300:
            return received
        failure = problem_of(received, self.target.netloc)
        if response.status in REFUSALS and failure.retry_after_s is not None:
            raise _Unsent(failure)
        raise failure

    def _too_large(self, limit: int) -> FailureError:
        text = (
            f"the answer of {self.target.netloc} is larger than {limit} bytes, the most that is taken: raise max_answer_bytes "
            "(of a transformer or explainer: --predictor_max_answer_bytes)"
        )
        return FailureError(FailureKind.INTERNAL, text)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self._options.connections, ssl=self._options.verify_tls, ttl_dns_cache=5
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Content-Type"),
            )
        return self._session


class _Unsent(Exception):
    """Nothing was done at the server; ``failure`` is what the caller gets when there is no further try."""

    def __init__(self, failure: FailureError) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _unavailable(text: str) -> FailureError:
    return FailureError(FailureKind.UNAVAILABLE, text)


def _late(target: Target, limit_s: float) -> FailureError:
    return FailureError(FailureKind.DEADLINE, f"{target.netloc} gave no answer within {limit_s:g} s")


def _phrase(error: BaseException) -> str:
    cause = getattr(error, "os_error", None) or error
    return " ".join(str(getattr(cause, "strerror", None) or cause).split())[:200] or type(error).__name__
