"""The HTTP edge end to end: routes, V1, errors as the table says, headers, limits."""

from __future__ import annotations

import asyncio
import gzip
import time
from typing import Any

import pytest


async def test_every_get_route(start: Any) -> None:
    client = await start()
    expected = {
        "/": {"status": "alive"},
        "/v1/models": {"models": ["m"]},
        "/v1/models/m": {"name": "m", "ready": True},
        "/v2": {
            "name": "wakeful",
            "version": "0.1.0",
            "extensions": ["binary_tensor_data", "classification"],
        },
        "/v2/health/live": {"live": True},
        "/v2/health/ready": {"ready": True},
        "/v2/models": {"models": ["m"]},
        "/v2/models/m": {"name": "m", "versions": None, "platform": "", "inputs": [], "outputs": []},
        "/v2/models/m/ready": {"name": "m", "ready": True},
        "/v2/repository/index": [{"name": "m", "state": "READY"}],
    }
    for path, body in expected.items():
        status, found, response = await client.ask("GET", path)
        assert (path, status, found) == (path, 200, body)
        assert response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/nope", 404, {"detail": "Not Found"}),
        ("GET", "/v2/health/no", 404, {"detail": "Not Found", "error": "this server has no such route"}),
        ("GET", "/v1/models/../../etc/passwd", 404, {"detail": "Not Found"}),
        ("POST", "/v1/models/m:other", 404, {"detail": "Not Found"}),
        ("GET", "/v1/models/m:predict", 405, {"detail": "Method Not Allowed"}),
        ("DELETE", "/v2/models/m", 405, {"detail": "Method Not Allowed", "error": "this route takes GET"}),
        ("TRACE", "/", 405, {"detail": "Method Not Allowed"}),
        ("GET", "/v1/models/x", 404, {"error": "Model with name x does not exist."}),
        ("POST", "/v1/models/%2e%2e%2fx:predict", 404, {"error": "Model with name ../x does not exist."}),
        ("POST", "/v1/models/x%0Ay:predict", 404, {"error": "Model with name x\ny does not exist."}),
        ("POST", "/v2/models/x/infer", 404, {"error": "Model with name x does not exist."}),
        ("GET", "/v2/models/m/versions/1", 501, {"error": "Model versioning not supported yet."}),
        ("POST", "/v2/models/m/versions/1/infer", 501, {"error": "Model versioning not supported yet."}),
        ("POST", "/v1/models/m:explain", 501, {"error": "model m has no explainer: it answers :predict only"}),
    ],
)  # fmt: skip
async def test_wrong_routes(start: Any, method: str, path: str, status: int, body: Any) -> None:
    from yarl import URL

    client = await start()
    options = {"json": {"instances": [1]}} if method == "POST" else {}
    target = URL(f"http://127.0.0.1:{client.server.port}{path}", encoded=True)
    found = await client.ask(method, target, **options)
    assert found[:2] == (status, body)


async def test_predict_gives_the_models_dict(start: Any) -> None:
    client = await start()
    status, body, response = await client.ask("POST", "/v1/models/m:predict", json={"instances": [[1]]})
    assert (status, body) == (200, {"predictions": {"instances": [[1]]}})
    assert response.headers["Content-Type"] == "application/json"
    raw = await client.ask("POST", "/v1/models/m:predict", data=b"a,b", headers={"Content-Type": "text/csv"})
    assert raw[1] == {"predictions": 3}


@pytest.mark.parametrize(
    ("do", "status", "body"),
    [
        ("raise", 500, {"error": "KeyError : 'secret payload'"}),
        ("invalid", 400, {"error": "the third row is upside down"}),
        ("text", 200, b"plain"),
        ("stop", 500, {"error": "RuntimeError : model code raised StopIteration"}),
        (
            "object",
            500,
            {
                "error": "the model's answer has no JSON form: object is not JSON serializable: "
                "return dicts, lists, text, numbers or numpy arrays"
            },
        ),
    ],
)
async def test_what_models_do(start: Any, do: str, status: int, body: Any) -> None:
    client = await start()
    assert (await client.ask("POST", "/v1/models/m:predict", json={"do": do}))[:2] == (status, body)


async def test_stages_run_in_order_sync_and_async(start: Any, models: Any) -> None:
    client = await start(models["staged"]("s"))
    predict = await client.ask("POST", "/v1/models/s:predict", json={"instances": [1]})
    explain = await client.ask("POST", "/v1/models/s:explain", json={"instances": [1]})
    assert predict[1] == {"predictions": [1, "pre", "predict", "post"]}
    assert explain[1] == {"predictions": [1, "pre", "explain", "post"]}
    metrics = (await client.ask("GET", "/metrics"))[1].decode()
    for stage in ("preprocess", "predict", "explain", "postprocess"):
        assert f'request_{stage}_seconds_count{{model_name="s"}}' in metrics


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [("", "text/plain; version=0.0.4", b""), ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text", b"# EOF\n")],
)  # fmt: skip
async def test_metrics_come_in_the_format_that_is_asked_for(
    start: Any, accept: str, content_type: str, end: bytes
) -> None:
    client = await start()
    _, body, response = await client.ask("GET", "/metrics", headers={"Accept": accept})
    assert response.headers["Content-Type"].startswith(content_type)
    assert body.endswith(end) and b"request_predict_seconds" in body


async def test_async_iterator_is_streamed(start: Any, models: Any) -> None:
    client = await start(models["stream"]("s"))
    status, body, response = await client.ask("POST", "/v1/models/s:predict", json={})
    assert (status, body, response.content_type) == (200, b"one two", "text/event-stream")


async def test_headers_go_in_and_out(start: Any) -> None:
    client = await start()
    headers = {"X-Asked": "yes", "X-Request-Id": "r-1"}
    _, _, response = await client.ask("POST", "/v1/models/m:predict", json={"do": "headers"}, headers=headers)
    assert (response.headers["X-Model"], response.headers["X-Request-Id"]) == ("yes", "r-1")
    _, _, response = await client.ask("GET", "/", headers={"X-Request-Id": "x" * 500})
    assert len(response.headers["X-Request-Id"]) == 32


async def test_readiness_tells_how_long_the_start_took(start: Any) -> None:
    client = await start()
    for path in ("/", "/v1/models/m", "/v2/health/ready", "/v2/health/live", "/v2/models/m/ready"):
        _, _, response = await client.ask("GET", path)
        phases = dict(part.split(";dur=") for part in response.headers["Server-Timing"].split(", "))
        assert set(phases) == {"import", "load"}
        assert all(float(ms) >= 0 for ms in phases.values())


async def test_body_limit_counts_decompressed_bytes(start: Any) -> None:
    client = await start(max_body_bytes=100_000)
    bomb = gzip.compress(b'{"a": "' + b"x" * 50_000_000 + b'"}')
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    before = time.monotonic()
    status, body, _ = await client.ask("POST", "/v1/models/m:predict", data=bomb, headers=headers)
    assert (status, "larger than 100000 bytes" in body["error"]) == (413, True)
    assert time.monotonic() - before < 5
    status, _, _ = await client.ask("POST", "/v1/models/m:predict", data=b"x" * 200_000)
    assert status == 413
    small = gzip.compress(b'{"instances": [1]}')
    assert (await client.ask("POST", "/v1/models/m:predict", data=small, headers=headers))[0] == 200


async def test_slow_body_is_given_up(start: Any) -> None:
    client = await start(body_timeout_s=0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
    assert b"408" in answer
    writer.close()


async def test_all_bodies_together_are_bounded(start: Any, models: Any) -> None:
    model = models["echo"]("m")
    client = await start(model, max_buffered_bytes=150_000)
    body = b'{"do": "wait", "x": "' + b"x" * 100_000 + b'"}'
    headers = {"Content-Type": "application/json"}
    first = asyncio.create_task(client.ask("POST", "/v1/models/m:predict", data=body, headers=headers))
    async with asyncio.timeout(5):
        while model.running == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    status, answer, response = await client.ask("POST", "/v1/models/m:predict", data=body, headers=headers)
    assert (status, response.headers["Retry-After"]) == (503, "1"), answer
    model.gate.set()
    assert (await first)[0] == 200
    assert (await client.ask("POST", "/v1/models/m:predict", data=body, headers=headers))[0] == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 5000 + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"nonsense\r\n\r\n",
    ],
    ids=range(7),
)
async def test_malformed_http_is_refused_and_the_server_lives(start: Any, raw: bytes) -> None:
    client = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
    writer.write(raw)
    answer = await asyncio.wait_for(reader.read(2000), 5)
    assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")) or answer == b"", answer
    writer.close()
    assert (await client.ask("GET", "/"))[0] == 200


async def test_repository_verbs_need_their_flag(start: Any) -> None:
    client = await start()
    status, body, _ = await client.ask("POST", "/v2/repository/models/m/unload")
    assert (status, "--enable_repository" in body["error"]) == (501, True)
    client = await start(enable_repository=True)
    assert (await client.ask("POST", "/v2/repository/models/x/unload"))[0] == 404
    assert (await client.ask("POST", "/v2/repository/models/m/unload"))[1] == {"name": "m", "unload": True}
    status, body, _ = await client.ask("POST", "/v1/models/m:predict", data=b"garbage")
    assert (status, body) == (503, {"error": "Model with name m is not ready."})
    assert (await client.ask("GET", "/v2/models/m/ready"))[0] == 503
    assert (await client.ask("POST", "/v2/repository/models/m/load"))[1] == {"name": "m", "load": True}
    assert (await client.ask("GET", "/v2/models/m/ready"))[0] == 200
