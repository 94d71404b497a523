"""The home on one machine: `wakeful up` in a temporary data directory on free ports of loopback.

Started by the suite's conftest as a user would start it, in a process of its own; parts are killed by the process ids
that the platform itself records. Leaves nothing behind: pods' processes end with `wakeful down`'s SIGTERM.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from e2e.homes.port import Access, HomeError, Part
from e2e.waiting import until
from standalone import instance
from standalone.layout import Layout
from standalone.processes import OPERATOR_NAMESPACE
from wakeful.kit import files

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0
LOG_TAIL_BYTES = 3000


class StandaloneHome:
    """`wakeful up` in a folder of its own."""

    name = "standalone"
    parts = frozenset(Part)
    can_make_images = True

    def __init__(self) -> None:
        self._layout = Layout(Path(tempfile.mkdtemp(prefix="wk-e2e-")))
        self._ports = _free_ports(3)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Access:
        self._layout.make()
        log_path = self._layout.data_dir / "up.log"
        flags = ("--port", "--api-port", "--webhook-port")
        command = [sys.executable, "-m", "wakeful.cli", "up", "--data-dir", str(self._layout.data_dir)]
        command += [text for flag, port in zip(flags, self._ports, strict=True) for text in (flag, str(port))]
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, cwd=ROOT
            )

        def is_ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise HomeError(f"`wakeful up` ended: {log_path.read_text()[-LOG_TAIL_BYTES:]}")
            return "is ready" in log_path.read_text()

        try:
            until(is_ready, START_S, "`wakeful up` to be ready")
        except AssertionError as error:
            raise HomeError(f"{error}\n{log_path.read_text()}\n{self.diagnose()}") from error
        self._set_times()
        return Access(
            self._layout.kubeconfig, f"http://127.0.0.1:{self._ports[0]}", "127.0.0.1", "python:3.11"
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
        shutil.rmtree(self._layout.data_dir, ignore_errors=True)

    def provide_volume(self, namespace: str, claim: str) -> None:
        """Nothing to do: every claim gets a folder."""

    def provide_image(self, name: str, program: Path) -> None:
        """An entry of the data directory's image table: what an image is on this machine."""
        entry = {"pattern": name, "argv": ["{python}", str(program)]}
        files.write_atomic(
            self._layout.data_dir / "images.yaml", json.dumps({"images": [entry]}).encode(), 0o600
        )

    def kill(self, part: Part) -> None:
        if part is Part.EVERYTHING:
            self._cut_the_power()
            return
        old = self._record().processes[part.value]
        old.send(signal.SIGKILL)
        until(lambda: self._record().processes[part.value] != old, 30, f"a new {part.value}")
        command = [
            sys.executable,
            "-m",
            "wakeful.cli",
            "status",
            "--data-dir",
            str(self._layout.data_dir),
        ]
        until(
            lambda: subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0,
            60,
            f"{part.value} to be back",
        )

    def _cut_the_power(self) -> None:
        """SIGKILL to every process that has to do with the data directory, then `wakeful up` again."""
        until(self._kill_all, 30, "every process to be dead")
        if self._process is not None:
            self._process.wait(30)
        self.start()

    def _kill_all(self) -> bool:
        """Kill what is there; whether there was nothing."""
        found = _processes_of(self._layout.data_dir)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    @contextlib.contextmanager
    def second_controller(self) -> Iterator[None]:
        (port,) = _free_ports(1)
        socket_path = self._layout.socket("second-controller")
        command = [sys.executable, "-m", "controller", "--kubeconfig", str(self._layout.kubeconfig)]
        command += ["--namespace", OPERATOR_NAMESPACE, "--webhook-listen", f"tcp:127.0.0.1:{port}"]
        command += ["--admin", f"unix:{socket_path}", "--identity", "second"]
        command += ["--webhook-certs", str(self._layout.pki / "webhook")]  # one authority for both
        with (self._layout.logs / "second-controller.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        try:
            until(lambda: _answers(socket_path), 60, "the second controller to be healthy")
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)

    def diagnose(self) -> str:
        tails = []
        for path in sorted(self._layout.logs.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()
            loud = [line for line in lines if '"info"' not in line and '"debug"' not in line]
            tails.append(f"--- {path.name}: warnings and errors\n" + "\n".join(loud)[-LOG_TAIL_BYTES:])
        return "\n".join(tails)

    def _set_times(self) -> None:
        """What `hack/cluster` sets too: the last pod is kept for 6 s, not 30 s; a service may begin without a pod."""
        data = {"scale-to-zero-grace-period": "6s", "allow-zero-initial-scale": "true"}
        settings = json.dumps({"data": data})
        command = ["kubectl", "patch", "configmap", "config-autoscaler", "-n", "knative-serving"]
        environment = {**os.environ, "KUBECONFIG": str(self._layout.kubeconfig)}
        subprocess.run(
            [*command, "--type=merge", "-p", settings],
            env=environment,
            check=True,
            timeout=30,
            capture_output=True,
        )

    def _record(self) -> instance.Record:
        record = instance.read(self._layout)
        if record is None:
            raise HomeError(f"{self._layout.data_dir} has no record of a running platform")
        return record


def _processes_of(folder: Path) -> list[int]:
    """Processes whose command line, environment or working directory names ``folder``: the platform and its pods."""
    mark, found = os.fsencode(folder), []
    for place in Path("/proc").glob("[0-9]*"):
        if int(place.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            words = (place / "cmdline").read_bytes() + (place / "environ").read_bytes()
            if mark in words or mark in os.fsencode((place / "cwd").readlink()):
                found.append(int(place.name))
    return found


def _answers(path: Path) -> bool:
    """Whether /healthz of an admin socket says 200."""
    with socket.socket(socket.AF_UNIX) as link, contextlib.suppress(OSError):
        link.settimeout(5)
        link.connect(os.fspath(path))
        link.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return link.recv(15).split()[1:2] == [b"200"]
    return False


def _free_ports(count: int) -> tuple[int, ...]:
    """Ports that are free now, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return tuple(int(probe.getsockname()[1]) for probe in probes)
