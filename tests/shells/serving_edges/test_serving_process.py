"""The scikit-learn runtime as a process: flags, what it says when it cannot start, SIGTERM, and after a fork."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import iris_rig
import pytest

FORK_TO_READY_BOUND_MS = 250
"""Aim: 40 ms plus load on an idle machine; the bound leaves room for two busy cores."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return iris_rig.put(tmp_path_factory.mktemp("iris"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "runtimes.sklearn", *flags]


def fails(*flags: str, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        command(*flags, f"--http_port={free_port()}", "--http_address=127.0.0.1"),
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


@contextmanager
def serving(folder: Path, *flags: str, **environ: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    port = free_port()
    process = subprocess.Popen(
        command(
            "--model_name=iris",
            "--model_dir",
            str(folder),
            "--http_port=1",
            *flags,
            "--http-port",
            str(port),
            "--http_address=127.0.0.1",
        ),
        env={"PATH": os.environ["PATH"], **environ},
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait(10)


def get(url: str, body: Any = None) -> tuple[int, Any, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, json.load(response), response.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error), error.headers


def until_ready(url: str, deadline_s: float = 30.0) -> Any:
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            return get(f"{url}/v2/health/ready")[2]
        except OSError:
            assert time.monotonic() < deadline, "the server did not become ready"
            time.sleep(0.005)


def test_serves_until_sigterm_with_kserves_flags(folder: Path) -> None:
    flags = ("--workers", "2", "--enable_grpc=false", "--grpc_port", "9999", "--enable_docs_url")
    with serving(folder, *flags, WAKEFUL_STARTED_AT=str(time.time())) as (process, url):
        headers = until_ready(url)
        assert "import;dur=" in headers["Server-Timing"]
        assert get(f"{url}/v1/models/iris:predict", {"instances": [[5.1, 3.5, 1.4, 0.2]]})[1] == {
            "predictions": [0]
        }
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--modle_name=x",), "unknown flag --modle_name (did you mean --model_name?)"),
        (("--http_port=eighty",), "--http_port takes a whole number, got 'eighty'"),
        (("--http_port=70000",), "--http_port must be from 0 to 65535"),
        (("--max_threads=0",), "--max_threads must be from 1"),
        (("--workers=1001",), "--workers must be from 1 to 1000"),
        (("--model_name=a/b",), "cannot be part of a URL"),
        (("loose",), "is not a flag"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_flags_end_with_one_sentence(flags: tuple[str, ...], words: str) -> None:
    from wakeful.serving import settings

    with pytest.raises(settings.SettingsError) as caught:
        settings.parse(flags)
    assert words in str(caught.value)


def test_flags_last_wins_and_a_missing_value_is_named(folder: Path) -> None:
    from wakeful.serving import settings

    parsed = settings.parse(["--http_port=1", "--http-port", "2", "--nthread=3", "--enable_docs_url"])
    assert (parsed.settings.http_port, parsed.ignored) == (2, ("nthread", "enable_docs_url"))
    with pytest.raises(settings.SettingsError, match="needs a value"):
        settings.parse(["--model_name"])
    with pytest.raises(settings.SettingsError, match="true or false"):
        settings.parse(["--enable_repository=perhaps"])
    assert settings.parse(["--enable_repository"]).settings.enable_repository
    assert fails("--nope=1")[0] == 2


def test_the_reason_is_the_containers_termination_message(tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"not a pickle")
    note = tmp_path / "note"
    _, line = fails("--model_dir", str(tmp_path), WAKEFUL_TERMINATION_LOG=str(note))
    assert note.read_text() == line
    assert "the file is damaged or not of the format its name says" in line
    _, line = fails("--nope=1", WAKEFUL_TERMINATION_LOG=str(tmp_path / "no" / "folder"))
    assert "unknown flag --nope" in line


def test_load_failures_name_file_and_cause(tmp_path: Path, folder: Path) -> None:
    status, line = fails("--model_dir", str(tmp_path / "absent"))
    assert (status, "does not exist" in line) == (1, True)
    (tmp_path / "model.joblib").write_bytes(b"not a pickle")
    status, line = fails("--model_dir", str(tmp_path))
    assert (status, "model.joblib cannot be loaded" in line) == (1, True), line
    (tmp_path / "model.joblib").unlink()
    (tmp_path / "model.pkl").write_bytes(b"cbuiltins\nexit\n(I0\ntR.")
    status, line = fails("--model_dir", str(tmp_path))
    assert (status, "failed to load: SystemExit: 0" in line) == (1, True), line
    status, line = fails("--model_dir", str(folder), WAKEFUL_PICKLE="Refuse")
    assert (status, "WAKEFUL_PICKLE=Refuse" in line) == (1, True), line


FORKER = """
import os, sys, time
from runtimes.sklearn import preload
from runtimes.sklearn.__main__ import main
sys.stdout.write("warm\\n"); sys.stdout.flush()
sys.stdin.readline()
child = os.fork()
if child == 0:
    os.environ["WAKEFUL_STARTED_AT"] = str(time.time())
    os._exit(main(sys.argv[1:]))
os.waitpid(child, 0)
"""


def test_after_a_fork_it_listens_at_once(folder: Path) -> None:
    """Measured: fork to first good answer, imports preloaded, as the node's fork server does it."""
    port = free_port()
    flags = ["--model_name=iris", f"--model_dir={folder}", f"--http_port={port}", "--http_address=127.0.0.1"]
    process = subprocess.Popen(
        [sys.executable, "-c", FORKER, *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        assert process.stdout.readline() == b"warm\n"
        started = time.perf_counter()
        process.stdin.write(b"go\n")
        process.stdin.flush()
        headers = until_ready(f"http://127.0.0.1:{port}")
        elapsed_ms = (time.perf_counter() - started) * 1000
        print(f"fork to ready: {elapsed_ms:.0f} ms ({headers['Server-Timing']})")
        assert elapsed_ms < FORK_TO_READY_BOUND_MS
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)


FROZEN = """
import gc, sys
from wakeful import Model, serve
from wakeful.serving import startup

class Counts(Model):
    def load(self):
        self.loaded = [{} for _ in range(1000)], gc.get_freeze_count(), gc.isenabled()

    def predict(self, payload, context):
        return {"loading": self.loaded[1:], "serving": [gc.get_freeze_count() > 1000, gc.isenabled()]}

startup.rest_collector()
before = startup.Startup(0.0)
before.loading()
before.loaded()
assert gc.get_freeze_count() == 0 and not gc.isenabled(), "what is loaded is kept when the server listens, and once"
sys.exit(serve([Counts("m")]))
"""


def test_what_is_loaded_is_kept_from_the_collector_once_it_serves() -> None:
    port = free_port()
    flags = [f"--http_port={port}", "--http_address=127.0.0.1"]
    process = subprocess.Popen([sys.executable, "-c", FROZEN, *flags], env={"PATH": os.environ["PATH"]})
    try:
        until_ready(f"http://127.0.0.1:{port}/v1/models/m")
        status, found, _ = get(f"http://127.0.0.1:{port}/v1/models/m:predict", {})
        assert (status, found) == (200, {"loading": [0, False], "serving": [True, True]})
    finally:
        process.kill()
        process.wait(10)
