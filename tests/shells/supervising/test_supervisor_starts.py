"""A process that cannot be started now (no memory, no process left, an upgrade under way) is tried again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

import pytest

from standalone import instance, supervisor
from standalone.layout import Layout
from standalone.processes import Process
from standalone.supervisor import Supervisor


async def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.make()
    program, proof = tmp_path / "program", tmp_path / "proof"
    record = instance.Record(0, 0, instance.ProcessId(1, 0))
    process = Process("node", (str(program),), layout.socket("node"), stop_stage=0)
    running = Supervisor(layout, record, (process,))
    running.start()
    try:
        async with asyncio.timeout(10):
            while not record.restarts:  # noqa: ASYNC110 a dictionary tells no event
                await asyncio.sleep(0.01)
            made = tmp_path / "made"
            made.write_text(f"#!/bin/sh\ntouch {proof}\nexec sleep 60\n")
            made.chmod(0o700)
            made.rename(program)
            while not (proof.exists() and record.processes):  # noqa: ASYNC110 another process writes it
                await asyncio.sleep(0.01)
    finally:
        await running.stop()
    assert not record.processes["node"].is_alive


async def test_the_log_of_a_process_that_lives_long_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "LOG_CHECK_S", 0.02)
    monkeypatch.setattr(supervisor, "LOG_KEEP_BYTES", 1000)
    layout = Layout(tmp_path / "data")
    layout.make()
    record = instance.Record(0, 0, instance.ProcessId(1, 0))
    writing = (
        "sh",
        "-c",
        "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done; sleep 0.3; echo last; exec sleep 60",
    )
    running = Supervisor(layout, record, (Process("node", writing, layout.socket("node"), stop_stage=0),))
    running.start()
    log = layout.logs / "node.log"
    try:
        async with asyncio.timeout(10):
            while not (log.exists() and log.read_bytes() == b"last\n"):  # noqa: ASYNC110 another process writes it
                await asyncio.sleep(0.01)
    finally:
        await running.stop()
    assert b"line 299" in log.with_suffix(".previous.log").read_bytes()


def test_a_run_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.make()
    layout.run.chmod(0o777)
    with pytest.raises(PermissionError, match="another user"):
        layout.make()


def test_a_process_that_ends_before_its_signal_is_no_error() -> None:
    class Ending(instance.ProcessId):
        @property
        def is_alive(self) -> bool:
            return True  # it was, a moment ago

    with subprocess.Popen(["true"]) as process:
        process.wait()
    Ending(process.pid, 0).send(signal.SIGTERM)


def test_the_age_of_a_process_is_its_time_since_it_was_made() -> None:
    with subprocess.Popen(["sleep", "0.3"]) as process:
        made = instance.ProcessId.of(process.pid)
        young = made.age_s
        process.wait()
    assert 0.0 <= young < 5.0
    assert made.age_s - young >= 0.28
    assert instance.ProcessId(1, 0).age_s == 0.0
