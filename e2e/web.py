"""Requests through the ingress by Host, and clients that call all the time while something happens.

Plain ``http.client``: no retries of its own, so what a scenario counts is what the platform answered. A failed
connection counts as status 0. Called by every scenario; knows no Kubernetes.
"""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CALL_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; status 0 and the error's text where there was none."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.text)


class Ingress:
    """The way in."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)

    def connect(self, limit_s: float = CALL_LIMIT_S) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(*self._address, timeout=limit_s)

    def call(
        self,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        limit_s: float = CALL_LIMIT_S,
    ) -> Answer:
        """One request on a connection of its own. ``url`` is the public one; a body makes it a POST of JSON."""
        with contextlib.closing(self.connect(limit_s)) as link:
            return call_on(link, url, body, headers)

    def count(self, url: str, requests: int) -> collections.Counter[str]:
        """How often each text was answered (``HTTP n`` for what is no 200), on one kept connection."""
        with contextlib.closing(self.connect()) as link:
            return collections.Counter(_word(call_on(link, url)) for _ in range(requests))

    def together(self, clients: int, call: Callable[[], Answer]) -> list[Answer]:
        """``clients`` calls at the same moment; their answers."""
        barrier = threading.Barrier(clients)

        def one(_: int) -> Answer:
            barrier.wait(30)
            return call()

        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(one, range(clients)))

    @contextlib.contextmanager
    def traffic(
        self, url: str, clients: int = 2, pause_s: float = 0.02
    ) -> Iterator[collections.Counter[str]]:
        """Clients that call ``url`` all the time; the counted answers are complete when the block has ended."""
        seen: collections.Counter[str] = collections.Counter()
        lock, stop = threading.Lock(), threading.Event()

        def run() -> None:
            with contextlib.closing(self.connect()) as link:
                while not stop.wait(pause_s):
                    word = _word(call_on(link, url))
                    with lock:
                        seen[word] += 1

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def call_on(
    link: http.client.HTTPConnection, url: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """One request on a kept connection, which is opened again after a failure."""
    parts = urlsplit(url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    sent = {"Host": parts.hostname or "", **(headers or {})}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    if data is not None:
        sent.setdefault("Content-Type", "application/json")
    try:
        link.request("GET" if data is None else "POST", path, data, sent)
        answer = link.getresponse()
        text = answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        link.close()
        return Answer(0, repr(error))
    return Answer(answer.status, text, {name.lower(): value for name, value in answer.getheaders()})


def _word(answer: Answer) -> str:
    return answer.text if answer.status == 200 else f"HTTP {answer.status} {answer.text[:200]}"
