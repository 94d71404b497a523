"""``pods/NAME/log`` on log files as the node writes them."""

from __future__ import annotations

import datetime
import http.client
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_api import Api
from cluster_objects import pod
from server_process import ServerProcess

PODS = "/api/v1/namespaces/default/pods"


class Logged:
    """A pod with log files."""

    def __init__(self, server: ServerProcess) -> None:
        self.api: Api = server.api()
        self.name = f"p-{secrets.token_hex(4)}"
        uid = self.api.post(PODS, pod(self.name)).ok()["metadata"]["uid"]
        self.folder: Path = server.data_dir / "pods" / uid / "logs"
        self.folder.mkdir(parents=True)
        self.path = f"{PODS}/{self.name}/log"
        self.status("running")

    def status(self, state: str, phase: str = "Running") -> None:
        one = {"name": "main", "state": {state: {"exitCode": 0} if state == "terminated" else {}}}
        more = {"ready": False, "restartCount": 0, "image": "x", "imageID": "x"}
        status = {"phase": phase, "containerStatuses": [{**one, **more}]}
        self.api.patch(f"{PODS}/{self.name}/status", {"status": status}).ok()

    def write(self, *lines: str, seconds: int = 0, file: str = "main.log") -> None:
        with (self.folder / file).open("a") as log:
            for index, line in enumerate(lines):
                log.write(f"2026-01-02T03:04:{seconds + index:02}.000000000Z stdout F {line}\n")

    def read(self, **query: str) -> str:
        answer = self.api.get(self.path, **query)
        assert answer.status == 200, answer.raw
        return answer.raw.decode()


@pytest.fixture
def logged(shared: ServerProcess) -> Iterator[Logged]:
    found = Logged(shared)
    yield found
    found.api.delete(f"{PODS}/{found.name}", {"gracePeriodSeconds": 0})


def test_lines_without_their_frame(logged: Logged) -> None:
    logged.write("one", "two")
    assert logged.read() == "one\ntwo\n"
    assert logged.read(container="main") == "one\ntwo\n"


def test_timestamps(logged: Logged) -> None:
    logged.write("one")
    assert logged.read(timestamps="true") == "2026-01-02T03:04:00.000000000Z one\n"


def test_tail_limit_and_since(logged: Logged) -> None:
    logged.write("one", "two", "three", "four")
    assert logged.read(tailLines="2") == "three\nfour\n"
    assert logged.read(tailLines="0") == ""
    assert logged.read(tailLines="99") == "one\ntwo\nthree\nfour\n"
    assert logged.read(limitBytes="5") == "one\nt"
    assert logged.read(sinceTime="2026-01-02T03:04:02Z") == "three\nfour\n"
    now = datetime.datetime.now(datetime.UTC)
    assert logged.read(sinceSeconds="1") == ("" if now.year > 2025 else "one\n")


def test_long_line_in_parts_is_one_line(logged: Logged) -> None:
    with (logged.folder / "main.log").open("w") as log:
        log.write("2026-01-02T03:04:00.0Z stdout P abc\n2026-01-02T03:04:00.0Z stdout P def\n")
        log.write("2026-01-02T03:04:00.0Z stdout F ghi\n2026-01-02T03:04:01.0Z stdout F next\n")
    assert logged.read() == "abcdefghi\nnext\n"
    assert logged.read(timestamps="true") == "2026-01-02T03:04:00.0Z abcdefghi\n2026-01-02T03:04:01.0Z next\n"


def test_previous_run(logged: Logged) -> None:
    answer = logged.api.get(logged.path, previous="true").fails(400, "BadRequest")
    assert "previous terminated container" in answer.message
    logged.write("before", file="main.previous.log")
    logged.write("now")
    assert logged.read(previous="true") == "before\n"


def test_bytes_that_are_no_text(logged: Logged) -> None:
    (logged.folder / "main.log").write_bytes(b"2026-01-02T03:04:00.0Z stdout F \xff\xfe\x00\n")
    assert logged.api.get(logged.path).raw == b"\xff\xfe\x00\n"


@pytest.mark.parametrize("query", [{"tailLines": "x"}, {"sinceTime": "noon"}])
def test_malformed_option(logged: Logged, query: dict[str, str]) -> None:
    logged.api.get(logged.path, **query).fails(400, "BadRequest")


def test_negative_option_is_invalid_as_on_a_cluster(logged: Logged) -> None:
    answer = logged.api.get(logged.path, tailLines="-1").fails(422, "Invalid")
    assert "tailLines" in answer.message


def test_follow_until_the_container_has_ended(logged: Logged) -> None:
    logged.write("one")
    lines: list[str] = []
    seen = threading.Event()

    def follow() -> None:
        connection = logged.api.connect()
        connection.request("GET", f"{logged.path}?follow=true", headers=logged.api.headers)
        response = connection.getresponse()
        while line := response.readline():
            lines.append(line.decode())
            seen.set()
        connection.close()

    thread = threading.Thread(target=follow)
    thread.start()
    for number in ("two", "three"):
        assert seen.wait(10)
        seen.clear()
        logged.write(number)
    assert seen.wait(10)
    (logged.folder / "main.log").rename(logged.folder / "main.previous.log")
    logged.write("after rotation")
    assert seen.wait(10)
    logged.status("terminated", "Succeeded")
    thread.join(10)
    assert not thread.is_alive()
    assert lines == ["one\n", "two\n", "three\n", "after rotation\n"]


def test_follow_ends_with_the_pod(logged: Logged) -> None:
    logged.write("one")
    connection = logged.api.connect()
    connection.request("GET", f"{logged.path}?follow=true", headers=logged.api.headers)
    response = connection.getresponse()
    assert response.readline() == b"one\n"
    logged.api.delete(f"{PODS}/{logged.name}", {"gracePeriodSeconds": 0}).ok()
    assert response.read() == b""
    connection.close()


def test_follow_ends_where_the_log_cannot_be_read_any_more(logged: Logged) -> None:
    logged.write("one")
    connection = logged.api.connect()
    connection.request("GET", f"{logged.path}?follow=true", headers=logged.api.headers)
    assert connection.sock is not None
    connection.sock.settimeout(10)
    response = connection.getresponse()
    assert response.readline() == b"one\n"
    (logged.folder / "main.log").unlink()
    (logged.folder / "main.log").mkdir()
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        response.read()
    connection.close()


def test_container_that_waits_says_why(logged: Logged) -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    one = {"name": "main", "state": {"waiting": waiting}, "ready": False, "restartCount": 0}
    status = {"containerStatuses": [{**one, "image": "x", "imageID": ""}]}
    logged.api.patch(f"{PODS}/{logged.name}/status", {"status": status}).ok()
    answer = logged.api.get(logged.path).fails(400, "BadRequest")
    assert "is waiting to start: ImagePullBackOff (no such image)" in answer.message


@pytest.mark.parametrize("name", ["exec", "attach", "portforward", "proxy", "ephemeralcontainers"])
def test_what_a_process_on_this_machine_cannot_do_says_so(logged: Logged, name: str) -> None:
    answer = logged.api.get(f"{PODS}/{logged.name}/{name}").fails(501, "NotImplemented")
    assert f"pods/{name} is not supported by the embedded API" in answer.message
