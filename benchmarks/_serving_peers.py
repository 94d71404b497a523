"""The servers that ``hack/bench serving`` compares: how each is started, with the same model file and an echo model.

Every server runs on core 0 alone; the load generator has core 1 (on a machine with one core they share it, and the
figures say so).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks._ports import free_port

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = str(ROOT / "hack" / "env")
SERVER_CORE, LOAD_CORE = 0, min(1, (os.cpu_count() or 1) - 1)
WAKEFUL_ECHO = """
import sys
from wakeful import Model, serve
from wakeful.core.protocol import arrays
from wakeful.serving import InferRequest, InferResponse
class Echo(Model):
    def predict(self, payload, context):
        if isinstance(payload, InferRequest):
            tensor = payload.inputs[0]
            return InferResponse([arrays.from_array("out", arrays.to_array(tensor))])
        return {"predictions": payload["instances"]}
sys.exit(serve([Echo("echo")]))
"""
KSERVE = """
import sys, joblib
from kserve import InferOutput, InferResponse, Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response
class Iris(Model):
    def load(self):
        self.estimator = joblib.load(sys.argv[1] + "/model.joblib")
        self.ready = True
    def predict(self, payload, headers=None):
        return get_predict_response(payload, self.estimator.predict(get_predict_input(payload)), self.name)
class Echo(Model):
    def load(self):
        self.ready = True
    def predict(self, payload, headers=None):
        if isinstance(payload, dict):
            return {"predictions": payload["instances"]}
        array = payload.inputs[0].as_numpy()
        output = InferOutput("out", list(array.shape), payload.inputs[0].datatype)
        output.set_data_from_numpy(array, binary_data=True)
        return InferResponse(payload.id or "", self.name, [output])
models = [Iris("iris")] if sys.argv[4] == "iris" else [Echo("echo")]
for model in models:
    model.load()
ModelServer(http_port=int(sys.argv[2]), grpc_port=int(sys.argv[3]), workers=1, access_log_format=None).start(models)
"""


@dataclass(slots=True)
class Peer:
    """One server under test."""

    name: str
    model: str
    command: list[str]
    port: int
    grpc_port: int = 0
    environ: dict[str, str] = field(default_factory=dict)
    ready_path: str = ""
    process: subprocess.Popen[bytes] | None = None
    ready_s: float = 0.0
    ready_rss_mib: int = 0

    def start(self) -> None:
        """Start it and wait until it answers. Raises ``SystemExit`` where it does not."""
        began = time.perf_counter()
        self.process = subprocess.Popen(
            self.command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", **self.environ},
            preexec_fn=lambda: os.sched_setaffinity(0, {SERVER_CORE}),
        )
        url = f"http://127.0.0.1:{self.port}{self.ready_path or f'/v2/models/{self.model}/ready'}"
        while True:
            try:
                urllib.request.urlopen(url, timeout=5).close()
                break
            except OSError:
                if self.process.poll() is not None or time.perf_counter() - began > 120:
                    raise SystemExit(f"{self.name} did not start: {' '.join(self.command)[:200]}") from None
                time.sleep(0.01)
        self.ready_s = time.perf_counter() - began
        self.ready_rss_mib = self.rss_mib()

    def rss_mib(self) -> int:
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.partition("VmRSS:")[2].split()[0]) // 1024

    def cpu_s(self) -> float:
        """Seconds of CPU the process has used."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def _wakeful(model: str, folder: Path) -> Peer:
    port = free_port()
    flags = [f"--model_name={model}", f"--http_port={port}", "--http_address=127.0.0.1"]
    if model == "iris":
        command = [sys.executable, "-m", "runtimes.sklearn", f"--model_dir={folder}", *flags]
    else:
        command = [sys.executable, "-c", WAKEFUL_ECHO, *flags]
    return Peer("wakeful", model, command, port, port)


def _kserve(model: str, folder: Path) -> Peer:
    port, grpc_port = free_port(), free_port()
    command = [ENVIRONMENTS, "kserve", "-c", KSERVE, str(folder), str(port), str(grpc_port), model]
    return Peer("kserve", model, command, port, grpc_port)


def _mlserver(model: str, folder: Path) -> Peer:
    port, grpc_port, metrics_port = free_port(), free_port(), free_port()
    home = folder / "mlserver"
    home.mkdir(exist_ok=True)
    (home / "settings.json").write_text(json.dumps({"debug": False, "parallel_workers": 0}))
    (home / "model-settings.json").write_text(
        json.dumps(
            {
                "name": "iris",
                "implementation": "mlserver_sklearn.SKLearnModel",
                "parameters": {"uri": str(folder / "model.joblib")},
            }
        )
    )
    environ = {
        "MLSERVER_HTTP_PORT": str(port),
        "MLSERVER_GRPC_PORT": str(grpc_port),
        "MLSERVER_METRICS_PORT": str(metrics_port),
        "MLSERVER_HOST": "127.0.0.1",
    }
    start = "from mlserver.cli import main; main()"  # it has no module to run, only an entry point
    command = [ENVIRONMENTS, "mlserver", "-c", start, "start", str(home)]
    return Peer("mlserver", model, command, port, grpc_port, environ)


def _floor(model: str, folder: Path) -> Peer:
    port = free_port()
    kind = "echo" if model == "echo" else "fixed"
    command = [sys.executable, "-m", "benchmarks._serving_floor", str(port), kind]
    return Peer("floor", model, command, port, ready_path="/")


PEERS: dict[str, Callable[[str, Path], Peer]] = {
    "wakeful": _wakeful,
    "kserve": _kserve,
    "mlserver": _mlserver,
    "floor": _floor,
}


def peers(names: list[str], model: str, folder: Path) -> list[Peer]:
    """The named servers for one model (MLServer has no echo model here)."""
    return [PEERS[name](model, folder) for name in names if not (name == "mlserver" and model == "echo")]
