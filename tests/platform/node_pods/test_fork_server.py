"""What a program started by the fork server inherits: nothing that can hurt it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = """
import gc, os, sys
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(60)]
gc.collect()
lost = []
for fd in held:
    try:
        os.fstat(fd)
    except OSError:
        lost.append(fd)
print("lost", lost, flush=True)
"""


def test_collecting_what_the_fork_server_had_closes_nothing_of_the_program(tmp_path: Path) -> None:
    """A collected socket of the fork server closed a descriptor number that the program had in use by then."""
    (tmp_path / "program.py").write_text(PROGRAM)
    path, log = tmp_path / "s", tmp_path / "out.log"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "standalone.node.shim", "--socket", str(path), "--preload", "python"]
    with subprocess.Popen(command, env=environment) as process, socket.socket(socket.AF_UNIX) as client:
        deadline = time.monotonic() + 30
        while client.connect_ex(str(path)):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        order = {
            "op": "start",
            "id": "1",
            "argv": ["program"],
            "module": "program",
            "env": dict(environment),
            "cwd": str(tmp_path),
            "log": str(log),
        }
        client.settimeout(30)
        client.sendall(json.dumps(order).encode() + b"\n")
        answers = client.makefile()
        while json.loads(answers.readline()).get("event") != "exit":
            pass
        client.sendall(b'{"op": "shutdown"}\n')
        process.wait(30)
    assert "lost []" in log.read_text()


WARM = """
import os, sys
from standalone.node import preload
before = set(os.listdir("/proc/self/fd"))
preload.load("sklearn")
left = sorted(set(os.listdir("/proc/self/fd")) - before)
print(len(os.listdir("/proc/self/task")), left, "encodings.idna" in sys.modules)
"""


def test_the_warm_sklearn_server_has_one_thread_and_holds_nothing_open() -> None:
    """It served a model once: a thread or descriptor left over from that would be in every model that it forks."""
    done = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, timeout=120)
    assert done.stdout == "1 [] True\n", done.stderr
    assert "not warm" not in done.stderr
