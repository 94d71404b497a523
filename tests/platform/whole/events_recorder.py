"""A subscriber that remembers what it got, and a producer that sends again until it is told 202."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from http_rig import serving

Answer = Callable[[dict[str, str], bytes], web.Response]


@dataclass
class Recorder:
    """A real HTTP subscriber; by path it may answer with something other than 202."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((request.path, headers, body))
        answer = self.answers.get(request.path)
        return answer(headers, body) if answer else web.Response(status=202)

    def ids(self, path: str, attribute: str = "ce-id") -> Counter[str]:
        """How often each value of a header came in at ``path``."""
        return Counter(headers.get(attribute, "") for at, headers, _ in self.got if at == path)


@contextlib.asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    async with serving(recorder.handle) as recorder.url:
        yield recorder


@dataclass
class Producer:
    """Posts events to a broker. ``refusals`` counts what was not 202 (0: no answer at all)."""

    session: aiohttp.ClientSession
    url: str
    refusals: Counter[int] = field(default_factory=Counter)

    async def post(self, headers: dict[str, str], body: bytes = b"") -> int:
        """One try; the status, 0 without an answer."""
        timeout = aiohttp.ClientTimeout(total=10)
        try:
            async with self.session.post(self.url, data=body, headers=headers, timeout=timeout) as answer:
                await answer.read()
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def insist(self, headers: dict[str, str], body: bytes, limit_s: float = 40.0) -> None:
        """Post until 202: what is not acknowledged is the producer's to send again."""
        deadline = time.monotonic() + limit_s
        while (status := await self.post(headers, body)) != 202:
            self.refusals[status] += 1
            assert time.monotonic() < deadline, f"{headers} was refused for {limit_s} s: {self.refusals}"
            await asyncio.sleep(0.1)


def event(id_: str, type_: str, source: str = "/test", **more: str) -> dict[str, str]:
    """The headers of an event in binary mode; ``more`` are attributes, ``content_type`` that header."""
    headers = {"ce-specversion": "1.0", "ce-id": id_, "ce-source": source, "ce-type": type_}
    headers |= {f"ce-{name}": value for name, value in more.items() if name != "content_type"}
    return headers | ({"content-type": more["content_type"]} if "content_type" in more else {})
