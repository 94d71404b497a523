"""docs/tutorial/llm.md, word for word: a platform, both models, curl, and the page's own Python with the official client."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from page_rig import ROOT, Reader, blocks

sys.path.insert(0, str(ROOT / "tests" / "platform" / "whole"))
from whole_platform import Platform, free_port

from standalone.layout import Layout

PAGE = "docs/tutorial/llm.md"
pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl is not installed on this machine"
)


@pytest.fixture
def platform() -> Iterator[Platform]:
    folder = Path(tempfile.mkdtemp(prefix="wk-llm-"))
    running = Platform(Layout(folder), (free_port(), free_port(), free_port()))
    running.start()
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def test_the_page_about_language_models(platform: Platform) -> None:
    port = platform.ports[0]
    replaced = {
        "$PWD/.wakeful/llm": str(platform.layout.data_dir),
        ".wakeful/llm": str(platform.layout.data_dir),
        "localhost:8080": f"localhost:{port}",
    }
    reader = Reader(PAGE, replaced, r"^\.venv/bin/wakeful up ", platform.environment)
    reader.patience_s = 700.0
    reader.follow()
    assert reader.compared == 2
    program = next(block.text for block in blocks(ROOT / PAGE) if block.text.startswith("import openai"))
    done = subprocess.run(
        [sys.executable, "-c", program.replace("127.0.0.1:8080", f"127.0.0.1:{port}")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, bool(done.stdout.strip())) == (0, True), done.stderr
