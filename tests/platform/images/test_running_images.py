"""Each image does its job in a box as narrow as a restricted pod's: read-only root, user 65532, no capability."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import joblib
import pytest
from image_box import Unpacked, of_this_run
from image_server import answers, free_port, post, run, started
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
from waiting_rig import until_blocking

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(1800)]
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.7, 3.1, 4.7, 1.5]]
TOPS = {
    "controller": ["controller", "wakeful.core.api", "wakeful.core.scaling", "wakeful.core.traffic"],
    "eventing": ["eventing"],
    "explainer": ["runtimes.explainer"],
    "huggingface": ["runtimes.huggingface"],
    "lightgbm": ["runtimes.lightgbm"],
    "onnx": ["runtimes.onnx"],
    "pmml": ["runtimes.pmml"],
    "sklearn": ["runtimes.sklearn", "wakeful.serving"],
    "storage-initializer": ["storage"],
    "torch": ["runtimes.torch"],
    "xgboost": ["runtimes.xgboost"],
}
IMPORT_ALL = """
import importlib, pkgutil, sys
names = []
for top in {tops!r}:
    package = importlib.import_module(top)
    names += [top, *(found.name for found in pkgutil.walk_packages(package.__path__, top + "."))]
for name in set(names) - {{"runtimes.explainer.gradients"}}:
    importlib.import_module(name)
print(len(names))
"""


@pytest.mark.parametrize("name", of_this_run(TOPS))
def test_every_module_imports(unpacked: Mapping[str, Unpacked], name: str) -> None:
    printed = unpacked[name].python(IMPORT_ALL.format(tops=TOPS[name]))
    assert int(printed) > len(TOPS[name])


def test_modules_of_every_image_are_imported(unpacked: Mapping[str, Unpacked]) -> None:
    assert of_this_run(TOPS) == list(unpacked)


def test_the_box_is_narrow(unpacked: Mapping[str, Unpacked]) -> None:
    code = """
import os
try:
    open("/usr/x", "w")
except OSError as error:
    print(error.errno)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(os.getuid(), os.getgid(), *(int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs")))
"""
    read_only_file_system = "30"
    assert unpacked["eventing"].python(code).split("\n")[:2] == [
        read_only_file_system,
        "65532 65532 0 0 0 0 1",
    ]


def test_sigterm_ends_the_first_process_from_its_first_moment(unpacked: Mapping[str, Unpacked]) -> None:
    """While it imports, a program has no handler of its own, and the kernel drops what process 1 does not handle."""
    code = "import os, time; print(os.getpid(), flush=True); time.sleep(100)"
    box = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child"]
    command = [*box, *unpacked["eventing"].program("python3", "-P", "-c", code)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "1\n"
            (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(first), signal.SIGTERM)
            assert process.wait(20) == 143
        finally:
            process.kill()


def test_controller_explains_itself(unpacked: Mapping[str, Unpacked]) -> None:
    done = run(unpacked["controller"].command("--help"))
    assert done.returncode == 0 and "--webhook-listen" in done.stdout


def test_controller_has_every_class_of_the_client(unpacked: Mapping[str, Unpacked]) -> None:
    """They are shipped compiled only: none may have got lost. Every 25th is loaded, which takes seconds."""
    code = """
from kubernetes.aio import client
names = sorted(client.__all__)
print(len(names), all(getattr(client, name) for name in names[::25]))
"""
    count, are_all_there = unpacked["controller"].python(code).split()
    assert (int(count) > 500, are_all_there) == (True, "True")


def test_sklearn_serves_a_model(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    data = load_iris()
    model = DecisionTreeClassifier(max_depth=2, random_state=0).fit(data.data, data.target)
    tmp_path.chmod(0o755)
    (tmp_path / "models").mkdir()
    joblib.dump(model, tmp_path / "models" / "model.joblib")
    port = free_port()
    words = [
        "--model_name=iris",
        "--model_dir=/mnt/models",
        f"--http_port={port}",
        "--http_address=127.0.0.1",
    ]
    with started(unpacked["sklearn"].command(*words, mnt=tmp_path)) as server:
        url = f"http://127.0.0.1:{port}"
        until_blocking(lambda: answers(url + "/v2/health/ready", server), 60, "the model server to be ready")
        v1 = post(url + "/v1/models/iris:predict", {"instances": ROWS})
        v2 = post(url + "/v2/models/iris/infer", tensor())
    assert v1 == {"predictions": [int(label) for label in model.predict(ROWS)]}
    assert v2["outputs"][0]["data"] == v1["predictions"]
    assert server.returncode == 0


def test_storage_initializer_fetches_over_http(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "model.bin").write_bytes(b"weights" * 1000)
    target = tmp_path / "target"
    target.mkdir()
    os.chown(target, 65532, 65532)
    with web_server(tmp_path / "source") as url:
        done = run(unpacked["storage-initializer"].command(f"{url}/model.bin", "/mnt", mnt=target))
    assert done.returncode == 0, done.stderr
    assert (target / "model.bin").read_bytes() == b"weights" * 1000


def test_storage_initializer_says_what_is_missing(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    os.chown(tmp_path, 65532, 65532)
    with web_server(tmp_path) as url:
        done = run(unpacked["storage-initializer"].command(f"{url}/absent.bin", "/mnt", mnt=tmp_path))
    assert done.returncode == 1
    assert "404" in done.stderr.splitlines()[-1]


def test_eventing_starts_and_ends(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    os.chown(tmp_path, 65532, 65532)
    events, admin = free_port(), free_port()
    words = ["--kubeconfig=/mnt/kubeconfig", "--database=/mnt/events.db", "--proxy=http://127.0.0.1:1"]
    words += [f"--listen=tcp:127.0.0.1:{events}", f"--admin=tcp:127.0.0.1:{admin}"]
    with started(unpacked["eventing"].command(*words, mnt=tmp_path)) as server:
        url = f"http://127.0.0.1:{admin}/metrics"
        until_blocking(lambda: answers(url, server), 30, "the admin page of eventing")
    assert server.returncode == 0
    assert (tmp_path / "events.db").stat().st_uid == 65532


def tensor() -> dict[str, object]:
    flat = [value for row in ROWS for value in row]
    return {"inputs": [{"name": "rows", "shape": [2, 4], "datatype": "FP64", "data": flat}]}


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Python's own file server over ``folder``."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join(10)
