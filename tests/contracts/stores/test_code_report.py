"""What the storage initializer leaves as its last words after success: the files that run code when loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from wakeful.core.api import code_bearing


def brought(source: Path, target: Path, note: Path) -> str:
    environment = {**os.environ, "WAKEFUL_TERMINATION_LOG": str(note), "STORAGE_LOCAL_ROOTS": str(source)}
    done = subprocess.run(
        [sys.executable, "-m", "storage", f"file://{source}", str(target)],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return note.read_text()


def test_names_of_code_bearing_files(tmp_path: Path) -> None:
    source, note = tmp_path / "source", tmp_path / "note"
    (source / "v1").mkdir(parents=True)
    (source / "model.onnx").write_bytes(b"x")
    assert brought(source, tmp_path / "safe", note) == code_bearing.render([])
    for name in ("v1/b.pkl", "v1/a.PT", "c.joblib"):
        (source / name).write_bytes(b"x")
    expected = ["c.joblib", "v1/a.PT", "v1/b.pkl"]
    assert code_bearing.parse(brought(source, tmp_path / "target", note)) == expected
    # nothing is fetched the second time, and the words are the same
    assert code_bearing.parse(brought(source, tmp_path / "target", note)) == expected
