"""The README's tour, on a platform of its own: apply, predict, events, sleep, wake, canary, bad input, kill -9."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from waiting_rig import until_blocking as until
from whole_platform import Platform

from standalone import instance

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "hack"))
import train_iris  # noqa: E402

pytestmark = [pytest.mark.platform, pytest.mark.timeout(300), pytest.mark.usefixtures("needs_kubectl")]

NAMESPACE = "iris-demo"
HOST = f"iris.{NAMESPACE}.localhost"


@pytest.fixture(scope="module")
def iris(platform: Platform) -> tuple[list[list[float]], list[int]]:
    """The iris sample, applied and Ready; rows and what scikit-learn says of them."""
    expected = train_iris.train(platform.layout.volumes / NAMESPACE / "models")
    platform.kubectl("apply", "-f", str(ROOT / "config/samples/iris.yaml"))
    platform.kubectl("wait", "isvc/iris", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
    return expected


def call(platform: Platform, path: str, body: Any, host: str = HOST) -> tuple[int, Any, dict[str, str]]:
    """POST JSON through the gateway; status, decoded body, headers."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{platform.ports[0]}{path}",
        data=body if isinstance(body, bytes) else json.dumps(body).encode(),
        headers={"Host": host, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return response.status, decode(response.read()), lowered(response.headers)
    except urllib.error.HTTPError as error:
        return error.code, decode(error.read()), lowered(error.headers)


def decode(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def lowered(headers: Message) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def pods(platform: Platform) -> list[str]:
    return platform.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").split()


def test_predicts_what_scikit_learn_says(
    platform: Platform, iris: tuple[list[list[float]], list[int]]
) -> None:
    rows, classes = iris
    status, answer, _ = call(platform, "/v1/models/iris:predict", {"instances": rows})
    assert (status, answer) == (200, {"predictions": classes})
    tensor = {"name": "x", "shape": [len(rows), 4], "datatype": "FP64", "data": rows}
    status, answer, _ = call(platform, "/v2/models/iris/infer", {"inputs": [tensor]})
    assert (status, answer["outputs"][0]["data"]) == (200, classes)


@pytest.mark.usefixtures("iris")
def test_bad_predictions_are_the_callers_fault(platform: Platform) -> None:
    status, answer, _ = call(platform, "/v1/models/iris:predict", b"{")
    assert status == 400, answer
    status, answer, _ = call(platform, "/v1/models/iris:predict", {"instances": [[1.0, 2.0]]})
    assert status == 400
    assert "4" in str(answer), answer
    status, answer, _ = call(platform, "/v1/models/other:predict", {"instances": [[1.0]]})
    assert (status, answer) == (404, {"error": "Model with name other does not exist."})


@pytest.mark.usefixtures("iris")
def test_columns(platform: Platform) -> None:
    out = platform.kubectl("get", "isvc", "iris", "-n", NAMESPACE)
    assert f"http://{HOST}:{platform.ports[0]}" in out
    assert out.split()[:3] == ["NAME", "URL", "READY"]


def test_sleeps_and_wakes_with_a_timeline(
    platform: Platform, iris: tuple[list[list[float]], list[int]]
) -> None:
    until(lambda: not any("iris-predictor" in pod for pod in pods(platform)), 60, "no pod")
    assert "True" in platform.kubectl("get", "isvc", "iris", "-n", NAMESPACE)
    status, answer, headers = call(platform, "/v1/models/iris:predict", {"instances": iris[0]})
    assert (status, answer) == (200, {"predictions": iris[1]})
    assert headers.get("wakeful-cold-start") == "true"
    for phase in ("decide", "start", "import", "load", "probe", "answer"):
        assert f"{phase};dur=" in headers["server-timing"]


@pytest.mark.usefixtures("iris")
@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"spec": {"predictor": {"model": {"modelFormat": {"name": "nosuch"}}}}}, "nosuch"),
        ({"spec": {"predictor": {"model": {"storageUri": "pvc://models/missing"}}}}, "missing"),
    ],
    ids=["unknown format", "missing model file"],
)
def test_healthy_revision_serves_while_a_broken_one_says_why(
    platform: Platform, iris: tuple[list[list[float]], list[int]], patch: Any, words: str
) -> None:
    platform.kubectl("patch", "isvc", "iris", "-n", NAMESPACE, "--type=merge", "-p", json.dumps(patch))
    try:
        until(lambda: words in conditions(platform), 30, f"{words!r} in a condition")
        status, answer, _ = call(platform, "/v1/models/iris:predict", {"instances": iris[0]})
        assert (status, answer) == (200, {"predictions": iris[1]})
    finally:
        platform.kubectl(
            "apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "config/samples/iris.yaml")
        )
        platform.kubectl("wait", "isvc/iris", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")


def conditions(platform: Platform) -> str:
    status = json.loads(platform.kubectl("get", "isvc", "iris", "-n", NAMESPACE, "-o", "json")).get(
        "status", {}
    )
    return json.dumps([status.get("conditions"), status.get("modelStatus")])


@pytest.mark.usefixtures("iris")
def test_unknown_field_is_named(platform: Platform) -> None:
    text = (ROOT / "config/samples/iris.yaml").read_text().replace("minReplicas: 0", "minReplica: 0")
    out = platform.kubectl("apply", "-f", "-", text=text, check=False)
    assert "minReplica" in out
    assert "unknown field" in out


@pytest.mark.parametrize("name", ["controller", "knative", "node", "gateway", "eventing", "apiserver"])
def test_killed_process_comes_back_and_nothing_is_lost(
    platform: Platform, iris: tuple[list[list[float]], list[int]], name: str
) -> None:
    record = instance.read(platform.layout)
    assert record is not None
    victim = record.processes[name]
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: all_healthy(platform, name, victim), 30, f"{name} to be back")
    status, answer, _ = call(platform, "/v1/models/iris:predict", {"instances": iris[0]})
    assert answer == {"predictions": iris[1]}, status
    assert "True" in platform.kubectl("get", "isvc", "iris", "-n", NAMESPACE)


def test_killed_launcher_takes_all_along_and_all_come_back(
    platform: Platform, iris: tuple[list[list[float]], list[int]]
) -> None:
    record = instance.read(platform.layout)
    assert record is not None
    victim = record.processes["gateway"]
    launcher = int(Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert platform.process is not None
    assert launcher != platform.process.pid
    os.kill(launcher, signal.SIGKILL)
    until(lambda: all_healthy(platform, "gateway", victim), 30, "the platform to be back")
    after = instance.read(platform.layout)
    assert after is not None
    assert all(after.processes[name] != record.processes[name] for name in record.processes)
    status, answer, _ = call(platform, "/v1/models/iris:predict", {"instances": iris[0]})
    assert (status, answer) == (200, {"predictions": iris[1]})


def all_healthy(platform: Platform, name: str, old: instance.ProcessId) -> bool:
    import subprocess

    record = instance.read(platform.layout)
    if record is None or record.processes[name] == old:
        return False
    command = [sys.executable, "-m", "wakeful.cli", "status", "--data-dir", str(platform.layout.data_dir)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def test_killed_supervisor_loses_nothing(
    platform: Platform, iris: tuple[list[list[float]], list[int]]
) -> None:
    before = json.loads(platform.kubectl("get", "isvc", "iris", "-n", NAMESPACE, "-o", "json"))["metadata"][
        "uid"
    ]
    platform.stop(signal.SIGKILL)
    platform.start()
    after = json.loads(platform.kubectl("get", "isvc", "iris", "-n", NAMESPACE, "-o", "json"))["metadata"][
        "uid"
    ]
    assert before == after
    status, answer, _ = call(platform, "/v1/models/iris:predict", {"instances": iris[0]})
    assert (status, answer) == (200, {"predictions": iris[1]})
