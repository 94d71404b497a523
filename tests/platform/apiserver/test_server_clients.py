"""Clients that are many, slow, silent or broken do not hurt the others."""

from __future__ import annotations

import socket
import ssl
import time

import pytest
from cluster_api import eventually
from cluster_objects import config_map
from server_process import ServerProcess

PATH = "/api/v1/namespaces/default/configmaps"


def _connect(server: ServerProcess) -> ssl.SSLSocket:
    api = server.api()
    raw = socket.create_connection((api.host, api.port), timeout=10)
    return api.tls.wrap_socket(raw, server_hostname=api.host)


def _send(server: ServerProcess, request: bytes) -> bytes:
    """All that comes back for raw bytes, until the server closes or is silent for half a second."""
    with _connect(server) as connection:
        connection.sendall(request)
        connection.settimeout(0.5)
        found = b""
        while True:
            try:
                data = connection.recv(65536)
            except TimeoutError:
                return found
            if not data:
                return found
            found += data


def _head(server: ServerProcess, line: str, *headers: str) -> bytes:
    token = server.api().headers["Authorization"]
    return "\r\n".join([line, "Host: x", f"Authorization: {token}", *headers, "", ""]).encode()


def test_hundreds_of_idle_connections(shared: ServerProcess) -> None:
    before = shared.rss_mib()
    idle = [_connect(shared) for _ in range(400)]
    try:
        api = shared.api()
        begun = time.monotonic()
        for _ in range(20):
            api.get(PATH, limit="1").ok()
        assert time.monotonic() - begun < 2
        assert shared.rss_mib() - before < 120
    finally:
        for connection in idle:
            connection.close()


def test_watcher_that_does_not_read_is_cut_off(server: ServerProcess) -> None:
    api = server.api()
    with _connect(server) as slow:
        slow.sendall(_head(server, f"GET {PATH}?watch=true HTTP/1.1"))
        assert slow.recv(12) == b"HTTP/1.1 200"
        with api.watch(PATH) as quick:
            before = server.rss_mib()
            for index in range(30):
                api.post(PATH, config_map(f"big-{index}", text="x" * 900_000)).ok()
                quick.until(lambda event, name=f"big-{index}": event["object"]["metadata"]["name"] == name)
            assert server.rss_mib() - before < 150

        def cut() -> bool:
            try:
                return not slow.recv(1 << 20)
            except (ConnectionResetError, ssl.SSLError):
                return True

        eventually(cut, "the slow watcher was not cut off")


def test_half_a_request_holds_nobody_up(shared: ServerProcess) -> None:
    with _connect(shared) as half:
        half.sendall(_head(shared, f"POST {PATH} HTTP/1.1", "Content-Length: 100")[:-2])
        api = shared.api()
        api.get(PATH, limit="1").ok()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X-A: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400),
    ],
    ids=["nonsense", "version", "long-path", "long-header", "long-body", "negative-length"],
)
def test_broken_request_gets_an_answer_and_the_end(
    shared: ServerProcess, request_bytes: bytes, status: int
) -> None:
    found = _send(shared, request_bytes)
    assert found.startswith(f"HTTP/1.1 {status} ".encode()), found[:200]
    assert b'"kind":"Status"' in found


def test_chunked_body_over_the_limit(shared: ServerProcess) -> None:
    head = _head(shared, f"POST {PATH} HTTP/1.1", "Transfer-Encoding: chunked")
    chunk = b"%x\r\n%b\r\n" % (1 << 20, b"x" * (1 << 20))
    assert _send(shared, head + chunk * 4).startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_are_answered_in_order(shared: ServerProcess) -> None:
    lines = [f"GET {PATH}/p-{index} HTTP/1.1" for index in range(50)]
    found = _send(shared, b"".join(_head(shared, line) for line in lines))
    at = [found.index(f'\\"p-{index}\\"'.encode()) for index in range(50)]
    assert at == sorted(at)


def test_many_writers_share_commits(shared: ServerProcess) -> None:
    import threading

    def write(prefix: int) -> None:
        api = shared.api()
        for index in range(20):
            api.post(PATH, config_map(f"w-{prefix}-{index}")).ok()

    threads = [threading.Thread(target=write, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    api = shared.api()
    names = [item["metadata"]["name"] for item in api.get(PATH).ok()["items"]]
    assert sum(name.startswith("w-") for name in names) == 320


def test_optimistic_counters_lose_no_update(shared: ServerProcess) -> None:
    """Read, change, put with the version, again on 409: twelve writers, one object."""
    import threading

    shared.api().post(PATH, config_map("counter", value="0")).ok()

    def count() -> None:
        api = shared.api()
        done = 0
        while done < 15:
            found = api.get(f"{PATH}/counter").ok()
            found["data"]["value"] = str(int(found["data"]["value"]) + 1)
            done += api.put(f"{PATH}/counter", found).status == 200

    threads = [threading.Thread(target=count) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    assert shared.api().get(f"{PATH}/counter").ok()["data"]["value"] == "180"
