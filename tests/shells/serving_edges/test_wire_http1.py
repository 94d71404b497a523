"""The HTTP/1.1 wire as clients see it: order, framing, codings, streams, and what a model may not do to an answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from raw_http import connected, request
from waiting_rig import until

from wakeful.serving import Context, Model


class Late(Model):
    """Answers ``{"n": N, "wait_s": S}`` after S seconds; knows how many calls were cancelled."""

    cancelled = 0

    async def predict(self, payload: Any, context: Context) -> Any:
        try:
            await asyncio.sleep(payload.get("wait_s", 0))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return {"n": payload.get("n"), "left_s": context.remaining_s()}


class Torrent(Model):
    """Streams parts of 64 KiB for as long as they are taken; ``{"fail": true}`` fails at once."""

    made = 0
    is_closed = False

    async def predict(self, payload: Any, context: Context) -> Any:
        async def parts() -> AsyncIterator[bytes]:
            try:
                if payload.get("fail"):
                    raise ValueError("no first part")
                for _ in range(payload.get("parts", 10_000)):
                    self.made += 1
                    yield b"x" * 65_536
            finally:
                self.is_closed = True

        return parts()


class Headers(Model):
    """Sets the headers of its answer that the request names."""

    async def predict(self, payload: Any, context: Context) -> Any:
        context.response_headers.update(payload)
        return {"text": "y" * 100}


async def test_pipelined_requests_are_answered_in_order(start: Any) -> None:
    client = await start(Late("m"))
    waits = [0.05, 0.0, 0.02, *[0.0] * 60]
    async with connected(client.server.port) as raw:
        raw.send(b"".join(request(json.dumps({"n": n, "wait_s": s}).encode()) for n, s in enumerate(waits)))
        assert [json.loads((await raw.answer()).body)["n"] for _ in waits] == list(range(len(waits)))


async def test_answers_carry_date_length_server_and_id(start: Any) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        for _ in range(3):  # the second and third by a known head
            raw.send(request(b'{"instances": [1]}', "X-Request-Id: mine"))
            answer = await raw.answer()
            assert answer.headers["x-request-id"] == "mine" and answer.headers["server"] == "wakeful"
            assert answer.headers["date"].endswith(" GMT") and "connection" not in answer.headers
            assert answer.body == b'{"predictions":{"instances":[1]}}'


async def test_space_around_a_header_is_no_part_of_it(start: Any) -> None:
    client = await start()
    tensor = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT8", "data": [7]}]}'
    lines = (
        "X-Request-Id:\t mine \t",
        f"Inference-Header-Content-Length:  {len(tensor)} ",
        "Content-Encoding: identity ",
    )
    async with connected(client.server.port) as raw:
        raw.send(request(tensor, *lines, path="/v2/models/m/infer"))
        answer = await raw.answer()
        assert (answer.status, answer.headers["x-request-id"]) == (200, "mine"), answer.body


@pytest.mark.parametrize(("lines", "stays"), [((), False), (("Connection: keep-alive",), True)])
async def test_http_1_0_is_kept_only_where_it_asks(start: Any, lines: tuple[str, ...], stays: bool) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(request(b"{}", *lines, version="1.0"))
        answer = await raw.answer()
        assert answer.headers["connection"] == ("keep-alive" if stays else "close")
        assert await raw.is_closed(0.2) is not stays


async def test_connection_close_is_honoured_and_what_follows_is_not_read(start: Any) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(request(b"{}", "Connection: close") + request())
        assert (await raw.answer()).headers["connection"] == "close"
        assert await raw.is_closed()


async def test_head_has_the_headers_of_get_and_no_body(start: Any) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        for _ in range(2):
            raw.send(b"HEAD /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = await raw.answer(is_head=True)
            assert (answer.status, answer.headers["content-length"]) == (200, str(len('{"ready":true}')))


async def test_absolute_targets_are_paths(start: Any) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(b"GET http://any.example:80/v2/health/live?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await raw.answer()).status == 200


DATA = b'{"instances": [1]}'
LARGE = json.dumps({"instances": list(range(200_000))}).encode()
RAW_DEFLATE = zlib.compress(DATA)[2:-4]


@pytest.mark.parametrize(
    ("coding", "sent", "status"),
    [
        ("gzip", gzip.compress(DATA), 200),
        ("x-gzip", gzip.compress(DATA), 200),
        ("GZIP", gzip.compress(DATA[:5]) + gzip.compress(DATA[5:]), 200),
        ("gzip", gzip.compress(LARGE), 200),
        ("deflate", zlib.compress(DATA), 200),
        ("deflate", RAW_DEFLATE, 200),
        ("identity", DATA, 200),
        ("gzip", gzip.compress(DATA)[:-9], 400),
        ("gzip", gzip.compress(DATA) + b"junk", 400),
        ("deflate", zlib.compress(DATA) + b"junk", 400),
        ("deflate", b"\xff" * 40, 400),
        ("gzip", gzip.compress(b"0" * 70_000_000), 413),
        ("deflate", zlib.compress(b"0" * 70_000_000), 413),
        ("br", DATA, 415),
        ("zstd", DATA, 415),
        ("gzip, deflate", DATA, 415),
        ("gzip, identity", gzip.compress(DATA), 200),
        ("gzip\r\nContent-Encoding: gzip", gzip.compress(gzip.compress(DATA)), 415),
        ("identity\r\nContent-Encoding: gzip", gzip.compress(DATA), 200),
    ],
    ids=range(19),
)
async def test_request_codings(start: Any, coding: str, sent: bytes, status: int) -> None:
    client = await start()
    async with connected(client.server.port) as raw:
        raw.send(request(sent, f"Content-Encoding: {coding}"))
        answer = await raw.answer()
        assert answer.status == status, answer.body
        if status == 415:
            assert answer.headers["accept-encoding"] == "gzip, deflate"
    assert client.server.connections.budget.held_bytes == 0


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        ("gzip, deflate, br", "gzip"),
        ("deflate", "deflate"),
        ("gzip;q=0", ""),
        ("br", ""),
        ("*", ""),
        ("", ""),
    ],
)
async def test_large_answers_are_compressed_for_who_asks(start: Any, accepts: str, coding: str) -> None:
    client = await start(compress_min_bytes=1000)
    body = json.dumps({"instances": ["a" * 2000]}).encode()
    async with connected(client.server.port) as raw:
        raw.send(request(body, *([f"Accept-Encoding: {accepts}"] if accepts else [])))
        answer = await raw.answer()
        assert answer.headers.get("content-encoding", "") == coding
        plain = zlib.decompress(answer.body, 47) if coding else answer.body
        assert json.loads(plain) == {"predictions": {"instances": ["a" * 2000]}}
        raw.send(request(DATA, f"Accept-Encoding: {accepts}"))
        assert "content-encoding" not in (await raw.answer()).headers, "small ones stay as they are"


async def test_a_stream_goes_no_faster_than_its_reader_and_ends_with_it(start: Any) -> None:
    model = Torrent("m")
    client = await start(model)
    async with connected(client.server.port) as raw:
        raw.send(request())
        await raw.reader.readexactly(100)
        made = -1
        while made != model.made:  # until nothing more is made
            made = model.made
            await asyncio.sleep(0.1)
        assert made < 1000, "about what the sockets hold"
        raw.abort()
        await until(lambda: model.is_closed)
    await until(lambda: client.server.edge.flights.count == 0)


async def test_streams_are_chunked_for_1_1_and_end_the_connection_for_1_0(start: Any) -> None:
    client = await start(Torrent("m"))
    async with connected(client.server.port) as raw:
        raw.send(request(b'{"parts": 3}') + request(b'{"parts": 1}'))
        assert [len((await raw.answer()).body) for _ in range(2)] == [3 * 65_536, 65_536]
    async with connected(client.server.port) as raw:
        raw.send(request(b'{"parts": 2}', "Connection: keep-alive", version="1.0"))
        answer = await raw.answer()
        assert ("transfer-encoding" in answer.headers, len(answer.body)) == (False, 2 * 65_536)


async def test_a_stream_that_fails_before_its_first_part_is_an_error_answer(start: Any) -> None:
    client = await start(Torrent("m"))
    async with connected(client.server.port) as raw:
        raw.send(request(b'{"fail": true}') + request(b'{"parts": 1}'))
        assert [(await raw.answer()).status for _ in range(2)] == [500, 200]


async def test_a_client_that_closes_cancels_its_call(start: Any) -> None:
    model = Late("m")
    client = await start(model)
    async with connected(client.server.port) as raw:
        raw.send(request(b'{"wait_s": 30}'))
        await until(lambda: client.server.pool.calls == 1)
        raw.writer.close()
        await until(lambda: model.cancelled == 1)
    await until(lambda: client.server.edge.flights.count == 0)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"X-A": "1\r\nX-B: 2"}, 500),
        ({"X-A": "1\nX-B: 2"}, 500),
        ({"X-A": "1\0"}, 500),
        ({"X A": "1"}, 500),
        ({"": "1"}, 500),
        ({"X-A": "é€"}, 200),
        ({"Content-Length": "1", "transfer-encoding": "chunked", "Connection": "close"}, 200),
    ],
    ids=range(7),
)
async def test_a_model_cannot_split_an_answer(start: Any, asked: dict[str, str], status: int) -> None:
    client = await start(Headers("m"))
    async with connected(client.server.port) as raw:
        for _ in range(2):
            raw.send(request(json.dumps(asked).encode()))
            answer = await raw.answer()
            assert answer.status == status
            assert "x-b" not in answer.headers and "connection" not in answer.headers
            assert "transfer-encoding" not in answer.headers and json.loads(answer.body)


async def test_the_clients_deadline_counts(start: Any) -> None:
    client = await start(Late("m"))
    async with connected(client.server.port) as raw:
        raw.send(request(b'{"wait_s": 30}', "X-Request-Timeout: 0.05"))
        assert (await raw.answer()).status == 504
        raw.send(request(b"{}", "X-Request-Timeout: 7"))
        assert 6 < json.loads((await raw.answer()).body)["left_s"] <= 7
        for wrong in ("soon", "0", "-1", "nan", "inf", "1e9"):
            raw.send(request(b"{}", f"X-Request-Timeout: {wrong}"))
            assert (await raw.answer()).status == 400
