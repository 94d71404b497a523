"""``hack/env``: one caller makes an environment, all use it, and what was cut off is not taken for complete.

A tree of its own with an empty lock file, so that nothing is downloaded; the last step (``hack/env.d``) keeps a log of
what was made.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 60
LOG = "open(__file__ + '.log', 'a').write('made\\n')\n"
CUT_OFF = (
    "import os, pathlib, signal; pathlib.Path(__file__).unlink(); os.kill(os.getppid(), signal.SIGKILL)\n"
)


class Tree:
    """A repository that has only ``hack/env`` and the environment ``tiny``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / "requirements/env/tiny.txt"
        self.step = root / "hack/env.d/tiny.py"
        for folder in (self.lock.parent, self.step.parent):
            folder.mkdir(parents=True)
        shutil.copy2(ROOT / "hack/env", root / "hack/env")
        (root / ".venv").symlink_to(ROOT / ".venv")
        self.lock.with_suffix(".in").write_text("# A tiny one.\n")
        self.lock.write_text("# nothing\n")
        self.step.write_text(LOG)

    def start(self, *words: str) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen([self.root / "hack/env", *words], stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str) -> tuple[int, str, str]:
        process = self.start(*words)
        out, err = process.communicate(timeout=LIMIT_S)
        return process.returncode, out, err

    @property
    def made(self) -> int:
        log = self.step.with_name(self.step.name + ".log")
        return log.read_text().count("made\n") if log.exists() else 0


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_alone_it_lists_what_there_is(tree: Tree) -> None:
    code, out, _ = tree.run()
    assert code == 0
    assert out.splitlines()[1:] == ["  tiny          A tiny one."]


@pytest.mark.parametrize("name", ["none", "", "../env/tiny", "--prepare"])
def test_an_unknown_name_is_told_with_the_list(tree: Tree, name: str) -> None:
    code, out, err = tree.run(name, "-c", "print(1)")
    assert (code, out) == (2, "")
    assert f"there is no environment '{name}'" in err
    assert "  tiny " in err


def test_it_is_made_again_only_when_what_it_holds_changed(tree: Tree) -> None:
    code, out, err = tree.run("tiny", "-c", "import sys; print(sys.prefix)")
    assert (code, out) == (0, f"{tree.root}/.venv-tiny\n"), err
    left = tree.root / ".venv-tiny/left-over"
    left.touch()
    tree.lock.write_text("# nothing, and another comment\n")
    assert tree.run("tiny")[0] == 0
    assert (tree.made, left.exists()) == (1, True)
    tree.lock.write_text("# something else\nprobe ; python_version < '3'\n")
    assert tree.run("tiny")[0] == 0
    assert (tree.made, left.exists()) == (2, False)


def test_callers_at_once_wait_for_the_one_that_makes_it(tree: Tree) -> None:
    callers = [tree.start("tiny", "-c", "print('ran')") for _ in range(3)]
    ended = [caller.communicate(timeout=LIMIT_S) for caller in callers]
    assert [out for out, _ in ended] == ["ran\n"] * 3, ended
    assert tree.made == 1


def test_one_that_was_cut_off_is_made_again(tree: Tree) -> None:
    tree.step.write_text(CUT_OFF)
    assert tree.run("tiny", "-c", "print('ran')")[:2] == (-9, "")
    assert (tree.root / ".venv-tiny/bin/python").exists()
    tree.step.write_text(LOG)
    assert tree.run("tiny", "-c", "print('ran')")[:2] == (0, "ran\n")
    assert tree.made == 1


def test_a_failed_step_fails_the_caller(tree: Tree) -> None:
    tree.step.write_text("raise SystemExit('no disk')\n")
    code, out, err = tree.run("tiny", "-c", "print('ran')")
    assert (code, out) == (1, "")
    assert "no disk" in err
    assert tree.run("tiny", "-c", "print('ran')")[0] == 1


def test_every_environment_has_a_list_a_lock_and_a_first_line() -> None:
    folder = ROOT / "requirements/env"
    lists, locks = ({path.stem for path in folder.glob(pattern)} for pattern in ("*.in", "*.txt"))
    assert lists == locks
    assert [name for name in lists if not (folder / f"{name}.in").read_text().startswith("# ")] == []
    assert {path.stem for path in (ROOT / "hack/env.d").glob("*.py")} <= lists
