"""The tutorials, word for word: each command of the page runs on a real platform and prints what the page says."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from page_rig import ROOT, Reader
from waiting_rig import until_blocking as until
from whole_platform import Platform, free_port

pytestmark = [pytest.mark.platform, pytest.mark.timeout(240), pytest.mark.usefixtures("needs_kubectl")]

UP = r"^\.venv/bin/wakeful up "
EXPLAINER = ROOT / ".venv-explainer" / "bin" / "python"


def reader(platform: Platform, page: str, elsewhere: str = UP, **replaced: str) -> Reader:
    """Who follows ``page`` on ``platform``."""
    texts = {
        "$PWD/.wakeful/tour": str(platform.layout.data_dir),
        ".wakeful/tour": str(platform.layout.data_dir),
        "localhost:8080": f"localhost:{platform.ports[0]}",
    }
    return Reader(page, texts | replaced, elsewhere, platform.environment)


def table_begun(platform: Platform) -> Path:
    """The table of images as the page before left it."""
    table = platform.layout.data_dir / "images.yaml"
    table.write_text('images:\n  - pattern: "example/before:*"\n    argv: ["true"]\n')
    return table


@contextmanager
def background(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program of another terminal."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_custom_model(platform: Platform) -> None:
    port = free_port()
    flags = (f"--http_port={port}", "--http_address=127.0.0.1")
    with background(sys.executable, "config/samples/custom/flowers.py", *flags):
        until(lambda: answers(f"http://127.0.0.1:{port}/v2/health/ready"), 20, "flowers.py is ready")
        elsewhere = UP + r"|flowers\.py --http_port|^class "
        following = reader(
            platform, "docs/tutorial/custom-model.md", elsewhere, **{"127.0.0.1:8090": f"127.0.0.1:{port}"}
        )
        following.follow()
    assert following.compared >= 5
    platform.kubectl("delete", "-f", str(ROOT / "config/samples/custom-model.yaml"))


def test_transformer(platform: Platform) -> None:
    table = table_begun(platform)
    following = reader(platform, "docs/tutorial/transformer.md")
    following.follow()
    assert following.compared == 2
    assert "example/before" in table.read_text(), "what the reader did before still works"
    for name in ("transformer-collocated", "transformer"):
        platform.kubectl("delete", "-f", str(ROOT / f"config/samples/{name}.yaml"), "--ignore-not-found")


@pytest.mark.skipif(not EXPLAINER.exists(), reason="hack/env explainer was not run")
def test_explainer(platform: Platform) -> None:
    platform.kubectl("apply", "-f", str(ROOT / "config/samples/iris.yaml"))
    table = table_begun(platform)
    following = reader(platform, "docs/tutorial/explainer.md")
    following.follow()
    assert following.compared == 1
    assert "example/before" in table.read_text()
    platform.kubectl("delete", "isvc", "iris-explained", "-n", "iris-demo")


@pytest.mark.parametrize(
    ("page", "elsewhere", "compared"),
    [
        ("docs/tutorial/one-machine.md", r"^wakeful-cold-start", 3),
        ("README.md", r"^\./hack/(?:demo|test)", 0),
    ],
    ids=["tutorial", "readme"],
)
def test_a_models_life(platform: Platform, tmp_path: Path, page: str, elsewhere: str, compared: int) -> None:
    port = free_port()
    events = ROOT / "config/samples/iris-events.yaml"
    moved = tmp_path / events.name
    moved.write_text(events.read_text().replace("127.0.0.1:8090", f"127.0.0.1:{port}"))
    with background(sys.executable, "hack/show_events.py", f"--port={port}") as subscriber:
        own = rf"{UP}|hack/show_events\.py|{elsewhere}"
        following = reader(platform, page, own, **{"config/samples/iris-events.yaml": str(moved)})
        following.follow()
        assert subscriber.stdout is not None
        shown = b"".join(iter(subscriber.stdout.readline, b"\n")).decode()
    assert "ce-causationid: 1\n" in shown and "ce-type: io.kserve.inference.response\n" in shown
    assert following.compared == compared
    platform.kubectl("delete", "namespace", "iris-demo")
