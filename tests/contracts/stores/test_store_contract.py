"""The ``ObjectStore`` contract, run on every adapter: local files, a real HTTP server, a real S3 server."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from minio import Minio

from storage.errors import Reason, StorageError
from storage.ports import ObjectInfo, ObjectStore
from storage.stores import connection, s3
from storage.stores.http import HttpStore
from storage.stores.local import LocalStore

POLICY = connection.Policy(connect_timeout_s=5, read_timeout_s=5)
BIG = os.urandom(3 * 1024 * 1024 + 17)


@dataclass
class Case:
    """A store, how to put an object into its world, and how a relative path becomes a key."""

    store: ObjectStore
    put: Callable[[str, bytes], None]
    key: Callable[[str], str]
    has_folders: bool = True


@pytest.fixture(params=["local", "http", "s3"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    if request.param == "local":

        def put_file(path: str, body: bytes) -> None:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).unlink(missing_ok=True)
            (tmp_path / path).write_bytes(body)

        yield Case(LocalStore([tmp_path]), put_file, lambda path: str(tmp_path / path))
    elif request.param == "http":
        server = request.getfixturevalue("file_server")

        def put_http(path: str, body: bytes) -> None:
            server.files[f"/{path}"] = body

        yield Case(HttpStore({}, POLICY), put_http, lambda path: f"{server.url}/{path}", has_folders=False)
    else:
        endpoint = request.getfixturevalue("s3_endpoint")
        access = s3.access(
            {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a-key", "AWS_SECRET_ACCESS_KEY": "a-secret"}
        )
        bucket = f"b-{uuid.uuid4().hex[:12]}"
        client = Minio(access.endpoint, "a-key", "a-secret", secure=False, region="us-east-1")
        client.make_bucket(bucket)

        def put_s3(path: str, body: bytes) -> None:
            import io

            client.put_object(bucket, path, io.BytesIO(body), len(body))

        yield Case(s3.S3Store(bucket, access, POLICY), put_s3, lambda path: path)


def read(store: ObjectStore, info: ObjectInfo, start: int = 0) -> bytes:
    with store.open_range(info, start) as body:
        found = bytearray()
        while chunk := body.read():
            found += chunk
        return bytes(found[start - body.start :])


def test_stat_tells_name_and_size(case: Case) -> None:
    case.put("m/model.bin", b"hello")
    info = case.store.stat(case.key("m/model.bin"))
    assert (info.path, info.size_bytes) == ("model.bin", 5)
    assert info.version


def test_stat_of_nothing_is_not_found(case: Case) -> None:
    with pytest.raises(StorageError) as caught:
        case.store.stat(case.key("m/absent.bin"))
    assert caught.value.reason is Reason.NOT_FOUND
    assert "absent.bin" in str(caught.value)


@pytest.mark.parametrize("start", [0, 1, 1024 * 1024, len(BIG) - 1])
def test_open_range_reads_to_the_end(case: Case, start: int) -> None:
    case.put("m/model.bin", BIG)
    info = case.store.stat(case.key("m/model.bin"))
    assert read(case.store, info, start) == BIG[start:]


def test_empty_object_has_no_bytes(case: Case) -> None:
    case.put("m/empty.bin", b"")
    info = case.store.stat(case.key("m/empty.bin"))
    assert info.size_bytes in (0, None)  # a HEAD answer may leave the length out
    assert read(case.store, info) == b""


def test_version_changes_with_content_and_old_version_is_refused(case: Case) -> None:
    case.put("m/model.bin", b"one one")
    before = case.store.stat(case.key("m/model.bin"))
    case.put("m/model.bin", b"two two")
    assert case.store.stat(case.key("m/model.bin")).version != before.version
    with pytest.raises(StorageError) as caught:
        read(case.store, before)
    assert caught.value.reason is Reason.CHANGED


def test_list_gives_everything_below_the_folder_in_order(case: Case) -> None:
    if not case.has_folders:
        pytest.skip("a URL is one file")
    for path in ("m/b.bin", "m/a/x.bin", "m/a/y.bin", "m-other/z.bin", "m.bin"):
        case.put(path, path.encode())
    found = list(case.store.list(case.key("m")))
    assert [info.path for info in found if "/" in info.path] == ["a/x.bin", "a/y.bin"]
    assert {info.path: read(case.store, info) for info in found} == {
        "a/x.bin": b"m/a/x.bin",
        "a/y.bin": b"m/a/y.bin",
        "b.bin": b"m/b.bin",
    }


def test_list_of_one_url_is_that_file(case: Case) -> None:
    if case.has_folders:
        pytest.skip("a folder lists its files")
    case.put("m.bin", b"x")
    assert [info.path for info in case.store.list(case.key("m.bin"))] == ["m.bin"]


def test_several_threads_read_at_once(case: Case) -> None:
    for number in range(8):
        case.put(f"m/{number}.bin", bytes([number]) * 100_000)
    infos = [case.store.stat(case.key(f"m/{number}.bin")) for number in range(8)]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda info: read(case.store, info), infos))
    assert found == [bytes([number]) * 100_000 for number in range(8)]


def test_names_with_spaces_and_unicode(case: Case) -> None:
    case.put("m/my model é.bin", b"x")
    key = case.key("m/my model é.bin")
    if not case.has_folders:
        key = key.replace(" ", "%20").replace("é", "%C3%A9")
    info = case.store.stat(key)
    assert info.path == "my model é.bin"
    assert read(case.store, info) == b"x"
