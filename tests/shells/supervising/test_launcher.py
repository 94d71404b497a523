"""The launcher as the supervisor uses it: real processes, their ends, descriptors handed down, and its own death."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from standalone import launcher
from standalone.launcher_client import KILLED, LauncherClient, Running

LIMIT_S = 20.0
MODULE = """
import os, socket, sys, yaml
if "--listen-fd" in sys.argv:
    listener = socket.socket(fileno=int(sys.argv[sys.argv.index("--listen-fd") + 1]))
    connection, _ = listener.accept()
    connection.sendall(f"{__name__} {sorted(int(n) for n in os.listdir('/proc/self/fd'))[:5]}".encode())
    sys.exit(3)
print("ends with", sys.argv[1:], file=sys.stderr)
sys.exit("a sentence")
"""


@pytest.fixture
async def client() -> AsyncIterator[LauncherClient]:
    client = LauncherClient()
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that the launcher's children find."""
    (tmp_path / "launched_program.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "launched_program"


async def start(client: LauncherClient, log: Path, argv: list[str], module: str = "", *kept: int) -> Running:
    with log.open("ab") as file:
        async with asyncio.timeout(LIMIT_S):
            return await client.start("one", argv, module, [file.fileno(), *kept], shared=bool(module))


async def ended(running: Running) -> int:
    async with asyncio.timeout(LIMIT_S):
        return await running.ended


async def test_a_module_runs_as_main_with_its_flags_and_its_words_are_in_the_log(
    client: LauncherClient, program: str, tmp_path: Path
) -> None:
    running = await start(client, tmp_path / "log", ["python", "--flag", "value"], program)
    assert await ended(running) == 1
    assert (tmp_path / "log").read_text().splitlines() == ["ends with ['--flag', 'value']", "a sentence"]


async def test_descriptors_are_handed_down_as_three_and_up_and_no_others_are_kept(
    client: LauncherClient, program: str, tmp_path: Path
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        argv = ["python", "--listen-fd", "3"]
        running = await start(client, tmp_path / "log", argv, program, listener.fileno())
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        async with asyncio.timeout(LIMIT_S):
            words = await reader.read()
        writer.close()
    assert await ended(running) == 3
    # 4 is the accepted connection, 5 the folder that is being read
    assert words == b"__main__ [0, 1, 2, 3, 4]", (tmp_path / "log").read_text()


async def test_a_process_is_known_by_its_program_in_the_process_list(
    client: LauncherClient, tmp_path: Path
) -> None:
    argv = [sys.executable, "--data-dir", str(tmp_path), "--port", "0"]
    running = await start(client, tmp_path / "log", argv, "standalone.gateway")
    async with asyncio.timeout(LIMIT_S):
        while b"standalone.gateway" not in (line := Path(f"/proc/{running.id.pid}/cmdline").read_bytes()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert line.rstrip(b"\0").decode() == f"{sys.executable} -m standalone.gateway {' '.join(argv[1:])}"
    running.send(signal.SIGKILL)
    assert await ended(running) == KILLED


async def test_a_program_that_is_not_there_ends_with_127(client: LauncherClient, tmp_path: Path) -> None:
    running = await start(client, tmp_path / "log", [str(tmp_path / "missing")])
    assert await ended(running) == 127
    assert "not found" in (tmp_path / "log").read_text()


async def test_signals_reach_the_process_with_their_default_meaning(
    client: LauncherClient, tmp_path: Path
) -> None:
    running = await start(client, tmp_path / "log", ["sleep", "60"])
    running.send(signal.SIGTERM)
    assert await ended(running) == -signal.SIGTERM
    running.send(signal.SIGTERM)  # has ended: no error, and nobody else is hit


async def test_a_killed_launcher_takes_its_processes_along_and_is_started_again(
    client: LauncherClient, tmp_path: Path
) -> None:
    first = await start(client, tmp_path / "log", ["sleep", "60"])
    parent = int(Path(f"/proc/{first.id.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    assert await ended(first) == KILLED
    async with asyncio.timeout(LIMIT_S):
        while first.id.is_alive and "Z" not in Path(f"/proc/{first.id.pid}/stat").read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    second = await start(client, tmp_path / "log", ["sleep", "60"])
    assert second.id.is_alive
    await client.close()
    assert await ended(second) == KILLED


def test_what_the_processes_share_leaves_one_thread_and_can_be_imported() -> None:
    code = (
        "from pathlib import Path; from standalone import launcher; launcher.warm_up();"
        "print(len(list(Path('/proc/self/task').iterdir())), len(list(Path('/proc/self/fd').iterdir())))"
    )
    words = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert words.stdout.split() == ["1", "4"]  # 0, 1, 2 and the folder that is being read
    assert "kopf" not in launcher.SHARED
