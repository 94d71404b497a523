"""What comes behind a good request, and faults in the middle: neither ends what has nothing to do with it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from inside_server import Inside

from standalone.apiserver.kinds_core import CORE
from standalone.apiserver.routes_target import Flavor
from standalone.apiserver.store_selection import Selection
from standalone.apiserver.watch import View, Watcher

PATH = "/api/v1/namespaces/default/configmaps"


def post(name: str) -> str:
    """The rest of a request that makes a ConfigMap."""
    body = json.dumps({"metadata": {"name": name}})
    return f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"


@pytest.mark.parametrize(
    ("junk", "status"),
    [("NO HTTP AT ALL\r\n\r\n", b"400"), ("GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413")],
)
async def test_a_write_is_answered_before_the_junk_behind_it(
    inside: Inside, junk: str, status: bytes
) -> None:
    """The connection was cut while the write was under way: its answer was lost, and it may have been, too."""
    reader = await inside.send(f"POST {PATH}", post("first") + junk)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 201 Created"), answer[:200]
    head, _, rest = answer.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert rest[length:].startswith(b"HTTP/1.1 " + status)
    assert b"Connection: close" in rest[length:]


async def test_junk_behind_a_watch_ends_it(inside: Inside) -> None:
    reader = await inside.send(f"GET {PATH}?watch=true", "\r\nJUNK\r\n\r\n")
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        while True:
            await asyncio.wait_for(reader.readexactly(1), 5)


class BrokenSink:
    """A watcher's connection that cannot be written to."""

    def __init__(self) -> None:
        self.tries = 0

    def write_framed(self, chunk: bytes) -> None:
        self.tries += 1
        raise RuntimeError("no transport")


async def test_one_watch_that_cannot_be_told_does_not_end_the_server(inside: Inside) -> None:
    """The task of bookmarks ended, and with it the process."""
    hub, sink = inside.assembly.context.hub, BrokenSink()
    kind = next(kind for kind in CORE if kind.resource == "configmaps")
    view = View(kind, Selection(None, None, (None, "", ""), None, None), Flavor.OBJECT)
    hub.add(Watcher(view, sink, True), [], 60.0)  # type: ignore[arg-type]
    reader = await inside.send(f"GET {PATH}?watch=true&allowWatchBookmarks=true")
    bookmarks = 0
    async with asyncio.timeout(10):
        while bookmarks < 2 or sink.tries < 2:
            bookmarks += b"BOOKMARK" in await reader.readuntil(b"}\n\r\n")


def configuration(**client: Any) -> dict[str, Any]:
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    hook = {
        "name": "w.example.com",
        "clientConfig": client,
        "rules": [rule],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    return {"metadata": {"name": "w"}, "webhooks": [hook]}


async def refused(inside: Inside, **client: Any) -> str:
    """The answer to a create that a webhook has to see."""
    body = json.dumps(configuration(**client))
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    sent = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    made = await inside.send(f"POST {path}", sent)
    assert (await made.readline()).startswith(b"HTTP/1.1 201")
    reader = await inside.send(f"POST {PATH}", post("refused") + "END\r\n\r\n")
    return (await asyncio.wait_for(reader.read(), 10)).decode()


async def test_a_webhook_that_is_away_is_told_without_our_own_objects(inside: Inside) -> None:
    """It said ``ssl:<ssl.SSLContext object at 0x7f...>``."""
    answer = await refused(inside, url="https://127.0.0.1:9/x")
    assert "SSLContext" not in answer
    assert 'Post \\"https://127.0.0.1:9/x\\": connect: connection refused' in answer


async def test_a_webhook_of_another_authority_is_told_why(inside: Inside) -> None:
    """The API server itself plays it: nobody here trusts its certificate without being told to."""
    answer = await refused(inside, url=f"https://127.0.0.1:{inside.assembly.server.port}/x")
    assert "tls: failed to verify certificate: self" in answer or "unable to get local issuer" in answer
