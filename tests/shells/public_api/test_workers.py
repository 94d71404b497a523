"""``--workers N``: processes that really run side by side, one readiness, one page, drained and replaced together."""

from __future__ import annotations

import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting_rig import until_blocking

from wakeful import InferenceClient

ROOT = Path(__file__).resolve().parents[3]
MODEL = """
    import os, signal, sys, time
    from wakeful import Model, serve

    class Slow(Model):
        def load(self):
            place = os.environ.get("BREAK")
            if place == "load":
                raise ValueError("no weights")
            if place == "late" and os.path.exists(os.environ["FLAG"]):
                raise ValueError("no weights any more")

        def predict(self, payload, context):
            match payload.get("do"):
                case "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "burn":
                    end = time.process_time() + payload["s"]
                    while time.process_time() < end:
                        pass
                case "sleep":
                    time.sleep(payload["s"])
            return {"pid": os.getpid()}

    sys.exit(serve([Slow("m")]))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    def __init__(self, process: subprocess.Popen[str], base: str, log: Path) -> None:
        self.process = process
        self.base = base
        self.log = log

    def post(self, timeout_s: float = 15.0, **payload: object) -> int:
        """One call on a connection of its own; the pid that answered."""
        with InferenceClient(self.base, timeout_s=timeout_s) as client:
            return int(client.predict("m", payload)["pid"])

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.base + path, timeout=5) as response:
            return str(response.read().decode())

    def counted(self) -> float:
        found = re.findall(
            r'^wakeful_serving_requests_total\{.*code="200".*\} (\S+)$', self.get("/metrics"), re.M
        )
        return sum(map(float, found))

    def pids(self) -> set[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return set(map(int, children.split()))


@contextmanager
def serving(folder: Path, workers: int, *, wait: bool = True, **environ: str) -> Iterator[Running]:
    script = folder / "model.py"
    script.write_text(textwrap.dedent(MODEL))
    log = folder / "log"
    port = free_port()
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [
                sys.executable,
                str(script),
                f"--workers={workers}",
                f"--http_port={port}",
                "--drain_quiet_s=0.05",
                "--http_address=127.0.0.1",
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
            stderr=stderr,
            text=True,
        )
    running = Running(process, f"http://127.0.0.1:{port}", log)
    try:
        if wait:
            with InferenceClient(running.base) as client:
                until_blocking(lambda: process.poll() is not None or client.is_ready("m"), 30, log.read_text)
            assert process.poll() is None, log.read_text()
        yield running
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("three"), 3) as running:
        yield running


def test_workers_really_start_and_run_in_parallel(three: Running) -> None:
    assert len(three.pids()) == 3
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        pids = set(pool.map(lambda _: three.post(do="sleep", s=0.3), range(12)))
    assert pids <= three.pids()
    assert len(pids) > 1


def test_any_worker_answers_with_the_sum(three: Running) -> None:
    before = three.counted()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: three.post(do="sleep", s=0.02), range(24)))
    for _ in range(5):
        assert three.counted() == before + 24
    page = three.get("/metrics")
    assert re.search(r"^wakeful_serving_workers 3\.0$", page, re.M)
    resident = float(re.findall(r"^process_resident_memory_bytes (\S+)$", page, re.M)[0])
    assert resident > 3 * 20e6
    (count,) = re.findall(r'^request_predict_seconds_count\{model_name="m"\} (\S+)$', page, re.M)
    (infinite,) = re.findall(
        r'^request_predict_seconds_bucket\{le="\+Inf",model_name="m"\} (\S+)$', page, re.M
    )
    assert float(count) == float(infinite) >= 24


def test_a_dead_worker_is_told_and_replaced_and_its_counts_stay(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as running:
        old = running.pids()
        for _ in range(6):
            running.post()
        before = running.counted()
        with pytest.raises(Exception, match="broke"):
            running.post(do="die")
        until_blocking(lambda: len(running.pids()) == 2 and running.pids() != old, 20, running.log.read_text)
        page = until_blocking(
            lambda: (found := running.get("/metrics")) and "wakeful_serving_workers 2.0" in found and found,
            20,
            lambda: running.get("/metrics"),
        )
        assert "wakeful_serving_worker_restarts_total 1.0" in page
        assert running.counted() >= before
        assert '"worker ended"' in running.log.read_text()
        assert {running.post() for _ in range(20)} <= running.pids()


def test_sigterm_drains_all_and_ends_with_0(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as running, concurrent.futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(running.post, do="sleep", s=0.6) for _ in range(4)]
        until_blocking(
            lambda: "wakeful_serving_requests_in_flight 4.0" in running.get("/metrics"),
            5,
            "four calls to begin",
        )
        pids = running.pids()
        running.process.send_signal(signal.SIGTERM)
        assert all(call.result(10) in pids for call in calls)
        assert running.process.wait(10) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_nothing_listens_before_all_have_loaded_and_a_failed_load_ends_the_start(tmp_path: Path) -> None:
    with serving(tmp_path, 2, wait=False, BREAK="load") as running:
        assert running.process.wait(20) == 1
        assert running.log.read_text().splitlines()[-1] == "model m failed to load: ValueError: no weights"


def test_killing_the_supervisor_leaves_nobody(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as running:
        pids = running.pids()
        running.process.kill()
        running.process.wait(5)
        until_blocking(
            lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in pids), 5, "the workers to be gone"
        )


def test_a_taken_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        script = tmp_path / "m.py"
        script.write_text(textwrap.dedent(MODEL))
        done = subprocess.run(
            [
                sys.executable,
                str(script),
                "--workers=2",
                f"--http_port={taken.getsockname()[1]}",
                "--http_address=127.0.0.1",
            ],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 1
    assert "is in use by another program" in done.stderr.splitlines()[-1]


def test_ready_probe_during_cpu_predict(tmp_path: Path) -> None:
    with serving(tmp_path, 1) as running, concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(running.post, do="burn", s=1.0)
        until_blocking(
            lambda: "wakeful_serving_requests_in_flight 1.0" in running.get("/metrics"),
            5,
            "the call to begin",
        )
        answered_s = []
        while not call.done() and len(answered_s) < 20:
            began = time.monotonic()
            assert running.get("/v2/health/ready") == '{"ready":true}'
            answered_s.append(time.monotonic() - began)
        call.result(20)
    assert answered_s
    # 15 to 40 ms each for the interpreter lock to change hands a few times; the bound leaves room for busy machines.
    assert sorted(answered_s)[len(answered_s) // 2] < 0.5


def test_a_stopped_worker_holds_up_neither_calls_nor_the_page(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as running:
        assert "wakeful_serving_workers 2.0" in running.get("/metrics")
        stopped = min(running.pids())
        os.kill(stopped, signal.SIGSTOP)
        try:
            assert {running.post(do="sleep", s=0.01) for _ in range(5)} == running.pids() - {stopped}
            began = time.monotonic()
            assert "wakeful_serving_workers 2.0" in running.get("/metrics")
            assert time.monotonic() - began < 4
        finally:
            os.kill(stopped, signal.SIGCONT)
