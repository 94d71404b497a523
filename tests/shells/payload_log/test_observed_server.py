"""A real server that is watched: payload events, spans, access lines; all of them, once each, and never in the way."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import http_rig
import pytest
import spans_rig
from aiohttp import web
from waiting_rig import until

from wakeful.core.protocol import cloudevents
from wakeful.kit import tracing
from wakeful.serving import Context, Model, access_log, keeping, observing
from wakeful.serving.exchange import Headers, Request
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings, SettingsError

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


class Doubling(Model):
    """Doubles its rows; streams; fails; tells which traceparent it got."""

    def predict(self, payload: Any, context: Context) -> Any:
        if payload.get("fail"):
            raise RuntimeError("no")
        if context.wants_stream(payload):
            return (f"{row}\n" for row in payload["instances"])
        return {"predictions": [2 * row for row in payload["instances"]], "trace": context.get("traceparent")}


@asynccontextmanager
async def serving(
    environ: dict[str, str], kind: type[Model] = Doubling, **flags: Any
) -> AsyncIterator[tuple[str, Server]]:
    options = Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.01, **flags)
    server = Server([kind("m")], options, environ)
    await server.load()
    await server.listen()
    try:
        yield f"http://127.0.0.1:{server.port}/v1/models/m:predict", server
    finally:
        await server.drain()


async def ask(url: str, body: dict[str, Any], **headers: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.read()


async def test_every_answer_is_an_event_errors_and_streams_too() -> None:
    seen: list[cloudevents.Event] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(cloudevents.decode(list(request.headers.items()), await request.read()))
        return web.Response()

    async with (
        http_rig.serving(handle) as sink,
        serving({"WAKEFUL_LOGGER_URL": sink, "WAKEFUL_LOGGER_MODE": "response"}) as (url, _),
    ):
        assert (await ask(url, {"instances": [1]}, **{"X-Request-Id": "a"}))[0] == 200
        assert (await ask(url, {"fail": True}, **{"X-Request-Id": "b"}))[0] == 500
        await ask(url, {"instances": [1, 2], "stream": True}, **{"X-Request-Id": "c"})
        assert (await ask(url + "x", {}, **{"X-Request-Id": "d"}))[0] == 404
        await until(lambda: len(seen) >= 4)
    by_id = {event.id: event for event in seen}
    assert len(seen) == 4
    assert json.loads(by_id["a"].data or b"")["predictions"] == [2]
    assert [by_id[name].extensions["statuscode"] for name in "abcd"] == ["200", "500", "200", "404"]
    assert b"1\n" in (by_id["c"].data or b"") and b"2\n" in (by_id["c"].data or b"")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("ev-1", "ev-1"), ("%E2%82%AC%201", "\u20ac 1"), ("%ff", None), ("x" * 300, None), ("", None)],
    ids=["plain", "encoded", "no text", "long", "empty"],
)
async def test_the_records_of_an_event_have_its_id_and_each_call_its_objects(
    given: str, kept: str | None, tmp_path: Path
) -> None:
    async with serving({"WAKEFUL_LOGGER_STORE_PATH": f"file://{tmp_path}"}) as (url, _):
        for call in ("a", "b"):
            await ask(url, {"instances": [1]}, **{"X-Request-Id": call, "Ce-Id": given})
    found = {path.name: json.loads(path.read_text())["id"] for path in tmp_path.rglob("*.json")}
    assert found == {f"{call}-{kind}.json": kept or call for call in "ab" for kind in ("request", "response")}


@pytest.mark.parametrize(
    ("rows", "environ", "shown"),
    [
        (3000, {}, True),
        (300_000, {}, False),
        (300_000, {"WAKEFUL_LOGGER_MAX_BODY_BYTES": "4000000"}, True),
        (3000, {"WAKEFUL_LOGGER_MAX_BODY_BYTES": "100"}, False),
    ],
    ids=["short", "over 1 MiB", "larger bound", "smaller bound"],
)
async def test_a_streamed_answer_that_is_too_long_is_left_out_with_its_length(
    rows: int, environ: dict[str, str], shown: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"WAKEFUL_LOGGER_STORE_PATH": f"file://{tmp_path}", "WAKEFUL_LOGGER_MODE": "response", **environ}

    class Rows(Model):
        async def predict(self, payload: Any, context: Context) -> Any:
            async def parts() -> AsyncIterator[bytes]:
                for _ in range(rows // 1000):
                    yield b"12345\n" * 1000

            return parts()

    async with serving(asked, Rows, access_log="all") as (url, _):
        assert len((await ask(url, {"instances": [1]}))[1]) == 6 * rows
    (path,) = tmp_path.rglob("*.json")
    row = json.loads(path.read_text())
    assert (row["bodyBytes"], row["bytes"] is not None) == (6 * rows, shown)
    lines = [json.loads(line) for line in io.StringIO(capsys.readouterr().err) if '"answered"' in line]
    assert [line["bytes_out"] for line in lines] == [6 * rows]


async def test_what_is_kept_of_streams_is_bounded_for_all_at_once() -> None:
    keep = keeping.Keeping(answer_bytes=10, all_bytes=15)
    first, second = keeping.Kept(keep), keeping.Kept(keep)
    for kept in (first, second):
        kept.add(b"12345", b"678")
    assert keep.kept_bytes == 8
    seen = second.take(200, {})
    assert (seen.body, keeping.length(seen)) == (b"", 8)
    first.add(b"9")
    assert first.take(200, {}).body == b"123456789"
    assert keep.kept_bytes == 0


async def test_a_traced_call_is_a_child_with_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    async with spans_rig.receiving() as (receiver, seen):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver)
        async with serving({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver}) as (url, _):
            _, body = await ask(url, {"instances": [1]}, traceparent=f"00-{TRACE}-{PARENT}-01")
    by_name = {span.name: span for span in seen}
    outer = by_name["POST /v1/models/m:predict"]
    assert (outer.trace_id.hex(), outer.parent_span_id.hex()) == (TRACE, PARENT)
    assert by_name["predict"].parent_span_id == outer.span_id
    assert json.loads(body)["trace"] == f"00-{TRACE}-{outer.span_id.hex()}-01"


@pytest.mark.parametrize(("mode", "lines"), [("all", [200, 500]), ("errors", [500]), ("off", [])])
async def test_the_access_log_has_what_was_asked_for(
    mode: str, lines: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    async with serving({}, access_log=mode) as (url, _):
        await ask(url + "?secret=1", {"instances": [1]}, **{"X-Request-Id": "a"})
        await ask(url, {"fail": True})
    written = [json.loads(line) for line in io.StringIO(capsys.readouterr().err)]
    found = [line for line in written if line["logger"] == access_log.log.name]
    assert [line["status"] for line in found] == lines
    assert "secret" not in json.dumps(found)
    if mode == "all":
        assert found[0]["request_id"] == "a" and found[0]["duration_ms"] > 0


async def test_a_client_that_goes_away_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    class Slow(Model):
        async def predict(self, payload: Any, context: Context) -> Any:
            await asyncio.sleep(30)

    async with serving({}, Slow, access_log="all") as (_, server):
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
        await until(lambda: server.edge.flights.count == 1)
        writer.close()
        await until(lambda: server.edge.flights.count == 0)
    found = [json.loads(line) for line in io.StringIO(capsys.readouterr().err)]
    assert [line["status"] for line in found if line["logger"] == "access"] == [499]


def test_a_wrong_mode_is_named() -> None:
    with pytest.raises(SettingsError, match="off, errors, all"):
        Server([Doubling("m")], Settings(access_log="some"), {})


async def test_a_stream_that_fails_is_reported_once_with_its_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Breaking(Model):
        async def predict(self, payload: Any, context: Context) -> Any:
            async def parts() -> AsyncIterator[str]:
                yield "one"
                raise RuntimeError("broken")

            return parts()

    async with serving({}, Breaking, access_log="all") as (url, _):
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(url, {"instances": [1]})
    found = [json.loads(line) for line in io.StringIO(capsys.readouterr().err)]
    assert [line["status"] for line in found if line["logger"] == "access"] == [500]


async def test_a_models_content_type_counts_in_any_case() -> None:
    class Typed(Model):
        def predict(self, payload: Any, context: Context) -> Any:
            context.response_headers["content-type"] = "text/csv"
            return "1,2"

    async with (
        serving({}, Typed) as (url, _),
        aiohttp.ClientSession() as session,
        session.post(url, json={"instances": [1]}) as answer,
    ):
        assert answer.headers.getall("Content-Type") == ["text/csv"]


def test_traced_requests_with_one_head_share_what_was_derived_from_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    tracer = tracing.from_environ(os.environ, "m")
    assert tracer is not None
    server = Server([Doubling("m")], Settings(), {})
    observed = observing.Observed(server.edge, [], tracer)
    headers = Headers((("content-type", "application/json"), ("x-request-timeout", "7")))
    first, second = (Request("POST", "/v1/models/m:predict", headers) for _ in range(2))
    observed.screen(first)
    for request in (first, second):
        observed.watch(request)
        assert request.headers["traceparent"] != headers.get("traceparent")
        assert request.headers.memo is headers.memo is not None
    tracer.close()
