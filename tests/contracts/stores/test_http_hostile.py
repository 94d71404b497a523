"""What servers do wrong, and what the initializer makes of it: each is a real exchange over loopback."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from storage import initializer
from storage.errors import Reason, StorageError
from storage.settings import Settings
from storage.stores import connection, table

BODY = os.urandom(2_000_000)
FAST = {"connect_timeout_s": 2.0, "read_timeout_s": 1.0, "retry_s": 0.01, "stall_s": 0.3}


def fetch(url: str, folder: Path, environ: dict[str, str] | None = None, **changes: Any) -> None:
    settings = Settings(**{**FAST, "environ": environ or {}, **changes})
    initializer.fetch_all([initializer.Pair(url, folder)], settings, table.open_store)


def failure(url: str, folder: Path, **changes: Any) -> StorageError:
    with pytest.raises(StorageError) as caught:
        fetch(url, folder, **changes)
    assert not (folder / "model.bin").exists()
    assert not (folder / ".wakeful-complete.json").exists()
    return caught.value


def answering(
    status: int = 200, body: bytes = b"x", **headers: str
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(
            status=status, body=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )

    return answer


@pytest.mark.parametrize(
    ("status", "reason", "word"),
    [
        (401, Reason.AUTH_FAILED, "authentication failed"),
        (403, Reason.ACCESS_DENIED, "access denied"),
        (404, Reason.NOT_FOUND, "not found"),
        (500, Reason.UNAVAILABLE, "HTTP 500"),
        (418, Reason.INVALID, "HTTP 418"),
    ],
)
def test_status_becomes_its_reason(
    file_server: Any, tmp_path: Path, status: int, reason: Reason, word: str
) -> None:
    file_server.special["/model.bin"] = answering(status)
    error = failure(f"{file_server.url}/model.bin?signature=S3CRET", tmp_path)
    assert error.reason is reason
    assert word in str(error)
    assert "S3CRET" not in str(error)


@pytest.mark.parametrize(
    ("name", "kind"), [("model.bin", "text/html"), ("model.zip", "text/plain"), ("model.tar.gz", "text/html")]
)
def test_a_login_page_is_not_a_model(file_server: Any, tmp_path: Path, name: str, kind: str) -> None:
    file_server.special[f"/{name}"] = answering(Content_Type=kind)
    error = failure(f"{file_server.url}/{name}", tmp_path)
    assert (error.reason, kind in str(error)) == (Reason.INVALID, True)


@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://u:p@127.0.0.1/x"],
)
def test_redirects_to_forbidden_places_are_refused(file_server: Any, tmp_path: Path, target: str) -> None:
    file_server.special["/model.bin"] = answering(302, Location=target)
    assert failure(f"{file_server.url}/model.bin", tmp_path).reason is Reason.UNSAFE


def test_redirect_loop_ends(file_server: Any, tmp_path: Path) -> None:
    file_server.special["/model.bin"] = answering(302, Location="/model.bin")
    assert "redirects" in str(failure(f"{file_server.url}/model.bin", tmp_path, attempts=1))


def test_redirect_from_a_public_host_to_a_private_one_is_refused() -> None:
    with pytest.raises(StorageError, match="private"):
        connection.check_address("10.0.0.1", is_public_only=True)
    with pytest.raises(StorageError, match="link-local"):
        connection.check_address("::ffff:169.254.169.254", is_public_only=False)
    connection.check_address("10.0.0.1", is_public_only=False)
    connection.check_address("93.184.216.34", is_public_only=True)


def test_host_headers_are_sent_to_their_host_only(file_server: Any, tmp_path: Path) -> None:
    file_server.files["/other.bin"] = b"data"
    other = file_server.url.replace("127.0.0.1", "localhost")
    file_server.special["/model.bin"] = answering(302, Location=f"{other}/other.bin")
    environ = {"127.0.0.1-headers": '{"Authorization": "Bearer t0ken"}'}
    fetch(f"{file_server.url}/model.bin", tmp_path, environ)
    assert file_server.requests_of("/model.bin")[0]["Authorization"] == "Bearer t0ken"
    assert all("Authorization" not in headers for headers in file_server.requests_of("/other.bin"))


def test_broken_connection_is_resumed_where_it_ended(file_server: Any, tmp_path: Path) -> None:
    calls = []

    async def half(request: web.Request) -> web.StreamResponse:
        start = request.http_range.start or 0
        if request.method == "HEAD":
            return web.Response(headers={"ETag": '"v1"', "Content-Length": str(len(BODY))})
        calls.append(start)
        part = BODY[start:]
        headers = {"ETag": '"v1"', "Content-Length": str(len(part))}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        await response.write(part[: 700_000 if len(calls) < 3 else len(part)])
        if len(calls) < 3 and request.transport is not None:
            request.transport.close()
        return response

    file_server.special["/model.bin"] = half
    fetch(f"{file_server.url}/model.bin", tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY
    assert calls[0] == 0 and 0 < calls[1] < calls[2]


def test_server_without_ranges_starts_over(file_server: Any, tmp_path: Path) -> None:
    calls = []

    async def whole(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"ETag": '"v1"', "Content-Length": str(len(BODY))})
        await response.prepare(request)
        if request.method == "GET":
            calls.append(request.headers.get("Range"))
            await response.write(BODY[: 700_000 if len(calls) == 1 else len(BODY)])
            if len(calls) == 1 and request.transport is not None:
                request.transport.close()
        return response

    file_server.special["/model.bin"] = whole
    fetch(f"{file_server.url}/model.bin", tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY
    assert len(calls) == 2 and calls[1] is not None


def test_peer_that_drips_bytes_is_stalled(file_server: Any, tmp_path: Path) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000000"})
        await response.prepare(request)
        while request.method == "GET":
            await response.write(b"x")
            await asyncio.sleep(0.02)
        return response

    file_server.special["/model.bin"] = drip
    error = failure(f"{file_server.url}/model.bin", tmp_path, attempts=1)
    assert error.reason is Reason.STALLED


def test_silent_peer_is_stalled(file_server: Any, tmp_path: Path) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        if request.method == "GET":
            await asyncio.sleep(20)
        return response

    file_server.special["/model.bin"] = silent
    error = failure(f"{file_server.url}/model.bin", tmp_path, attempts=1, read_timeout_s=0.2)
    assert error.reason is Reason.STALLED


SHA = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
MD5 = base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode()
WRONG = base64.b64encode(hashlib.sha256(b"other").digest()).decode()


@pytest.mark.parametrize(
    "headers",
    [{"Content_MD5": MD5}, {"Repr_Digest": f"sha-256=:{SHA}:"}, {"Digest": f"SHA-256={SHA},MD5={MD5}"}],
)
def test_right_checksums_pass(file_server: Any, tmp_path: Path, headers: dict[str, str]) -> None:
    file_server.special["/model.bin"] = answering(200, BODY, **headers)
    fetch(f"{file_server.url}/model.bin", tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY


@pytest.mark.parametrize(
    "headers", [{"Content_MD5": MD5}, {"Repr_Digest": f"sha-256=:{WRONG}:"}, {"x_amz_checksum_sha256": WRONG}]
)
def test_wrong_checksum_is_refused(file_server: Any, tmp_path: Path, headers: dict[str, str]) -> None:
    file_server.special["/model.bin"] = answering(200, BODY[:-1] + b"?", **headers)
    assert failure(f"{file_server.url}/model.bin", tmp_path, attempts=2).reason is Reason.CHECKSUM


def test_more_bytes_than_allowed_are_refused(file_server: Any, tmp_path: Path) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.method == "GET":
            await response.write(b"x" * 65536)
        return response

    file_server.special["/model.bin"] = endless
    error = failure(f"{file_server.url}/model.bin", tmp_path, max_bytes=1_000_000, stall_s=30.0)
    assert error.reason is Reason.TOO_LARGE
