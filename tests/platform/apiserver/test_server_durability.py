"""What was answered is on the disk: through kill -9, a full disk, and starts that must be refused."""

from __future__ import annotations

import http.client
import resource
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from cluster_objects import config_map
from server_process import ServerProcess

from standalone.layout import Layout

PATH = "/api/v1/namespaces/default/configmaps"


def _write_until_cut(server: ServerProcess, prefix: str, answered: dict[str, int]) -> None:
    api = server.api()
    try:
        for index in range(100_000):
            answer = api.post(PATH, config_map(f"{prefix}-{index}", {"by": prefix}))
            answered[answer.ok()["metadata"]["name"]] = int(answer.body["metadata"]["resourceVersion"])
            if index % 3 == 2:
                gone = f"{prefix}-{index - 1}"
                answered[gone] = 0
                api.delete(f"{PATH}/{gone}").ok()
                answered[gone] = -1
    except (OSError, http.client.HTTPException, ssl.SSLError):
        return


def test_kill_loses_nothing_that_was_answered(server: ServerProcess) -> None:
    highest = 0
    for round_number in range(3):
        answered: dict[str, int] = {}
        threads = [
            threading.Thread(target=_write_until_cut, args=(server, f"r{round_number}-{index}", answered))
            for index in range(6)
        ]
        for thread in threads:
            thread.start()
        while len(answered) < 150:
            assert all(thread.is_alive() for thread in threads)
            time.sleep(0.005)
        assert server.process is not None
        server.process.kill()
        for thread in threads:
            thread.join(10)
        server.kill()
        server.start()
        api = server.api()
        listed = api.get(PATH).ok()
        found = {item["metadata"]["name"]: item for item in listed["items"]}
        for name, version in answered.items():
            if version > 0:
                assert found[name]["metadata"]["resourceVersion"] == str(version)
            elif version < 0:  # 0: asked for and not answered, so either is right
                assert name not in found
        known = max(answered.values())
        assert int(listed["metadata"]["resourceVersion"]) >= max(known, highest)
        highest = int(listed["metadata"]["resourceVersion"])
        created = api.post(PATH, config_map(f"after-{round_number}")).ok()
        assert int(created["metadata"]["resourceVersion"]) > highest


def test_watch_from_before_the_restart_is_told_to_list_again(server: ServerProcess) -> None:
    api = server.api()
    version = api.post(PATH, config_map("a")).ok()["metadata"]["resourceVersion"]
    api.post(PATH, config_map("b")).ok()
    server.kill()
    server.start()
    api = server.api()
    with api.watch(PATH, resourceVersion=version) as watch:
        event = watch.next()
        assert (event["type"], event["object"]["code"]) == ("ERROR", 410)


def test_full_disk_is_said_and_recovered_from(server: ServerProcess) -> None:
    """A limit on the size of files stands for the full disk: SQLite sees its writes cut short."""
    api = server.api()
    api.post(PATH, config_map("before")).ok()
    assert server.process is not None
    wal = server.data_dir.rglob("*-wal")
    limit = max(path.stat().st_size for path in wal) + 2_000_000
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    answered: list[str] = []
    for index in range(200):
        answer = api.post(PATH, config_map(f"fill-{index}", text="x" * 100_000))
        if answer.status != 201:
            break
        answered.append(f"fill-{index}")
    assert answer.status in (500, 507), "the limit was never reached"
    assert answer.reason == "InternalError"
    assert answer.header("Retry-After") == "", "kubectl would try again for a minute without a word"
    assert "disk" in answer.message or "writing" in answer.message
    assert answered
    assert api.get(f"{PATH}/before").status == 200
    assert api.get("/readyz").status == 500
    assert api.get("/livez").status == 200
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, unlimited)
    api.post(PATH, config_map("afterwards")).ok()
    assert api.get("/readyz").status == 200
    server.kill()
    server.start()
    api = server.api()
    names = {item["metadata"]["name"] for item in api.get(PATH).ok()["items"]}
    assert {"before", "afterwards", *answered} <= names


def _refused(*arguments: str) -> str:
    server = ServerProcess(Path(arguments[0]), *arguments[1:])
    server.log = Path(tempfile.mkdtemp()) / "log"
    assert server.spawn().wait(20) == 1
    text = server.log.read_text()
    shutil.rmtree(server.log.parent)
    lines = [line for line in text.splitlines() if line.startswith("apiserver: ")]
    assert len(lines) == 1, text
    assert "Traceback" not in text
    return lines[0]


def test_second_server_on_one_directory(server: ServerProcess) -> None:
    text = _refused(str(server.data_dir), "--port", "0")
    assert "another API server uses the data directory" in text


def test_busy_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        text = _refused(str(tmp_path / "d"), "--port", str(port))
    assert f"127.0.0.1:{port} is in use" in text


@pytest.mark.parametrize("kind", ["file", "unwritable"])
def test_unusable_directory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "here"
    path.write_text("a file")
    text = _refused(str(path) if kind == "file" else "/proc/wakeful-data", "--port", "0")
    assert "cannot use the data directory" in text


def test_damaged_database(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "d")
    server.start()
    server.stop()
    database = Layout(server.data_dir).objects_db
    database.write_bytes(b"this is no database" * 1000)
    assert "cannot use the database" in _refused(str(server.data_dir), "--port", "0")


def test_end_by_signal_is_clean(server: ServerProcess) -> None:
    api = server.api()
    with api.watch(PATH) as watch:
        watch.next()
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(EOFError):
            while True:
                watch.next()
    assert server.process.wait(10) == 0
    assert '"level": "error"' not in server.log.read_text()


def test_bad_arguments() -> None:
    command = [sys.executable, "-m", "standalone.apiserver", "--data-dir", "/tmp/x", "--port", "70000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "is not a TCP port" in done.stderr
