"""Loading and unloading by request with ``--workers N``: all processes do it, or the answer says which did not; nobody is left behind."""

from __future__ import annotations

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import textwrap
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting_rig import until_blocking

from wakeful.serving.worker_changes import LIMIT_S, Changes, sentence

ROOT = Path(__file__).resolve().parents[3]
MODEL = """
    import os, sys, time
    from pathlib import Path
    from wakeful import Model, serve

    FOLDER = Path(os.environ["FOLDER"])

    class Versioned(Model):
        loads = 0

        def load(self):
            self.version = (FOLDER / "version").read_text()
            self.loads += 1
            (FOLDER / f"loading-{os.getpid()}").touch()
            while (FOLDER / ("hold" if self.loads > 1 else "hold-first")).exists():
                time.sleep(0.02)
            if (FOLDER / f"fail-{os.getpid()}").exists():
                raise ValueError("no room")

        def predict(self, payload, context):
            return {"pid": os.getpid(), "version": self.version}

    sys.exit(serve([Versioned("m")]))
"""


class Running:
    """A server of several processes, and the folder that its model looks into."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self.process = process
        self.folder = folder

    def port(self) -> int:
        for line in (self.folder / "log").read_text().splitlines():
            if '"serving"' in line and '"port"' in line:
                return int(json.loads(line)["port"])
        return 0

    def pids(self) -> set[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return set(map(int, children.split()))

    def ask(self, path: str, body: dict[str, object] | None = None) -> tuple[int, dict[str, str]]:
        """POST on a connection of its own: any process may answer."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port()}{path}", json.dumps(body or {}).encode(), method="POST"
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def change(self, verb: str) -> tuple[int, dict[str, str]]:
        return self.ask(f"/v2/repository/models/m/{verb}")

    def versions(self) -> dict[int, str]:
        """What each process answers, by pid; '' for one that has answered 503 (then the pids are not all there)."""
        found: dict[int, str] = {}

        def asked() -> bool:
            with concurrent.futures.ThreadPoolExecutor(8) as pool:
                for status, said in pool.map(lambda _: self.ask("/v1/models/m:predict"), range(16)):
                    found[int(said["pid"]) if status == 200 else 0] = said.get("version", "")
            return found.keys() >= self.pids() or 0 in found

        until_blocking(asked, 20, lambda: str(found))
        return found


@contextmanager
def serving(folder: Path, workers: int = 3) -> Iterator[Running]:
    (folder / "version").write_text("1")
    script = folder / "model.py"
    script.write_text(textwrap.dedent(MODEL))
    command = [sys.executable, str(script), f"--workers={workers}", "--http_port=0", "--drain_quiet_s=0"]
    with (folder / "log").open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--http_address=127.0.0.1", "--enable_repository=true"],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "FOLDER": str(folder)},
            stderr=stderr,
            text=True,
        )
    running = Running(process, folder)
    try:
        until_blocking(lambda: running.port() or process.poll() is not None, 60, (folder / "log").read_text)
        assert process.poll() is None, (folder / "log").read_text()
        yield running
    finally:
        process.kill()
        process.wait(10)


def replaced(running: Running, pid: int) -> int:
    """Kill a process; the pid of the one in its place, which may not serve yet."""
    others = running.pids() - {pid}
    os.kill(pid, signal.SIGKILL)
    until_blocking(
        lambda: pid not in running.pids() and running.pids() - others, 20, "another process to start"
    )
    return (running.pids() - others).pop()


def test_a_change_is_in_all_processes_when_it_is_answered(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        pids = running.pids()
        assert running.versions() == dict.fromkeys(pids, "1")
        (tmp_path / "version").write_text("2")
        assert running.change("load") == (200, {"name": "m", "load": True})
        assert running.versions() == dict.fromkeys(pids, "2")
        assert running.change("unload") == (200, {"name": "m", "unload": True})
        for _ in range(20):
            assert running.ask("/v1/models/m:predict")[0] == 503
        new = replaced(running, min(pids))  # it must not be the only one that has the model
        until_blocking(lambda: _serves(running, 3), 20, (tmp_path / "log").read_text)
        assert not (tmp_path / f"loading-{new}").exists()
        for _ in range(20):
            assert running.ask("/v1/models/m:predict")[0] == 503
        assert running.change("load")[0] == 200
        assert running.versions() == dict.fromkeys(running.pids(), "2")


def _serves(running: Running, workers: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{running.port()}/metrics", timeout=10) as response:
        return f"wakeful_serving_workers {workers}.0" in response.read().decode()


def test_a_load_that_fails_in_one_process_is_undone_in_the_others(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        bad = min(running.pids())
        (tmp_path / f"fail-{bad}").touch()
        (tmp_path / "version").write_text("2")
        for _ in range(2):  # a reload, then a load of what is unloaded
            status, said = running.change("load")
            assert status == 503 and "load of model m failed in 1 of 3 processes: worker " in said["error"]
            assert "ValueError: no room" in said["error"]
            assert said["error"].endswith(
                "the model is unloaded in all of them now: load it again once the cause is gone"
            )
            for _ in range(20):
                assert running.ask("/v1/models/m:predict")[0] == 503
        (tmp_path / "version").unlink()  # a process that starts now could not load it, and need not
        new = replaced(running, max(running.pids()))
        until_blocking(lambda: _serves(running, 3), 20, (tmp_path / "log").read_text)
        for _ in range(20):
            assert running.ask("/v1/models/m:predict")[0] == 503
        (tmp_path / "version").write_text("2")
        (tmp_path / f"fail-{bad}").unlink()
        assert running.change("load")[0] == 200
        assert running.versions() == dict.fromkeys(running.pids(), "2") and new in running.pids()


def test_a_reload_that_fails_in_all_processes_leaves_the_old_model(tmp_path: Path) -> None:
    with serving(tmp_path) as running:
        (tmp_path / "version").rename(tmp_path / "away")
        status, said = running.change("load")
        assert status == 503 and said["error"].endswith("the model that was loaded before answers on")
        assert running.versions() == dict.fromkeys(running.pids(), "1")


def test_one_change_at_a_time_and_a_process_that_dies_in_it_is_named(tmp_path: Path) -> None:
    with serving(tmp_path) as running, concurrent.futures.ThreadPoolExecutor(1) as pool:
        (tmp_path / "hold").touch()
        (tmp_path / "version").write_text("2")
        for path in tmp_path.glob("loading-*"):
            path.unlink()
        change = pool.submit(running.change, "load")
        until_blocking(lambda: len(list(tmp_path.glob("loading-*"))) == 3, 20, "all to load")
        assert running.change("unload") == (
            503,
            {"error": "model m is being loaded or unloaded already: try again later"},
        )
        new = replaced(running, max(running.pids()))
        (tmp_path / "hold").unlink()
        try:
            status, said = change.result(30)
        except (urllib.error.URLError, ConnectionError):
            pass  # it was the one that was asked
        else:
            assert status == 503 and "the process ended; another is started in its place" in said["error"]
        until_blocking(lambda: _serves(running, 3), 20, (tmp_path / "log").read_text)
        assert running.versions() == dict.fromkeys(running.pids(), "2") and new in running.pids()


def test_a_process_that_starts_meanwhile_makes_up_for_it(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as running:
        (tmp_path / "hold-first").touch()
        new = replaced(running, min(running.pids()))
        until_blocking(lambda: (tmp_path / f"loading-{new}").exists(), 20, "the new process to load")
        (tmp_path / "version").write_text("2")
        assert running.change("load")[0] == 200  # by the process that serves
        (tmp_path / "hold-first").unlink()
        until_blocking(lambda: _serves(running, 2), 20, (tmp_path / "log").read_text)
        assert running.versions() == dict.fromkeys(running.pids(), "2")


def test_changes_of_one_model_go_one_after_the_other() -> None:
    changes = Changes()
    assert changes.begin(10, 1, ("load", "m"), {10: 0, 11: 1}, 100.0) == 1
    assert changes.begin(11, 1, ("unload", "m"), {10: 0, 11: 1}, 100.0) is None
    assert changes.begin(11, 2, ("unload", "other"), {10: 0, 11: 1}, 101.0) == 2
    changes.did(1, 10, None)
    assert changes.finished(101.0) == []
    changes.ended(11)
    changes.did(1, 11, "late")
    changes.did(7, 11, "of nothing")
    first, = changes.finished(101.0)  # fmt: skip
    assert (first.number, first.errors) == (1, [[1, "the process ended; another is started in its place"]])
    assert changes.next_deadline() == 101.0 + LIMIT_S
    (second,) = changes.finished(101.0 + LIMIT_S)
    assert second.errors == [
        [1, "the process ended; another is started in its place"],
        [0, "it has not answered"],
    ]
    assert changes.next_deadline() is None and changes.begin(10, 3, ("load", "m"), {10: 0}, 200.0) == 3


def test_a_load_is_taken_back_where_some_could_and_some_could_not() -> None:
    changes, two = Changes(), {10: 0, 11: 1}
    changes.begin(10, 1, ("load", "m"), two, 1.0)
    changes.did(1, 10, None)
    changes.did(1, 11, "no room")
    (half,) = changes.finished(2.0)
    assert half.is_half_done and changes.undo(half, two, 2.0) == 2
    assert changes.begin(10, 2, ("load", "m"), two, 2.0) is None
    changes.did(2, 10, None)
    changes.did(2, 11, "unload() raised: out of service all the same")
    (back,) = changes.finished(3.0)
    assert back.undoes is half and (back.asker, back.number) == (10, 1)
    assert not back.is_half_done and changes.unloaded() == {"m"}


def test_a_load_that_one_refused_and_one_died_over_is_taken_back_too() -> None:
    """The one that is started instead loads the model: it would be the only one that has it."""
    changes = Changes()
    changes.begin(10, 1, ("load", "m"), {10: 0, 11: 1}, 1.0)
    changes.did(1, 10, "no room")
    changes.ended(11)
    assert changes.finished(2.0)[0].is_half_done


@pytest.mark.parametrize(
    ("verb", "first", "second"),
    [("load", "no room", "no room"), ("load", None, None), ("unload", None, "no"), ("load", None, "ended")],
)
def test_what_is_not_half_done(verb: str, first: str | None, second: str | None) -> None:
    """One that ended is replaced by one that loads: nobody lives on without the change."""
    changes = Changes()
    changes.begin(10, 1, (verb, "m"), {10: 0, 11: 1}, 1.0)
    changes.did(1, 10, first)
    if second == "ended":
        changes.ended(11)
    else:
        changes.did(1, 11, second)
    assert not changes.finished(2.0)[0].is_half_done


def test_a_load_that_none_could_changes_nothing_for_those_who_start_later() -> None:
    changes = Changes()
    for number, (verb, error) in enumerate((("load", "no"), ("unload", None), ("load", "no")), 1):
        changes.begin(10, number, (verb, "m"), {10: 0}, number)
        changes.did(number, 10, error)
        changes.finished(number)
        assert changes.unloaded() == ({"m"} if number > 1 else set())


@pytest.mark.parametrize(
    ("since", "missed"),
    [(0.0, [["unload", "a"], ["load", "b"]]), (15.0, [["load", "b"]]), (25.0, [])],
)
def test_what_a_new_process_has_missed(since: float, missed: list[list[str]]) -> None:
    changes = Changes()
    changes.begin(1, 1, ("load", "a"), {}, 5.0)
    changes.finished(5.0)
    changes.begin(1, 2, ("unload", "a"), {}, 10.0)
    changes.begin(1, 3, ("load", "b"), {}, 20.0)
    assert (changes.missed(since), changes.unloaded()) == (missed, {"a"})


def test_one_cause_in_all_is_said_once() -> None:
    assert sentence("load", "m", 2, [[0, "no file"], [1, "no file"]], False) == "no file"
    one = sentence("load", "m", 2, [[1, "no file"]], False)
    assert one == (
        "load of model m failed in 1 of 2 processes: worker 1: no file; do it again once the cause is gone"
    )
    assert "worker 0: a; worker 1: b" in sentence("load", "m", 2, [[0, "a"], [1, "b"]], False)
