"""How long a model server takes from the start of its process to ready, on how much processor time and memory.

    hack/bench start [--runs 10] [--model svc|forest|logistic]

Side by side, one after the other in each round, on one model file: our scikit-learn server; the same with everything
imported at once; scikit-learn alone (imports, loads, predicts once and waits: what the framework itself costs); KServe's
own server. Seconds are wall time to the first 200 of the readiness probe, which depends on the machine's load; processor
time hardly does. Memory is what is resident when ready. Prints a table; touches only a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from benchmarks._ports import free_port
from benchmarks._serving_peers import KSERVE, ROOT

PATIENCE_S = 180.0
MODELS: dict[str, Callable[[], Any]] = {
    "svc": SVC,
    "forest": RandomForestClassifier,
    "logistic": lambda: LogisticRegression(max_iter=500),
}
FRAMEWORK = """
import joblib, socket, sys
joblib.load(sys.argv[1] + "/model.joblib").predict([[5.1, 3.5, 1.4, 0.2]])
listening = socket.create_server(("127.0.0.1", int(sys.argv[2])))
while True:
    taken = listening.accept()[0]
    taken.recv(4096)
    taken.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
    taken.close()
"""


@dataclass(slots=True)
class Start:
    """One way to start a server and what was measured of it."""

    label: str
    command: Callable[[int], list[str]]
    """By port."""
    environ: dict[str, str] = field(default_factory=dict)
    ready_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    rss_mib: list[float] = field(default_factory=list)


def starts(folder: str) -> list[Start]:
    """All ways that this machine has."""

    def ours(port: int) -> list[str]:
        flags = [f"--model_dir={folder}", f"--http_port={port}", "--http_address=127.0.0.1"]
        return [sys.executable, "-m", "runtimes.sklearn", "--model_name=iris", *flags]

    found = [
        Start("wakeful", ours),
        Start("wakeful, everything imported", ours, {"WAKEFUL_EAGER_IMPORTS": "true"}),
        Start("scikit-learn alone", lambda port: [sys.executable, "-c", FRAMEWORK, folder, str(port)]),
    ]
    kserve = ROOT / ".venv-kserve" / "bin" / "python"
    if subprocess.run([ROOT / "hack" / "env", "kserve"], check=False).returncode == 0:
        found.append(
            Start(
                "kserve",
                lambda port: [str(kserve), "-c", KSERVE, folder, str(port), str(free_port()), "iris"],
            )
        )
    else:
        print("kserve is left out: hack/env kserve failed", file=sys.stderr)
    return found


def measure(way: Start) -> None:
    """Start it once, wait until it is ready, note what that took, end it."""
    port = free_port()
    began = time.perf_counter()
    process = subprocess.Popen(
        way.command(port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ, **way.environ},
    )
    try:
        while not _is_ready(port):
            if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
                raise SystemExit(f"{way.label} did not start: {' '.join(way.command(port))[:300]}")
            time.sleep(0.005)
        way.ready_s.append(time.perf_counter() - began)
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        way.cpu_s.append((int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))
        status = Path(f"/proc/{process.pid}/status").read_text()
        way.rss_mib.append(int(status.partition("VmRSS:")[2].split()[0]) / 1024)
    finally:
        process.kill()
        process.wait()


def _is_ready(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(
                b"GET /v2/models/iris/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            )
            return connection.recv(4096).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--model", choices=sorted(MODELS), default="svc")
    options = parser.parse_args()
    rows, classes = load_iris(return_X_y=True)
    with tempfile.TemporaryDirectory(prefix="wakeful-start-") as folder:
        joblib.dump(MODELS[options.model]().fit(rows, classes), Path(folder) / "model.joblib")
        ways = starts(folder)
        for way in ways * (options.runs + 1):
            measure(way)
    print(
        f"{options.model}, {options.runs} starts each after one to warm up, {platform.platform()}, "
        f"{os.cpu_count()} cores, load {' '.join(f'{value:.1f}' for value in os.getloadavg())}"
    )
    print(f"{'':30} {'ready p50':>10} {'min':>6} {'cpu p50':>8} {'min':>6} {'RSS MiB':>8}")
    for way in ways:
        ready, cpu = way.ready_s[1:], way.cpu_s[1:]
        print(
            f"{way.label:30} {statistics.median(ready):8.2f} s {min(ready):6.2f} {statistics.median(cpu):8.2f} "
            f"{min(cpu):6.2f} {statistics.median(way.rss_mib):8.0f}"
        )


if __name__ == "__main__":
    main()
