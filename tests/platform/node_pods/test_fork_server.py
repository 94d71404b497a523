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
