"""What takes minutes of waiting, with the server in the test's own loop: bookmarks, idle and slow connections."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl

import pytest
from inside_server import Inside

PATH = "/api/v1/namespaces/default/configmaps"


async def _event(reader: asyncio.StreamReader) -> dict[str, object]:
    size = int(await reader.readuntil(b"\r\n"), 16)
    line = await reader.readexactly(size)
    await reader.readexactly(2)
    found: dict[str, object] = json.loads(line.splitlines()[-1])
    return found


@pytest.mark.parametrize(("query", "has"), [("&allowWatchBookmarks=true", True), ("", False)])
async def test_bookmarks_carry_the_version_to_those_who_asked(inside: Inside, query: str, has: bool) -> None:
    reader = await inside.send(f"GET {PATH}?watch=true&fieldSelector=metadata.name%3Dnone{query}")
    await reader.readuntil(b"\r\n\r\n")
    if has:
        event = await _event(reader)
        assert event["type"] == "BOOKMARK"
        shown = event["object"]
        assert isinstance(shown, dict)
        assert shown["kind"] == "ConfigMap"
        assert set(shown["metadata"]) == {"resourceVersion"}
        assert int(shown["metadata"]["resourceVersion"]) > 0
    else:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await _event(reader)


def _sweep(inside: Inside, seconds: float) -> None:
    """What the server's sweeper does, with a clock that is ahead."""
    now = asyncio.get_running_loop().time() + seconds
    for connection in list(inside.assembly.server._connections):
        connection.sweep(now)


async def test_request_that_never_arrives_is_cut_off(inside: Inside) -> None:
    reader = await inside.send(f"POST {PATH}", "Content-Length: 10\r\n\r\n{")
    await asyncio.sleep(0.05)
    _sweep(inside, 20)
    await asyncio.sleep(0.05)
    assert not reader.at_eof()
    _sweep(inside, 40)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)):
        await reader.readuntil(b"\r\n\r\n")


async def test_idle_connection_is_closed_after_ten_minutes(inside: Inside) -> None:
    reader = await inside.send(f"GET {PATH}?limit=1")
    await inside.body(reader)
    _sweep(inside, 500)
    await asyncio.sleep(0.05)
    assert not reader.at_eof()
    _sweep(inside, 700)
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        assert await reader.read() == b""


async def test_quiet_watch_is_no_idle_connection(inside: Inside) -> None:
    reader = await inside.send(f"GET {PATH}?watch=true&fieldSelector=metadata.name%3Dnone")
    await reader.readuntil(b"\r\n\r\n")
    _sweep(inside, 5000)
    await asyncio.sleep(0.05)
    assert not reader.at_eof()


async def test_page_after_its_snapshot_expired_is_410(inside: Inside) -> None:
    for index in range(3):
        body = json.dumps({"metadata": {"name": f"x-{index}"}})
        media = "Content-Type: application/json\r\n"
        reader = await inside.send(f"POST {PATH}", f"{media}Content-Length: {len(body)}\r\n\r\n{body}")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201")
    first = json.loads(await inside.body(await inside.send(f"GET {PATH}?limit=1")))
    token = first["metadata"]["continue"]
    inside.assembly.context.pages.forget(asyncio.get_running_loop().time() + 301)
    reader = await inside.send(f"GET {PATH}?limit=1&continue={token}")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 410")


async def test_history_that_overflows_ends_in_410(inside: Inside) -> None:
    history = inside.assembly.context.store.history
    version = inside.assembly.context.store.version
    history._max_events = 2
    for index in range(5):
        body = json.dumps({"metadata": {"name": f"h-{index}"}})
        media = "Content-Type: application/json\r\n"
        reader = await inside.send(f"POST {PATH}", f"{media}Content-Length: {len(body)}\r\n\r\n{body}")
        await reader.readuntil(b"\r\n\r\n")
    reader = await inside.send(f"GET {PATH}?watch=true&resourceVersion={version}")
    await reader.readuntil(b"\r\n\r\n")
    event = await _event(reader)
    assert event["type"] == "ERROR"
    shown = event["object"]
    assert isinstance(shown, dict)
    assert (shown["code"], shown["reason"]) == (410, "Expired")
