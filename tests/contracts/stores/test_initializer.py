"""The initializer as a process: in place or not, idempotent, resumed after kill -9, silent about secrets."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from minio import Minio

MARKER = ".wakeful-complete.json"


def start(*words: str | Path, **environ: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "storage", *map(str, words)],
        env={"PATH": os.environ["PATH"], **environ},
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*words: str | Path, **environ: str) -> tuple[int, list[str]]:
    process = start(*words, **environ)
    _, stderr = process.communicate(timeout=30)
    return process.returncode, stderr.splitlines()


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MARKER}


def test_folder_is_copied_and_left_alone_the_second_time(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "sub").mkdir(parents=True)
    (source / "a.bin").write_bytes(b"a")
    (source / "sub" / "b.bin").write_bytes(b"b" * 1000)
    assert run(f"file://{source}", target, STORAGE_LOCAL_ROOTS=str(tmp_path))[0] == 0
    assert names(target) == {"a.bin", "sub/b.bin"}
    before = (target / "a.bin").stat().st_mtime_ns
    status, lines = run(f"file://{source}", target, STORAGE_LOCAL_ROOTS=str(tmp_path))
    assert (status, "already complete" in lines[-1]) == (0, True)
    assert (target / "a.bin").stat().st_mtime_ns == before


def test_changed_source_replaces_and_removes_only_what_it_brought(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    target.mkdir()
    (target / "mine.txt").write_text("a user's file")
    (source / "a.bin").write_bytes(b"a")
    (source / "old.bin").write_bytes(b"o")
    roots = {"STORAGE_LOCAL_ROOTS": str(tmp_path)}
    assert run(source, target, **roots)[0] == 0
    (source / "old.bin").unlink()
    (source / "a.bin").write_bytes(b"new")
    assert run(source, target, **roots)[0] == 0
    assert names(target) == {"a.bin", "mine.txt"}
    assert (target / "a.bin").read_bytes() == b"new"


def test_another_source_takes_the_place_of_the_first(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.bin").write_bytes(b"x")
    roots = {"STORAGE_LOCAL_ROOTS": str(tmp_path)}
    assert run(tmp_path / "one", tmp_path / "out", **roots)[0] == 0
    assert run(tmp_path / "two", tmp_path / "out", **roots)[0] == 0
    assert names(tmp_path / "out") == {"two.bin"}


def test_missing_file_at_the_destination_is_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.bin").write_bytes(b"a")
    roots = {"STORAGE_LOCAL_ROOTS": str(tmp_path)}
    run(tmp_path / "in", tmp_path / "out", **roots)
    (tmp_path / "out" / "a.bin").unlink()
    assert run(tmp_path / "in", tmp_path / "out", **roots)[0] == 0
    assert names(tmp_path / "out") == {"a.bin"}


def test_single_archive_is_unpacked_and_several_pairs_work(file_server: Any, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in ("model/weights.bin", "config.json"):
            entry = tarfile.TarInfo(name)
            entry.size = 3
            tar.addfile(entry, io.BytesIO(b"abc"))
    file_server.files["/m.tar.gz"] = packed.getvalue()
    file_server.files["/plain.bin"] = b"plain"
    status, lines = run(
        f"{file_server.url}/m.tar.gz", tmp_path / "a", f"{file_server.url}/plain.bin", tmp_path / "b"
    )
    assert status == 0, lines
    assert (names(tmp_path / "a"), names(tmp_path / "b")) == (
        {"config.json", "model/weights.bin"},
        {"plain.bin"},
    )


def test_kill_9_in_the_middle_then_the_next_run_goes_on(file_server: Any, tmp_path: Path) -> None:
    body = os.urandom(3_000_000)
    starts: list[int] = []

    async def slow(request: web.Request) -> web.StreamResponse:
        begin = request.http_range.start or 0
        headers = {"ETag": '"v1"', "Content-Length": str(len(body) - begin)}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(body) - 1}/{len(body)}"
        response = web.StreamResponse(status=206 if begin else 200, headers=headers)
        await response.prepare(request)
        if request.method == "GET":
            starts.append(begin)
            await response.write(body[begin : begin + 2_000_000])
            if len(starts) == 1:
                await asyncio.sleep(20)
            await response.write(body[begin + 2_000_000 :])
        return response

    file_server.special["/model.bin"] = slow
    process = start(f"{file_server.url}/model.bin", tmp_path)
    deadline = time.monotonic() + 20
    while not any(p.stat().st_size >= 1_000_000 for p in tmp_path.rglob("parts/*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    assert not (tmp_path / "model.bin").exists()
    assert not (tmp_path / MARKER).exists()
    assert run(f"{file_server.url}/model.bin", tmp_path)[0] == 0
    assert (tmp_path / "model.bin").read_bytes() == body
    assert starts[1] >= 1_000_000
    assert names(tmp_path) == {"model.bin"}


def test_s3_prefix_key_and_nothing(s3_endpoint: str, tmp_path: Path) -> None:
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    client = Minio(
        s3_endpoint.removeprefix("http://"), "key-id-1", "secret-1", secure=False, region="us-east-1"
    )
    client.make_bucket(bucket)
    for name in ("iris/model.joblib", "iris/deep/a.txt", "iris/folder/", "iris-2/other.bin", "one.bin"):
        body = b"" if name.endswith("/") else name.encode()
        client.put_object(bucket, name, io.BytesIO(body), len(body))
    environ = {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "key-id-1",
        "AWS_SECRET_ACCESS_KEY": "secret-1",
    }
    assert run(f"s3://{bucket}/iris", tmp_path / "a", **environ)[0] == 0
    assert names(tmp_path / "a") == {"model.joblib", "deep/a.txt"}
    assert run(f"s3://{bucket}/one.bin", tmp_path / "b", **environ)[0] == 0
    assert names(tmp_path / "b") == {"one.bin"}
    globs = {"STORAGE_ALLOW_PATTERNS": '["*.txt"]'}
    assert run(f"s3://{bucket}/iris/", tmp_path / "c", **environ, **globs)[0] == 0
    assert names(tmp_path / "c") == {"deep/a.txt"}
    status, lines = run(f"s3://{bucket}/absent", tmp_path / "d", **environ)
    assert (status, f"no model found in s3://{bucket}/absent" in lines[-1]) == (1, True)
    status, lines = run(f"s3://no-{bucket}/x", tmp_path / "d", **environ)
    assert (status, "bucket does not exist" in lines[-1] or "not" in lines[-1]) == (1, True)


@pytest.mark.parametrize(
    ("status", "code", "word"),
    [
        (403, "InvalidAccessKeyId", "authentication failed"),
        (403, "SignatureDoesNotMatch", "authentication failed"),
        (403, "AccessDenied", "access denied"),
        (404, "NoSuchBucket", "the bucket does not exist"),
    ],
)
def test_s3_errors_are_told_apart_without_secrets(
    file_server: Any, tmp_path: Path, status: int, code: str, word: str
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            # as S3 does: the status alone, no body that could name the code
            return web.Response(status=status, headers={"Content-Type": "application/xml"})
        text = f"<Error><Code>{code}</Code><Message>AKIAVERYSECRET t0ps3cret</Message></Error>"
        return web.Response(status=status, text=text, content_type="application/xml")

    for path in ("/bucket", "/bucket/", "/bucket/m/x"):
        file_server.special[path] = refuse
    environ = {
        "S3_ENDPOINT": file_server.url.removeprefix("http://"),
        "S3_USE_HTTPS": "0",
        "AWS_ACCESS_KEY_ID": "AKIAVERYSECRET",
        "AWS_SECRET_ACCESS_KEY": "t0ps3cret",
    }
    result, lines = run("s3://bucket/m/x", tmp_path, **environ)
    assert (result, word in lines[-1]) == (1, True), lines
    assert not any("SECRET" in line or "t0ps3cret" in line for line in lines)


@pytest.mark.parametrize(
    ("words", "status", "word"),
    [
        ((), 2, "usage"),
        (("s3://b/k",), 2, "usage"),
        (("gs://b/k", "OUT"), 1, "Google Cloud Storage is not in this version"),
        (("nonsense", "OUT"), 1, "no scheme"),
        (("pvc://claim/x", "OUT"), 1, "mounted"),
        (("file:///etc/passwd", "OUT"), 1, "outside the folders"),
        (("file:///mnt/../etc/passwd", "OUT"), 1, ".."),
        (("http://user:pa55word@127.0.0.1/x.bin", "OUT"), 1, "Secret"),
        (("s3://key:pa55word@bucket/x", "OUT"), 1, "Secret of the ServiceAccount"),
        (("key:pa55word@bucket/x", "OUT"), 1, "no scheme"),
        (("http://127.0.0.1:1/x.bin", "OUT"), 1, "nothing accepts connections"),
        (("http://169.254.169.254/x.bin", "OUT"), 1, "link-local"),
        (("http://127.0.0.1:1/x.bin", "/proc/nowhere/OUT"), 1, "cannot write"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_bad_input_ends_with_one_sentence(
    tmp_path: Path, words: tuple[str, ...], status: int, word: str
) -> None:
    given = [str(tmp_path / "out") if part == "OUT" else part for part in words]
    result, lines = run(*given, S3_MAX_ATTEMPTS="1")
    assert (result, word in lines[-1]) == (status, True), lines
    assert not any("pa55word" in line for line in lines)
    assert "Traceback" not in "".join(lines)
