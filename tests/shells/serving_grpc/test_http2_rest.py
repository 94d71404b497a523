"""REST over HTTP/2 on the same port and connection: what HTTP/1.1 answers, by frames."""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
from typing import Any

import pytest
from raw_http2 import DATA, HEADERS, RST, Raw, block, connected, frame, message
from waiting_rig import until

JSON = ("content-type", "application/json")
PREDICT = "/v1/models/m:predict"
V2 = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}], "parameters": {}}


async def answer(raw: Raw, stream: int) -> tuple[dict[str, str], bytes]:
    """Headers and body of a response."""
    first = await raw.wait_for(HEADERS, RST, stream=stream)
    assert first.kind == HEADERS, first
    fields, body, ended = raw.fields(first), b"", first.flags & 1
    while not ended:
        part = await raw.wait_for(DATA, RST, stream=stream)
        assert part.kind == DATA, part
        body += part.payload
        ended = part.flags & 1
    return fields, body


def request(
    stream: int, path: str, body: bytes = b"", *extra: tuple[str, str], method: str = "POST"
) -> bytes:
    head = frame(HEADERS, 0x4 if body else 0x5, stream, block(path, *extra, method=method, kind=""))
    pieces = [body[start : start + 16_000] for start in range(0, len(body), 16_000)]
    return head + b"".join(frame(DATA, n == len(pieces) - 1, stream, p) for n, p in enumerate(pieces))


CASES: dict[str, tuple[bytes, int, Any]] = {
    "ready": (request(1, "/v2/health/ready", method="GET"), 200, {"ready": True}),
    "unknown-path": (request(1, "/nowhere", method="GET"), 404, {"detail": "Not Found"}),
    "wrong-method": (request(1, PREDICT, method="DELETE"), 405, {"detail": "Method Not Allowed"}),
    "v1": (request(1, PREDICT, b'{"instances": [1, 2]}', JSON), 200, {"predictions": [1, 2]}),
    "gzip": (
        request(1, PREDICT, gzip.compress(b'{"instances": [3]}'), JSON, ("content-encoding", "gzip")), 200,
        {"predictions": [3]},
    ),
    "not-gzip": (request(1, PREDICT, b"abc", JSON, ("content-encoding", "gzip")), 400, None),
    "unknown-coding": (request(1, PREDICT, b"abc", JSON, ("content-encoding", "br")), 415, None),
    "no-json": (request(1, PREDICT, b"{", JSON), 400, None),
    "unknown-model": (
        request(1, "/v1/models/no:predict", b"{}", JSON), 404, {"error": "Model with name no does not exist."},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_answers_are_those_of_http_1(rig: Any, name: str) -> None:
    asked, status, body = CASES[name]
    async with connected(rig.server.port) as raw:
        raw.send(asked)
        fields, got = await answer(raw, 1)
    assert fields[":status"] == str(status)
    assert (
        fields["x-request-id"] and fields["server"] == "wakeful" and fields["content-length"] == str(len(got))
    )
    if body is not None:
        assert json.loads(got) == body


async def test_head_has_no_body(rig: Any) -> None:
    async with connected(rig.server.port) as raw:
        raw.send(request(1, "/v2/health/live", method="HEAD"))
        fields, body = await answer(raw, 1)
    assert fields[":status"] == "200" and int(fields["content-length"]) > 0 and body == b""


async def test_grpc_and_rest_on_one_connection(rig: Any, infer: Any) -> None:
    async with connected(rig.server.port) as raw:
        raw.send(request(1, "/v2/models/m/infer", json.dumps(V2).encode(), JSON))
        raw.send(frame(HEADERS, 0x4, 3, block()), frame(DATA, 1, 3, message(infer().SerializeToString())))
        raw.send(request(5, PREDICT, b'{"instances": [9]}', JSON))
        seen: dict[int, bytes] = {}
        ended: set[int] = set()
        while ended != {1, 3, 5}:
            part = await raw.wait_for(HEADERS, DATA)
            seen[part.stream] = seen.get(part.stream, b"") + (part.payload if part.kind == DATA else b"")
            ended |= {part.stream} if part.flags & 1 else set()
    assert json.loads(seen[1])["outputs"][0]["data"] == [1, 2]
    assert seen[3][:1] == b"\0" and json.loads(seen[5]) == {"predictions": [9]}


async def test_body_over_the_limit_is_refused_before_it_has_come(start: Any) -> None:
    rig = await start(max_body_bytes=100_000)
    async with connected(rig.server.port) as raw:
        raw.send(frame(HEADERS, 0x4, 1, block(PREDICT, JSON, ("content-length", "200000"), kind="")))
        fields, _ = await answer(raw, 1)
        assert fields[":status"] == "413"
        raw.send(request(3, PREDICT, b" " * 150_000, JSON))
        fields, _ = await answer(raw, 3)
        assert fields[":status"] == "413"
        raw.send(request(5, "/v2/health/ready", method="GET"))
        assert (await answer(raw, 5))[0][":status"] == "200"
    await until(lambda: rig.server.connections.budget.held_bytes == 0)


async def test_client_that_resets_cancels_the_model(rig: Any) -> None:
    asked = {**V2, "parameters": {"do": "wait"}}
    async with connected(rig.server.port) as raw:
        raw.send(request(1, "/v2/models/m/infer", json.dumps(asked).encode(), JSON))
        await until(lambda: len(rig.model.seen) == 1)
        raw.send(frame(RST, 0, 1, b"\0\0\0\x08"))
        await until(lambda: rig.model.cancelled == 1)
    await until(lambda: rig.server.edge.flights.count == 0)


async def test_methods_that_nobody_knows_are_501(rig: Any) -> None:
    async with connected(rig.server.port) as raw:
        for stream, path in ((1, "/v2/health/ready"), (3, "/nowhere")):
            raw.send(request(stream, path, method="BREW"))
            fields, body = await answer(raw, stream)
            assert fields[":status"] == "501" and "method" in json.loads(body)["error"]


@pytest.mark.parametrize(
    ("authority", "status"),
    [("[::1]:80", "200"), ("a b", "400"), ("u@x", "400"), ("x/y", "400"), ("x:y", "400")],
)
async def test_an_authority_that_is_no_host_is_400(rig: Any, authority: str, status: str) -> None:
    async with connected(rig.server.port) as raw:
        head = block("/v2/health/ready", method="GET", kind="", authority=authority)
        raw.send(frame(HEADERS, 0x5, 1, head))
        fields, body = await answer(raw, 1)
        assert fields[":status"] == status and ("Host" in body.decode()) is (status == "400")


async def test_content_length_that_lies_is_a_reset(rig: Any) -> None:
    async with connected(rig.server.port) as raw:
        raw.send(frame(HEADERS, 0x4, 1, block(PREDICT, JSON, ("content-length", "5"), kind="")))
        raw.send(frame(DATA, 1, 1, b"{}"))
        assert (await raw.wait_for(RST)).payload == b"\0\0\0\1"


BAD_HEADS = {
    "upper-case": [("X-A", "1")],
    "connection": [("connection", "close")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "line-break": [("x", "1\r\ny: 2")],
    "pseudo-last": [(":path", "/x")],
    "te": [("te", "gzip")],
    "two-lengths": [("content-length", "1"), ("content-length", "2")],
    "other-host": [("host", "elsewhere")],
}


@pytest.mark.parametrize("name", BAD_HEADS)
async def test_malformed_heads_are_reset_alone(rig: Any, name: str) -> None:
    async with connected(rig.server.port) as raw:
        raw.send(frame(HEADERS, 0x5, 1, block("/v2/health/ready", *BAD_HEADS[name], method="GET", kind="")))
        assert (await raw.wait_for(RST)).payload == b"\0\0\0\1"
        raw.send(request(3, "/v2/health/ready", method="GET"))
        assert (await answer(raw, 3))[0][":status"] == "200"


async def test_answer_in_parts(rig: Any) -> None:
    big = "x" * 300_000
    async with connected(rig.server.port) as raw:
        raw.send(frame(8, 0, 0, b"\0\x10\0\0"), frame(4, 0, 0, b"\0\x04\0\x10\0\0"))
        raw.send(request(1, PREDICT, json.dumps({"parts": ["a", big, "b"]}).encode(), JSON))
        fields, body = await answer(raw, 1)
        assert fields[":status"] == "200" and body == b"a" + big.encode() + b"b"
        raw.send(request(3, PREDICT, b'{"parts": ["fail"]}', JSON))
        assert (await answer(raw, 3))[0][":status"] == "500"
        raw.send(request(5, PREDICT, b'{"parts": ["a", "fail"]}', JSON))
        assert (await raw.wait_for(RST)).stream == 5
    await until(lambda: rig.server.edge.flights.count == 0)


async def test_curl_speaks_to_it(rig: Any) -> None:
    url = f"http://127.0.0.1:{rig.server.port}{PREDICT}"
    command = ["curl", "-s", "--noproxy", "*", "--http2-prior-knowledge", "-w", " %{http_version}", "-d",
               '{"instances": [7]}', url]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, timeout=20, check=True)
    assert done.stdout == b'{"predictions":[7]} 2'


async def curl(port: int, path: str, *flags: str, body: bytes = b"") -> tuple[bytes, int]:
    """What curl prints over HTTP/2, and its exit status."""
    url = f"http://127.0.0.1:{port}{path}"
    command = ["curl", "-s", "--noproxy", "*", "--http2-prior-knowledge", *flags, url]
    done = await asyncio.to_thread(subprocess.run, command, input=body, capture_output=True, timeout=20)
    return done.stdout, done.returncode


SENT = ("--data-binary", "@-", "-w", " %{http_code}", "-H", "content-type: application/json")


@pytest.mark.parametrize("size", [2, 200_000, 3_000_000])
async def test_curl_reads_a_refusal_while_it_sends(rig: Any, size: int) -> None:
    for path, flags in (("/v1/models/no:predict", ()), (PREDICT, ("-X", "PUT")), ("/nowhere", ())):
        for _ in range(5):  # it depended on which frames came first
            said, status = await curl(rig.server.port, path, *SENT, *flags, body=b" " * size)
            assert (said[-3:], status) == (b"405" if flags else b"404", 0)
    await until(lambda: rig.server.connections.budget.held_bytes == 0)


async def test_a_refusal_waits_for_a_body_within_the_limit_alone(start: Any) -> None:
    rig = await start(max_body_bytes=100_000, body_timeout_s=0.5)
    async with connected(rig.server.port) as raw:
        for stream, rest in ((1, b" " * 16_000), (3, b"")):  # 3: its body stops coming
            raw.send(frame(HEADERS, 0x4, stream, block("/v1/models/no:predict", JSON, kind="")))
            raw.send(frame(DATA, 0, stream, rest), frame(DATA, int(stream == 1), stream, b" "))
            assert (await answer(raw, stream))[0][":status"] == "404"
        assert (await raw.wait_for(RST)).stream == 3
        raw.send(frame(8, 0, 0, b"\0\x40\0\0"))
        raw.send(request(5, PREDICT, b" " * 2_000_000, JSON)[:-9])  # twice what may come, and more
        assert (await answer(raw, 5))[0][":status"] == "413"
        assert (await raw.wait_for(RST)).stream == 5


async def test_expectations(rig: Any) -> None:
    async with connected(rig.server.port) as raw:
        expect = ("expect", "100-continue")
        raw.send(frame(HEADERS, 0x4, 1, block(PREDICT, JSON, expect, kind="")))
        assert raw.fields(await raw.wait_for(HEADERS)) == {":status": "100"}
        raw.send(frame(DATA, 1, 1, b'{"instances": [1]}'))
        assert (await answer(raw, 1))[0][":status"] == "200"
        for stream, path, wanted, status in (
            (3, "/v1/models/no:predict", "100-continue", "404"),
            (5, PREDICT, "a miracle", "417"),
        ):
            raw.send(frame(HEADERS, 0x4, stream, block(path, JSON, ("expect", wanted), kind="")))
            assert (await answer(raw, stream))[0][":status"] == status


async def test_answers_have_a_date_and_are_compressed_for_who_asks(rig: Any) -> None:
    body = json.dumps({"instances": ["abc"] * 20_000}).encode()
    plain, _ = await curl(rig.server.port, PREDICT, *SENT, "-i", body=body)
    small, _ = await curl(
        rig.server.port, PREDICT, *SENT, "--compressed", "-w", " %{size_download}", body=body
    )
    assert b"\r\ndate: " in plain and b"content-encoding" not in plain.split(b"\r\n\r\n")[0]
    predictions, _, size = small.rpartition(b" ")
    assert json.loads(predictions)["predictions"] == ["abc"] * 20_000 and int(size) < len(body) / 10
