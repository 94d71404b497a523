"""A process that cannot be started now (no memory, no process left, an upgrade under way) is tried again."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

from standalone import instance
from standalone.layout import Layout
from standalone.processes import Process
from standalone.supervisor import Supervisor


async def test_a_start_that_fails_is_tried_again(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "data")
    layout.make()
    program, proof = tmp_path / "program", tmp_path / "proof"
    record = instance.Record(0, 0, instance.ProcessId(1, 0))
    process = Process("node", (str(program),), layout.socket("node"), stop_stage=0)
    supervisor = Supervisor(layout, record, (process,))
    supervisor.start()
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
        await supervisor.stop()
    assert not record.processes["node"].is_alive


def test_a_process_that_ends_before_its_signal_is_no_error() -> None:
    class Ending(instance.ProcessId):
        @property
        def is_alive(self) -> bool:
            return True  # it was, a moment ago

    with subprocess.Popen(["true"]) as process:
        process.wait()
    Ending(process.pid, 0).send(signal.SIGTERM)
