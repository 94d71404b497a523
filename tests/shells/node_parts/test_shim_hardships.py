"""The shim where the machine is short of something: no descriptor, no log file, no pid that is still its own."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from standalone.node.log_writer import LogWriter
from standalone.node.shim import Process, Shim


def open_descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@contextmanager
def shim_of(tmp_path: Path) -> Iterator[Shim]:
    with socket.socket(socket.AF_UNIX) as listener:
        made = Shim(listener, "")
        yield made
        made._selector.close()
        os.close(made._wake_read)
        os.close(made._wake_write)


@pytest.mark.parametrize("request_of", [{"op": "signal", "id": "a", "signal": 9}, {"op": "shutdown"}])
def test_an_ended_process_is_not_signalled(tmp_path: Path, request_of: dict[str, object]) -> None:
    """Its number may be that of another process group by now."""
    stranger = subprocess.Popen(["sleep", "30"], start_new_session=True)
    try:
        with shim_of(tmp_path) as shim:
            writer = LogWriter(tmp_path / "a.log", 1000)
            ended = Process("a", stranger.pid, 0.0, {}, writer, code=0, is_reported=True)
            shim._processes["a"] = ended
            shim._operate(request_of)
            writer.close()
        with pytest.raises(subprocess.TimeoutExpired):
            stranger.wait(0.2)
    finally:
        stranger.kill()
        stranger.wait()


@contextmanager
def room_for(descriptors: int) -> Iterator[None]:
    """No more than so many new descriptors in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, open_descriptors()))
    fill = [os.dup(0)]
    while fill[-1] < highest:
        fill.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (fill[-1] + 1 + descriptors, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in fill:
            os.close(descriptor)


@pytest.mark.parametrize("room", range(5))  # the log takes one, two pipes four
def test_a_failed_start_leaves_no_descriptor_open(tmp_path: Path, room: int) -> None:
    order = {"id": "a", "argv": ["true"], "env": {}, "cwd": "/", "log": str(tmp_path / "a.log")}
    with shim_of(tmp_path) as shim:
        before = open_descriptors()
        with room_for(room), pytest.raises(OSError, match="Too many open files"):
            shim._start(order)
        assert open_descriptors() == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_node_that_cannot_be_accepted_does_not_end_the_shim(tmp_path: Path) -> None:
    with shim_of(tmp_path) as shim:
        shim._accept(0, 0)  # the socket does not listen: accept fails


def test_a_log_that_was_removed_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writer = LogWriter(path, 100)
    writer.write("stdout", b"x" * 90 + b"\n")
    path.unlink()
    writer.write("stdout", b"again\n")
    writer.close()
    assert path.read_bytes().endswith(b" stdout F again\n")


def test_a_log_without_a_folder_never_takes_another_file_s_number(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    writer = LogWriter(folder / "a.log", 100)
    writer.write("stdout", b"x" * 90 + b"\n")
    (folder / "a.log").unlink()
    folder.rmdir()
    writer.write("stdout", b"lost\n")
    with (tmp_path / "other").open("wb", buffering=0) as other:
        writer.write("stdout", b"lost\n")
        writer.close()
        assert os.fstat(other.fileno()).st_size == 0
