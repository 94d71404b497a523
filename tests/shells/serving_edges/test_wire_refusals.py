"""What HTTP/1.1 has a status for: hosts, heads over the limit, methods, charsets. Each refusal is JSON and says what to do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from raw_http import connected, request

BODY = b'{"instances": [1]}'
TENSOR = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [7]}]}'
GET = b"GET /v2/health/live HTTP/1.1\r\n"


@pytest.mark.parametrize(
    "host",
    [
        "", "x", "x:80", "x:", "a_b.c-d.example.:65535", "127.0.0.1:8080", "[::1]:8080", "[fe80::1%25eth0]",
        "[v1.a:b]", "caf%C3%A9.example", "xn--caf-dma.example",
    ],
)  # fmt: skip
async def test_hosts_as_rfc_3986_spells_them_pass(start: Any, host: str) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        for _ in range(2):
            raw.send(GET + f"Host:{host}\r\n\r\n".encode())
            assert (await raw.answer()).status == 200


@pytest.mark.parametrize(
    "lines",
    [
        b"", b"Host: a b", b"Host: a, b", b"Host: http://x", b"Host: x/y", b"Host: x?y", b"Host: x#y", b"Host: u@x",
        b"Host: x:80:80", b"Host: x:port", b"Host: x:123456", b"Host: [::1", b"Host: ::1", b"Host: caf\xc3\xa9", b"Host: \xff",
        b"Host: x%", b"Host: x\\y", b'Host: "x"', b"Host: <x>", b"Host: x\r\nHost: x", b"Host: x\r\nHost: y",
        b"Host:\r\nhost: x",
    ],
)  # fmt: skip
async def test_a_missing_doubled_or_malformed_host_is_400(start: Any, lines: bytes) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(GET + lines + b"\r\n" * (2 if lines else 1) + GET + b"Host: x\r\n\r\n")
        answer = await raw.answer()
        assert answer.status == 400 and "Host" in json.loads(answer.body)["error"]
        assert answer.headers["connection"] == "close" and await raw.is_closed()


async def test_http_1_0_needs_no_host_but_takes_no_malformed_one(start: Any) -> None:
    client = await start()
    for lines, status in ((b"", 200), (b"Host: a b\r\n", 400), (b"Host: x\r\nHost: y\r\n", 400)):
        async with connected(client.server.port) as raw:
            raw.send(b"GET / HTTP/1.0\r\n" + lines + b"\r\n")
            assert (await raw.answer()).status == status, lines


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://x/v2/health/live", 200), ("HTTPS://x:1/v2/health/live?a=http://y", 200), ("http://x?a", 200), ("http://x", 200),
        ("http:///v2", 400), ("http://:80/", 400), ("http://u@x/", 400), ("http://?a", 400), ("ftp://x/", 404),
    ],
)  # fmt: skip
async def test_targets_with_a_host(start: Any, target: str, status: int) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert (await raw.answer()).status == status


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "target is longer"),
        (GET + b"Host: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431, "head is larger"),
        (GET + b"Host: x\r\n" + b"X: a\r\n" * 300 + b"\r\n", 431, "more than 256 headers"),
        (b"BREW /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n", 501, "method"),
        (b"\r\nget / HTTP/1.1\r\nHost: x\r\n\r\n", 501, "upper case"),
        (b"GETT / HTTP/1.0\r\n\r\n", 501, "method"),
        (b"PROPFIND / HTTP/1.1\r\nHost: x\r\n\r\n", 501, "method"),
        (b"BREW /\r\nHost: x\r\n\r\n", 400, "not HTTP/1.1"),
        (b"B\x00W / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "not HTTP/1.1"),
        (request(BODY) + b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 400, "not HTTP/1.1"),
    ],
    ids=[
        "long-target", "long-header", "many-headers", "brew", "lower-case", "gett", "propfind", "http-0.9", "no-token",
        "behind-another",
    ],
)  # fmt: skip
@pytest.mark.parametrize("piece_bytes", [1 << 20, 1000])
async def test_what_has_a_status_of_its_own_gets_it(
    start: Any, sent: bytes, status: int, words: str, piece_bytes: int
) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        for at in range(0, len(sent), piece_bytes):
            raw.send(sent[at : at + piece_bytes])
            await raw.writer.drain()
        answer = await raw.answer()
        if answer.status == 200:
            answer = await raw.answer()
        assert answer.status == status and words in json.loads(answer.body)["error"], answer
        assert answer.headers["content-type"] == "application/json" and answer.headers["x-request-id"]


async def test_a_method_that_a_path_does_not_take_is_405_and_says_which_it_takes(start: Any) -> None:
    client = await start()
    for method, path, allow in (
        ("DELETE", "/v1/models/m:predict", "POST"),
        ("PATCH", "/v2/models/m", "GET"),
        ("PUT", "/v2/repository/index", "GET, POST"),
    ):
        status, _, response = await client.ask(method, path)
        assert (status, response.headers["Allow"]) == (405, allow), (method, path)
    assert (await client.ask("DELETE", "/nope"))[0] == 404
    assert (await client.ask("LOCK", "/nope"))[0] == 501


PLACES = [
    ("/v1/models/m:predict", BODY, "application/json"),
    ("/v1/models/m:predict", BODY, "text/plain"),
    ("/v2/models/m/infer", TENSOR, "application/json"),
    ("/v2/models/m/infer", TENSOR, "text/plain"),
    ("/openai/v1/completions", b'{"model": "m", "prompt": "x"}', "application/json"),
]


@pytest.mark.parametrize(("path", "body", "kind"), PLACES)
async def test_json_in_another_charset_is_told_so(start: Any, path: str, body: bytes, kind: str) -> None:
    client = await start()
    for charset in ("utf-16", "UTF-16LE", '"iso-8859-1"', "utf-8-sig"):
        headers = {"Content-Type": f"{kind}; Charset={charset}"}
        status, found, _ = await client.ask("POST", path, data=body, headers=headers)
        error = found["error"] if isinstance(found["error"], str) else found["error"]["message"]
        assert status == 400 and charset.strip('"').lower() in error and "UTF-8" in error
    for charset in ("utf-8", "UTF-8", '"Utf-8"', "us-ascii", "US-ASCII", "utf8"):
        headers = {"Content-Type": f"{kind};charset={charset}"}
        status, found, _ = await client.ask("POST", path, data=body, headers=headers)
        assert (status == 200 or "completions" in path) and "charset" not in json.dumps(found), charset


async def test_refusals_that_repeat_bytes_of_a_header_can_be_sent(start: Any) -> None:
    client = await start()
    for line in (
        "Content-Type: application/json; charset=\xff",
        "Expect: \xff",
        "Content-Encoding: \xff",
        "X-Request-Timeout: \xff",
    ):
        for path in ("/v1/models/m:predict", "/openai/v1/completions"):
            async with connected(client.server.port) as raw:
                raw.send(request(b"{}", line, path=path))
                answer = await raw.answer()
                assert answer.status in (400, 415, 417) and "error" in json.loads(answer.body), line


async def test_utf_16_bodies_that_say_so_are_told_so_whatever_they_look_like(start: Any) -> None:
    client = await start()
    for path, body, _ in PLACES[::2]:
        for charset in ("utf-16", "utf-16-le"):
            headers = {"Content-Type": f"application/json; charset={charset}"}
            data = body.decode().encode(charset)
            status, found, _response = await client.ask("POST", path, data=data, headers=headers)
            assert status == 400 and charset in json.dumps(found)


async def test_bytes_that_are_no_json_may_be_in_any_charset(start: Any) -> None:
    client = await start()
    headers = {"Content-Type": "text/csv; charset=iso-8859-1"}
    status, found, _ = await client.ask("POST", "/v1/models/m:predict", data=b"a,\xe9", headers=headers)
    assert (status, found) == (200, {"predictions": 3})


async def test_no_body_in_another_charset_is_waited_for(start: Any) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        lines = "Host: x\r\nContent-Type: application/json; charset=utf-16\r\nContent-Length: 1000\r\n\r\n"
        raw.send(b"POST /v1/models/m:predict HTTP/1.1\r\n" + lines.encode())
        assert (await raw.answer()).status == 400
