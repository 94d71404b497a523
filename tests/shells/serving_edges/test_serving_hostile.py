"""Clients that mean harm or know odd HTTP: each gets a clean answer, soon, and the server goes on answering others."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from wakeful.serving import Context, Model

BODY = b'{"instances": [1]}'
HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = b"Content-Length: 18\r\n\r\n" + BODY


async def send(port: int, raw: bytes, wait_s: float = 10) -> bytes:
    """The answer's head to ``raw``, or what came before the server closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        async with asyncio.timeout(wait_s):
            try:
                return await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as ended:
                return ended.partial
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n", 200),
        (CHUNKED + b"1\r\n \r\n" * 50_000 + b"12\r\n" + BODY + b"\r\n0\r\n\r\n", 200),
        (CHUNKED + b"12;name=value\r\n" + BODY + b"\r\n0\r\n\r\n", 200),
        (CHUNKED + b"-1\r\n", 400),
        (CHUNKED + b"F" * 18 + b"\r\n", 400),
        (CHUNKED + b"12\r\n" + BODY + b"\r\n0\r\n" + b"A: b\r\n" * 100_000 + b"\r\n", 431),
        (HEAD + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"A%d: b\r\n" % number for number in range(10_000)) + b"\r\n", 431),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
        (HEAD + b"X: a\r\n b\r\n" + SIZED, 400),
        (HEAD + b"X: a\0b\r\n" + SIZED, 400),
        ((HEAD + SIZED).replace(b"\r\n", b"\n"), 400),
        (HEAD + b"Content-Length : 18\r\n\r\n" + BODY, 400),
        (HEAD + b"Content-Encoding: gzip, gzip\r\n" + SIZED, 415),
        (HEAD + b"Content-Encoding: banana\r\n" + SIZED, 415),
        (HEAD + b"Content-Encoding: identity\r\n" + SIZED, 200),
        (HEAD + b"Content-Encoding: gzip\r\n" + SIZED, 400),
        (HEAD + b"Range: bytes=0-1\r\n" + SIZED, 200),
        (HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + SIZED, 200),
        (HEAD + b"Expect: banana\r\n" + SIZED, 417),
        (HEAD.replace(b"POST", b"GET") + b"X-HTTP-Method-Override: POST\r\n\r\n", 405),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
    ids=[
        "one-byte-chunks", "50000-chunks", "chunk-extension", "negative-chunk", "huge-chunk", "trailers", "long-header",
        "many-headers", "huge-length", "folded-header", "nul-in-header", "bare-lf", "space-before-colon", "gzip-twice",
        "unknown-encoding", "identity", "not-gzip", "range", "upgrade", "unknown-expectation", "override",
        "tls-hello",
    ],
)  # fmt: skip
async def test_each_gets_a_clean_answer(
    start: Any, capfd: pytest.CaptureFixture[str], raw: bytes, status: int
) -> None:
    client = await start()
    answer = await send(client.server.port, raw)
    assert answer.split(b" ")[1] == str(status).encode(), answer[:200]
    assert (await client.ask("GET", "/v2/health/ready"))[0] == 200
    logged = capfd.readouterr().err
    assert "Traceback" not in logged
    for line in logged.splitlines():
        assert len(json.dumps(json.loads(line)["error"])) < 400


async def test_expect_100_continue_is_answered_before_the_body(start: Any) -> None:
    client = await start(max_body_bytes=1000)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(HEAD + b"Expect: 100-continue\r\nContent-Length: 18\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(BODY)
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
    writer.close()
    refused = await send(client.server.port, HEAD + b"Expect: 100-continue\r\nContent-Length: 5000\r\n\r\n")
    assert refused.startswith(b"HTTP/1.1 413")


async def test_a_connection_that_never_asks_is_closed(start: Any) -> None:
    client = await start(timeout_keep_alive=1)
    assert await send(client.server.port, HEAD, wait_s=10) == b""
    assert await send(client.server.port, b"", wait_s=10) == b""


async def test_probes_are_answered_while_a_large_tensor_is_taken_apart(start: Any) -> None:
    client = await start()
    count = 500_000
    raw = b"".join(struct.pack("<I", 1) + b"x" for _ in range(count))
    tensor = {
        "name": "t",
        "shape": [count],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], "outputs": [{"name": "no"}]}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    task = asyncio.create_task(
        client.ask("POST", "/v2/models/m/infer", data=io.BytesIO(head + raw), headers=headers)
    )
    decoding = 0
    async with asyncio.timeout(20):
        while not task.done():
            assert (await client.ask("GET", "/v2/health/ready"))[0] == 200
            decoding += client.server.pool.calls > 0
    assert (await task)[0] == 400
    assert decoding > 1


class Breaking(Model):
    """Streams one part and breaks."""

    async def predict(self, payload: Any, context: Context) -> Any:
        async def parts() -> AsyncIterator[str]:
            yield "one"
            raise ValueError("broken half way")

        return parts()


async def test_a_stream_that_breaks_is_cut_and_not_followed_by_a_second_answer(start: Any) -> None:
    client = await start(Breaking("s"))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(HEAD.replace(b"/m:", b"/s:") + SIZED)
    received = b""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(4096):
                received += data
    writer.close()
    assert received.count(b"HTTP/1.1") == 1
    assert not received.endswith(b"0\r\n\r\n")
