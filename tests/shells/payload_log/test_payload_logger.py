"""The payload logger against real receivers: right events, never slow, never more than its bounds."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import http_rig
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from waiting_rig import until

from wakeful.core.protocol import cloudevents, payload_record
from wakeful.serving import observers
from wakeful.serving.exchange import Headers, Reply, Request
from wakeful.serving.payload_log import settings, sinks
from wakeful.serving.payload_log.logger import PayloadLogger
from wakeful.serving.settings import Settings, SettingsError

BODY = b'{"instances":[[1,2]],"ssn":"123"}'
REQUEST = Request(
    "POST",
    "/v1/models/iris:predict",
    Headers([("content-type", "application/json"), ("x-user", "ann")]),
    BODY,
)
REPLY = Reply(200, {"Content-Type": "application/json"}, b'{"predictions":[1]}')


@asynccontextmanager
async def running(
    environ: dict[str, str], draw: Callable[[], float] = lambda: 0.0
) -> AsyncIterator[tuple[PayloadLogger, CollectorRegistry]]:
    registry = CollectorRegistry()
    found = settings.parse(
        {"INFERENCE_SERVICE_NAME": "iris", "WAKEFUL_LOGGER_NAMESPACE": "default", **environ}
    )
    assert found is not None
    logger = PayloadLogger(found, lambda: sinks.make(found, environ), registry, draw)
    await logger.start()
    try:
        yield logger, registry
    finally:
        await logger.close()


def count(registry: CollectorRegistry, name: str, **labels: str) -> float:
    return registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, list[cloudevents.Event]]]:
    seen: list[cloudevents.Event] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append(cloudevents.decode(list(request.headers.items()), await request.read()))
        return web.Response(status=202)

    async with http_rig.serving(handle) as url:
        yield url, seen


async def test_a_call_is_two_events_with_one_id(receiver: tuple[str, list[cloudevents.Event]]) -> None:
    url, seen = receiver
    environ = {"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_METADATA_HEADERS": "X-User, Absent"}
    async with running(environ) as (logger, registry):
        logger.answered(REQUEST, REPLY, "call-1", 0.002)
        await until(lambda: len(seen) == 2)
    asked, answered = sorted(seen, key=lambda event: event.type)
    assert (asked.id, answered.id) == ("call-1", "call-1")
    assert (asked.data, answered.data) == (BODY, REPLY.body)
    assert json.loads(str(asked.extensions["metadata"])) == {"X-User": "ann"}
    assert answered.extensions["statuscode"] == "200"
    assert count(registry, "wakeful_payload_log_sent_total", kind="response") == 1


@pytest.mark.parametrize(("mode", "types"), [("request", ["request"]), ("response", ["response"])])
async def test_the_mode_chooses(
    receiver: tuple[str, list[cloudevents.Event]], mode: str, types: list[str]
) -> None:
    url, seen = receiver
    async with running({"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_MODE": mode}) as (logger, _):
        logger.answered(REQUEST, REPLY, "call-1", 0.0)
    assert [event.type.rpartition(".")[2] for event in seen] == types


async def test_an_answer_in_several_buffers_is_logged_whole(
    receiver: tuple[str, list[cloudevents.Event]],
) -> None:
    url, seen = receiver
    async with running({"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_MODE": "response"}) as (logger, _):
        logger.answered(REQUEST, Reply(200, {}, (b"head", memoryview(b"tensor"))), "call-1", 0.002)
        await until(lambda: len(seen) == 1)
    assert seen[0].data == b"headtensor"


async def test_errors_are_logged_and_named_values_are_not(
    receiver: tuple[str, list[cloudevents.Event]],
) -> None:
    url, seen = receiver
    async with running({"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_REDACT": "ssn"}) as (logger, _):
        logger.answered(REQUEST, Reply(500, {"Content-Type": "application/json"}, b'{"error":"x"}'), "c", 0.0)
    by_type = {event.type.rpartition(".")[2]: event for event in seen}
    assert by_type["response"].extensions["statuscode"] == "500"
    assert b"123" not in (by_type["request"].data or b"")


async def test_redacting_a_large_body_costs_the_caller_nothing(
    receiver: tuple[str, list[cloudevents.Event]],
) -> None:
    url, seen = receiver
    body = json.dumps({"instances": [[{"ssn": n, "age": n}] for n in range(30_000)]}).encode()
    began = time.perf_counter()
    payload_record.redact(body, "application/json", frozenset({"ssn"}))
    redacting_s = time.perf_counter() - began
    async with running({"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_REDACT": "ssn"}) as (logger, _):
        began = time.perf_counter()
        logger.answered(Request("POST", "/", REQUEST.headers, body), REPLY, "c", 0.0)
        assert time.perf_counter() - began < redacting_s / 4
    by_type = {event.type.rpartition(".")[2]: event for event in seen}
    shown = json.loads(by_type["request"].data or b"")["instances"]
    assert shown[7] == [{"ssn": "[redacted]", "age": 7}] and len(shown) == 30_000
    assert "omittedbytes" not in by_type["request"].extensions


async def test_a_body_nobody_foresaw_is_left_out_and_the_next_is_logged(
    receiver: tuple[str, list[cloudevents.Event]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, seen = receiver
    deep = b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}"
    environ = {"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_REDACT": "ssn", "WAKEFUL_LOGGER_MODE": "request"}
    async with running(environ) as (logger, _):
        for name, body in (("deep", deep), ("next", BODY)):
            logger.answered(Request("POST", "/", REQUEST.headers, body), REPLY, name, 0.0)
    by_id = {event.id: event for event in seen}
    assert (by_id["deep"].data or b"", by_id["deep"].extensions["omittedbytes"]) == (b"", str(len(deep)))
    assert json.loads(by_id["next"].data or b"")["ssn"] == "[redacted]"
    assert "RecursionError" in capsys.readouterr().err


async def test_long_paths_and_headers_count_too(receiver: tuple[str, list[cloudevents.Event]]) -> None:
    url, _seen = receiver
    environ = {"MAX_QUEUED_BYTES": "150000", "METADATA_HEADERS": "x-user", "MODE": "request", "URL": url}
    headers = Headers([("x-user", "u" * 30_000)])
    async with running({f"WAKEFUL_LOGGER_{k}": v for k, v in environ.items()}) as (logger, registry):
        for number in range(10):
            logger.answered(Request("POST", "/" + "p" * 30_000, headers, b"{}"), REPLY, str(number), 0.0)
        assert count(registry, "wakeful_payload_log_dropped_total", reason="full") == 8


async def test_a_mistake_in_the_sink_loses_its_records_and_no_others() -> None:
    class Mistaken:
        max_records = 1

        def __init__(self) -> None:
            self.taken: list[str] = []

        async def deliver(self, records: Sequence[payload_record.Record]) -> None:
            if records[0].id == "bad":
                raise KeyError("mistake")
            self.taken.append(records[0].id)

        async def close(self) -> None:
            pass

    registry, sink = CollectorRegistry(), Mistaken()
    found = settings.parse({"WAKEFUL_LOGGER_URL": "http://x", "WAKEFUL_LOGGER_MODE": "request"})
    assert found is not None
    logger = PayloadLogger(found, lambda: sink, registry, lambda: 0.0)
    await logger.start()
    for name in ("bad", "bad", "bad", "bad", "bad", "good"):
        logger.answered(REQUEST, REPLY, name, 0.0)
    await logger.close()
    assert sink.taken == ["good"]
    assert count(registry, "wakeful_payload_log_dropped_total", reason="refused") == 5


async def test_a_sample_of_calls(receiver: tuple[str, list[cloudevents.Event]]) -> None:
    url, seen = receiver
    draws = iter([0.05, 0.95, 0.15])
    environ = {"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_SAMPLE_PERCENT": "10"}
    async with running({**environ, "WAKEFUL_LOGGER_MODE": "request"}, lambda: next(draws)) as (logger, _):
        for name in ("a", "b", "c"):
            logger.answered(REQUEST, REPLY, name, 0.0)
    assert [event.id for event in seen] == ["a"]


async def test_a_receiver_that_hangs_costs_no_time_and_bounded_memory() -> None:
    release = asyncio.Event()

    async def handle(_request: web.Request) -> web.Response:
        await release.wait()
        return web.Response()

    async with http_rig.serving(handle) as url:
        environ = {"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_MAX_QUEUED_BYTES": "1000000"}
        async with running(environ) as (logger, registry):
            body = Request("POST", "/", REQUEST.headers, b'{"x":"' + b"y" * 50_000 + b'"}')
            started = time.perf_counter()
            for number in range(400):
                logger.answered(body, REPLY, str(number), 0.0)
            took_s = time.perf_counter() - started
            held = count(registry, "wakeful_payload_log_queued")
            assert held * 1024 < 1_000_000
            assert count(registry, "wakeful_payload_log_dropped_total", reason="full") >= 800 - held - 1
            assert took_s < 1.0, f"400 calls took {took_s:.3f} s"
            release.set()


async def test_a_receiver_that_comes_back_gets_the_record() -> None:
    answers = iter([503, 500, 202])
    seen: list[int] = []

    async def handle(_request: web.Request) -> web.Response:
        seen.append(next(answers))
        return web.Response(status=seen[-1])

    async with http_rig.serving(handle) as url:
        environ = {"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_MODE": "request"}
        async with running(environ) as (logger, registry):
            logger.answered(REQUEST, REPLY, "a", 0.0)
            await until(lambda: count(registry, "wakeful_payload_log_sent_total", kind="request") == 1)
    assert seen == [503, 500, 202]


async def test_a_refused_record_is_given_up_and_counted() -> None:
    async def handle(_request: web.Request) -> web.Response:
        return web.Response(status=400)

    async with http_rig.serving(handle) as url:
        environ = {"WAKEFUL_LOGGER_URL": url, "WAKEFUL_LOGGER_MODE": "request"}
        async with running(environ) as (logger, registry):
            logger.answered(REQUEST, REPLY, "a", 0.0)
            await until(lambda: count(registry, "wakeful_payload_log_dropped_total", reason="refused") == 1)


async def test_objects_in_a_folder_hold_a_batch(tmp_path: Path) -> None:
    environ = {
        "WAKEFUL_LOGGER_STORE_PATH": f"file://{tmp_path}",
        "WAKEFUL_LOGGER_BATCH_SIZE": "4",
        "WAKEFUL_LOGGER_BATCH_INTERVAL": "30s",
    }
    async with running(environ) as (logger, _):
        for name in ("a", "b", "c"):
            logger.answered(REQUEST, REPLY, name, 0.0)
        files = await until(lambda: [path for path in tmp_path.rglob("*.json") if path.is_file()])
        assert len(files) == 1
    assert len(list(tmp_path.rglob("*.json"))) == 2, "the rest is written at the end"
    folder = tmp_path / "default/iris/predictor/v1/models/iris:predict"
    rows = [json.loads(line) for line in (folder / "a-request.json").read_text().splitlines()]
    assert [(row["id"], row["reqType"]) for row in rows] == [
        ("a", "request"),
        ("a", "response"),
        ("b", "request"),
        ("b", "response"),
    ]
    assert rows[0]["payload"]["instances"] == [[1, 2]]


async def test_an_object_is_written_before_its_records_fill_the_queue(tmp_path: Path) -> None:
    """By bytes, not only by number: a batch that never fills must not make the logger drop everything."""
    environ = {
        "WAKEFUL_LOGGER_STORE_PATH": f"file://{tmp_path}",
        "WAKEFUL_LOGGER_MODE": "request",
        "WAKEFUL_LOGGER_BATCH_SIZE": "1000",
        "WAKEFUL_LOGGER_BATCH_INTERVAL": "1h",
        "WAKEFUL_LOGGER_MAX_QUEUED_BYTES": "100000",
    }
    body = b'{"instances":[' + b"1," * 5000 + b"1]}"
    request = Request("POST", "/v1/models/iris:predict", REQUEST.headers, body)
    async with running(environ) as (logger, registry):
        for number in range(40):
            logger.answered(request, REPLY, f"{number:02}", 0.0)
            written = partial(count, registry, "wakeful_payload_log_sent_total", kind="request")
            await until(lambda: logger._bytes < 80_000, 3.0)
        assert written() > 20
    assert count(registry, "wakeful_payload_log_dropped_total", reason="full") == 0
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.json")]
    assert max(sizes) < 60_000
    assert sum(path.read_text().count("\n") for path in tmp_path.rglob("*.json")) == 40


async def test_a_store_that_hangs_holds_no_thread_that_answers_need() -> None:
    """The process's own pool compresses answers; a store may take minutes."""
    threads: list[str] = []
    release = threading.Event()

    def write(_key: str, _content: bytes) -> None:
        threads.append(threading.current_thread().name)
        release.wait(20)

    sink = sinks.ObjectSink(write, "", settings.LoggerSettings())
    record = payload_record.Record(payload_record.Kind.REQUEST, "a", "", "/", "", b"")
    delivering = [asyncio.create_task(sink.deliver([record])) for _ in range(5)]
    await until(lambda: len(threads) == 5)
    assert {name.rpartition("-")[0] for name in threads} == {"payload-store"}
    release.set()
    await asyncio.gather(*delivering)
    await sink.close()


async def test_a_full_disk_loses_records_not_requests(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    environ = {"WAKEFUL_LOGGER_STORE_PATH": f"file://{blocked}", "WAKEFUL_LOGGER_STORE_FORMAT": "csv"}
    async with running(environ) as (logger, registry):
        logger.answered(REQUEST, REPLY, "a", 0.0)
    lost = count(registry, "wakeful_payload_log_dropped_total", reason="unreachable")
    assert lost + count(registry, "wakeful_payload_log_dropped_total", reason="shutdown") == 2


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"URL": "ftp://x"}, "http://"),
        ({"URL": "http://x", "MODE": "both"}, "all, request, response"),
        ({"URL": "http://x", "STORE_PATH": "s3://b"}, "one of them"),
        ({"STORE_PATH": "gs://b/x"}, "s3://BUCKET"),
        ({"STORE_PATH": "file://tmp/logs"}, "file:///FOLDER"),
        ({"STORE_PATH": "file:///"}, "file:///FOLDER"),
        ({"STORE_PATH": "s3:///logs"}, "s3://BUCKET"),
        ({"STORE_PATH": "s3://Log$/x"}, "LOGGER_STORE_PATH is 's3://Log\\$/x': no bucket can be called so"),
        ({"URL": "http://["}, "http://HOST/PATH"),
        ({"URL": "http://x", "SAMPLE_PERCENT": "200"}, "from 0 to 100"),
        ({"URL": "http://x", "BATCH_SIZE": "many"}, "not a number"),
        ({"URL": "http://x", "BATCH_INTERVAL": "30"}, "invalid duration"),
        ({"URL": "http://x", "BATCH_INTERVAL": "2h"}, "from 10ms to 1h"),
    ],
)
def test_wrong_settings_are_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        settings.parse({f"WAKEFUL_LOGGER_{name}": value for name, value in environ.items()})


@pytest.mark.parametrize("endpoint", ["http://", "http://[", "http://h:99999", "a b"])
def test_a_store_that_no_client_can_be_made_for_ends_the_start(endpoint: str) -> None:
    environ = {"WAKEFUL_LOGGER_STORE_PATH": "s3://logs/x", "AWS_ENDPOINT_URL": endpoint}
    with pytest.raises(SettingsError, match=r"AWS_ENDPOINT_URL \(of the payload logger's store\)"):
        observers.build(Settings(), environ, CollectorRegistry())
    secret = json.dumps({"endpoint_url": endpoint})
    environ = {"WAKEFUL_LOGGER_STORE_PATH": "s3://logs/x", "WAKEFUL_LOGGER_STORE_CONFIG": secret}
    with pytest.raises(SettingsError, match="AWS_ENDPOINT_URL"):
        observers.build(Settings(), environ, CollectorRegistry())


def test_no_address_no_logger() -> None:
    assert settings.parse({"WAKEFUL_LOGGER_MODE": "all"}) is None


def test_names_to_redact_are_folded_once_whoever_makes_the_settings() -> None:
    url = {"WAKEFUL_LOGGER_URL": "http://127.0.0.1:9/"}
    parsed = settings.parse({**url, "WAKEFUL_LOGGER_REDACT": "SSN, Straße ,ssn"})
    assert parsed is not None and parsed.redacted == {"ssn", "strasse"}
    assert settings.LoggerSettings(redacted=frozenset({"X-User"})).redacted == {"x-user"}
