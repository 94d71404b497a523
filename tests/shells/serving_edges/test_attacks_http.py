"""Attack checklist 1 to 8 and 10 on the model server's port: a clean answer or a close, soon; others are served on.

Beside ``test_serving_hostile``, which has the first table of them.
"""

from __future__ import annotations

import asyncio
import gzip
import http.client
import resource
from typing import Any

import pytest
from raw_http import Raw, connected, request
from waiting_rig import until

from wakeful.serving import http_replies, http_routes

BODY = b'{"instances": [1]}'
HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = HEAD + b"Content-Length: 18\r\n\r\n" + BODY


def chunks(body: bytes, size: int) -> bytes:
    pieces = (body[at : at + size] for at in range(0, len(body), size))
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def statuses(raw: Raw, count: int) -> list[int]:
    """The statuses of at most ``count`` answers, until the server closes."""
    found = []
    for _ in range(count):
        try:
            found.append((await raw.answer()).status)
        except (EOFError, asyncio.IncompleteReadError):
            break
    return found


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (CHUNKED + chunks(b'{"a":"' + b"x" * 3_000_000 + b'"}', 6), [200]),
        (CHUNKED + chunks(b"x" * 70_000_000, 1 << 20), [413]),
        (CHUNKED + b"12;" + b"e" * 1_000_000 + b"\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"12\n" + BODY + b"\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"0x12\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"10\r\n" + BODY + b"\r\n0\r\n\r\n", [400]),
        (CHUNKED + b"12\r\n" + BODY + b"\r\n0\r\nContent-Length: 5\r\n\r\n" + SIZED, [400]),
        (HEAD + b"Content-Length: 18\r\nTransfer-Encoding: chunked\r\n\r\n" + BODY, [400]),
        (HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 18\r\n\r\n" + chunks(BODY, 18), [400]),
        (HEAD + b"Content-Length: 18\r\nContent-Length: 18\r\n\r\n" + BODY, [400]),
        (HEAD + b"Content-Length: 18, 18\r\n\r\n" + BODY, [400]),
        (HEAD + b"Content-Length: +18\r\n\r\n" + BODY, [400]),
        (HEAD + b"Content-Length: 0x12\r\n\r\n" + BODY, [400]),
        (HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + chunks(BODY, 18), [400]),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunks(BODY, 18), [400]),
        (HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n" + chunks(BODY, 18), [400]),
        (HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + chunks(BODY, 18), [400]),
        (HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n" + chunks(BODY, 18), [400]),
        (HEAD + b"X: a\r\n\tb\r\nContent-Length: 18\r\n\r\n" + BODY, [400]),
        (HEAD + b"X: a\rContent-Length: 18\r\n\r\n" + BODY, [400]),
        (SIZED + b"junk" * 10, [200, 400]),
        (SIZED + b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", [200, 400]),
        (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414]),
        (b"GET / HTTP/1.1\r\n" + b"a" * 1_000_000 + b": b\r\n\r\n", [431]),
        (b"BANANA / HTTP/1.1\r\nHost: x\r\n\r\n", [501]),
        (b"GET / HTTP/0.9\r\n\r\n", [505]),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", [505]),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", [400]),
        (b"GET /\r\n\r\n", [505]),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", [404]),
        (b"GET /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x05hello", [405, 400]),
        (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks(BODY, 5) + SIZED,
         [200, 200]),
        (HEAD + b"Content-Type: multipart/form-data; boundary=" + b"b" * 60_000 + b"\r\n" + SIZED[len(HEAD):], [200]),
        (b"\r\n" * 100 + SIZED, [200]),
        (SIZED.replace(b"Host: x", b"Host: evil.example"), [200]),
        (SIZED.replace(b"Host: x\r\n", b""), [400]),
        (SIZED.replace(b"Host: x", b"Host: x\r\nHost: y"), [400]),
        (SIZED.replace(b"Host: x\r\n", b"").replace(b"1.1", b"1.0"), [200]),
    ],
    ids=[
        "3-mb-in-6-byte-chunks", "70-mb-in-chunks", "endless-extension", "chunk-lf", "chunk-0x", "chunk-too-short",
        "length-in-trailer", "cl-te", "te-cl", "cl-cl", "cl-list", "cl-plus", "cl-hex", "te-other", "te-gzip",
        "te-identity", "te-vt", "te-1.0", "fold-tab", "bare-cr", "junk-after", "wrong-second", "line-1-mb", "name-1-mb",
        "unknown-method", "http-0.9", "http-2.0", "http-9.9", "no-version", "connect", "websocket", "h2c-chunked",
        "long-boundary", "empty-lines", "other-host", "no-host", "two-hosts", "no-host-1.0",
    ],
)  # fmt: skip
async def test_each_byte_string_is_answered(start: Any, sent: bytes, expected: list[int]) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(sent)
        found = await statuses(raw, len(expected) + (expected[-1] >= 400))
        assert found == expected
    assert (await client.ask("GET", "/v2/health/ready"))[0] == 200
    assert client.server.connections.budget.held_bytes == 0


async def test_trailers_change_nothing(start: Any) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(
            CHUNKED + chunks(BODY, 18)[:-2] + b"X-Request-Id: evil\r\nX-Request-Timeout: no\r\n\r\n" + SIZED
        )
        for _ in range(2):
            answer = await raw.answer()
            assert answer.status == 200 and answer.headers["x-request-id"] != "evil"


@pytest.mark.parametrize(
    ("sent", "dripped", "status"),
    [
        (HEAD + b"X: ", b"a", None),
        (b"", b"\r\n", None),
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x", 408),
        (CHUNKED, b"1\r\nx\r\n", 408),
        (CHUNKED + b"12\r\n" + BODY + b"\r\n", b"", 408),
        (CHUNKED + b"0\r\nT: ", b"t", 408),
    ],
    ids=["header", "nothing", "body", "chunks", "no-last-chunk", "trailer"],
)
async def test_slowloris_is_given_up(start: Any, sent: bytes, dripped: bytes, status: int | None) -> None:
    client = await start(body_timeout_s=0.4, timeout_keep_alive=1)
    async with connected(client.server.port) as raw:

        async def drip() -> None:
            while True:
                raw.send(dripped)
                await asyncio.sleep(0.02)

        raw.send(sent)
        task = asyncio.create_task(drip())
        try:
            if status is None:
                assert await raw.is_closed(5)
            else:
                assert (await raw.answer(patience_s=5)).status == status
        finally:
            task.cancel()
    await until(lambda: not client.server.connections.wires)


async def test_a_thousand_slow_connections_cost_little_and_others_are_served(start: Any) -> None:
    client = await start(max_buffered_bytes=20_000_000)
    before = rss_bytes()
    async with asyncio.TaskGroup() as group:
        opening = [
            group.create_task(asyncio.open_connection("127.0.0.1", client.server.port, limit=4096))
            for _ in range(1000)
        ]
    slow = [task.result()[1] for task in opening]
    try:
        for number, writer in enumerate(
            slow
        ):  # half a head, or half a body of what all together may not hold
            writer.write(
                HEAD + b"X: " + b"a" * 30_000
                if number % 2
                else HEAD + b"Content-Length: 60000\r\n\r\n" + b"x" * 50_000
            )
        budget = client.server.connections.budget
        await until(lambda: budget.held_bytes > 19_900_000, 20)
        assert budget.held_bytes <= 20_000_000
        assert (await client.ask("GET", "/v2/health/ready"))[0] == 200
        status, _, answer = await client.ask(
            "POST", "/v1/models/m:predict", data=b'{"a":"' + b"x" * 200_000 + b'"}'
        )
        assert (status, answer.headers["Retry-After"]) == (503, "1")
        assert rss_bytes() - before < 150_000_000, (
            "client's and server's side of 1,000 connections, and the bodies"
        )
    finally:
        for writer in slow:
            writer.transport.abort()
    await until(lambda: budget.held_bytes == 0)


async def test_connections_are_bounded(start: Any) -> None:
    client = await start(max_connections=2)
    port = client.server.port
    async with connected(port) as first, connected(port) as second:
        first.send(request())
        second.send(request())
        assert [(await raw.answer()).status for raw in (first, second)] == [200, 200]
        async with connected(port) as third:
            answer = await third.answer()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert await third.is_closed()
    await until(lambda: not client.server.connections.wires)
    assert (await client.ask("GET", "/"))[0] == 200


async def test_concurrency_is_bounded(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, max_concurrency=2)
    async with connected(client.server.port) as first, connected(client.server.port) as second:
        first.send(request(b'{"do": "wait"}'))
        second.send(request(b'{"do": "wait"}'))
        await until(lambda: model.running == 2)
        status, body, answer = await client.ask("POST", "/v1/models/m:predict", json={})
        assert (status, answer.headers["Retry-After"]) == (503, "1") and "--max_concurrency" in body["error"]
        assert (await client.ask("GET", "/v2/health/ready"))[0] == 200
        model.gate.set()
        assert [(await raw.answer()).status for raw in (first, second)] == [200, 200]
    assert (await client.ask("POST", "/v1/models/m:predict", json={}))[0] == 200


async def test_a_client_that_never_reads_is_cut_off_and_asks_no_further(start: Any) -> None:
    client = await start(body_timeout_s=0.5)
    asked = b'{"a":"' + b"x" * 60_000 + b'"}'
    async with connected(client.server.port) as raw:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(300):
            raw.send(request(asked))
        before = rss_bytes()
        await until(lambda: not client.server.connections.wires, 10)
        assert rss_bytes() - before < 60_000_000
    assert (await client.ask("GET", "/"))[0] == 200


async def test_a_refusal_is_read_by_a_client_that_is_still_sending(start: Any) -> None:
    """http.client sends everything before it reads: a server that just closed would be a reset to it."""
    client = await start(max_body_bytes=1000)

    def upload() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", client.server.port, timeout=10)
        connection.request("POST", "/v1/models/m:predict", b"x" * 20_000_000)
        return connection.getresponse().status

    assert await asyncio.to_thread(upload) == 413


async def test_no_body_is_read_for_what_could_never_be_answered(start: Any) -> None:
    client = await start()
    for path, status in (("/nope", 404), ("/v1/models/x:predict", 404), ("/v2/models/m", 405)):
        async with connected(client.server.port) as raw:
            raw.send(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n".encode()
            )
            assert (await raw.answer()).status == status, "and no 100 before it"


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY")
PATHS = (
    "/", "/metrics", "/v1/models", "/v1/models/m", "/v1/models/m:predict", "/v1/models/m:explain", "/v2",
    "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/m", "/v2/models/m/ready", "/v2/models/m/infer",
    "/v2/models/m/versions/1/infer", "/v2/repository/index", "/v2/repository/models/m/load", "/openai/v1/models",
    "/openai/v1/chat/completions",
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
async def test_every_route_takes_its_methods_and_no_others(start: Any, method: str) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        for path in PATHS:
            raw.send(request(b"", "X-HTTP-Method-Override: POST", path=path, method=method))
            answer = await raw.answer(is_head=method == "HEAD")
            found = http_routes.match(method, path)
            if method not in http_replies.METHODS:
                assert answer.status == 501, path
            elif isinstance(found, list):
                assert (answer.status, answer.headers["allow"]) == (405, ", ".join(found)), path
            else:
                assert answer.status not in (404, 405) and answer.status < 502, path
            assert b"Method-Override" not in answer.body, "TRACE would tell"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/models/../m:predict", 404), ("/v1/models/%2e%2e%2fm:predict", 404), ("/v1/models/%252e:predict", 404),
        ("/v1/models/m\\x:predict", 404), ("/v1/models/m;x=1:predict", 404), ("//v1/models/m:predict", 404),
        ("/v1//models/m:predict", 404), ("/v1/models/m%00:predict", 404), ("/v1/models/%c0%ae:predict", 404),
        ("/v1/models/%ff%fe:predict", 404), ("/v1/models/m%0d%0aX:predict", 404), ("/v1/models/" + "m" * 9000 + ":predict", 404),
        ("/v1/models/%zz:predict", 404), ("/v1/models/m:predict?" + "q" * 9000, 200), ("/v1/models/m%3Apredict", 200),
        ("/v1/models/m:predict/", 200), ("/V1/models/m:predict", 404), ("/v1/models/:predict", 404),
        ("/v1/models/m:predict#x", 404), ("//", 404), ("*", 404), ("/v1/models/m:predict//", 404),
    ],
)  # fmt: skip
async def test_odd_paths(start: Any, path: str, status: int, capfd: pytest.CaptureFixture[str]) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(request(BODY, path=path))
        answer = await raw.answer()
        assert answer.status == status, answer.body
        assert len(answer.body) < 400
        raw.send(request(BODY))
        assert (await raw.answer()).status == 200
    assert all(line.startswith("{") for line in capfd.readouterr().err.splitlines()), (
        "no line of a log is forged"
    )


async def test_hosts_and_origins_mean_nothing_here(start: Any) -> None:
    """A model server answers whoever reaches it; what may reach it is the gateway's or the cluster's business."""
    client = await start()
    async with connected(client.server.port) as raw:
        for line in ("Origin: https://evil.example", "X-Forwarded-Host: evil.example"):
            raw.send(request(BODY, line))
            answer = await raw.answer()
            assert answer.status == 200 and "access-control-allow-origin" not in answer.headers


async def test_bombs_in_every_coding_hold_the_loop_only_briefly(start: Any) -> None:
    client = await start()
    bomb = gzip.compress(b"0" * 300_000_000, 9)
    async with connected(client.server.port) as raw:
        raw.send(request(bomb, "Content-Encoding: gzip"))
        task = asyncio.create_task(raw.answer())
        while not task.done():
            async with asyncio.timeout(2):
                assert (await client.ask("GET", "/v2/health/ready"))[0] == 200
        assert (await task).status == 413
