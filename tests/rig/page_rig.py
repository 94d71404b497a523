"""Runs the commands of a page of docs/ as a reader would, and compares what they print with what the page says.

Used by the tests of tutorials. A page's indented blocks are commands, or (where the first word is no command) what the
command before prints, in which ``...`` stands for anything; that may be an error. Blocks run in the
repository's folder by bash, one after the other in one environment, with the page's folder and ports replaced by
the test's. Left out: lines that only prepare (``./hack/setup``) and servers in the foreground; the test starts those.

Invariant: a command that fails, or prints something else, fails with the block, its output and what was expected.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = re.compile(r"(?:\.venv/bin/|\./hack/|hack/|curl|kubectl|export|mkdir|cat|cp|sed|HOST=)")
PREPARES = re.compile(r"\./hack/(?:setup|env [a-z]+)|\.venv/bin/pip install")
PATIENCE_S = 100.0


@dataclass(frozen=True, slots=True)
class Block:
    """One indented block: ``line`` is where it begins."""

    line: int
    text: str

    @property
    def is_command(self) -> bool:
        return COMMAND.match(self.text) is not None


def blocks(page: Path) -> list[Block]:
    """The indented blocks of a page, in order; a blank line ends one."""
    found: list[Block] = []
    lines: list[str] = []
    for number, line in enumerate([*page.read_text().splitlines(), ""], 1):
        if line.startswith("    "):
            lines.append(line[4:])
        elif lines:
            found.append(Block(number - len(lines), "\n".join(lines)))
            lines = []
    return found


class Reader:
    """Follows one page. ``replaced`` maps text of the page to the test's; ``elsewhere``: lines that the test
    runs itself, and what the reader sees later."""

    def __init__(
        self, page: str, replaced: Mapping[str, str], elsewhere: str, environ: Mapping[str, str]
    ) -> None:
        self._page = ROOT / page
        self._replaced = replaced
        self._elsewhere = re.compile(elsewhere)
        self._environ = dict(environ)
        self.patience_s = PATIENCE_S
        """For one block."""
        self.compared = 0
        """How many outputs of the page were compared."""

    def follow(self) -> None:
        """Run everything."""
        said = ""
        is_run = False
        found = blocks(self._page)
        for block, following in zip(found, [*found[1:], Block(0, "")], strict=True):
            if not block.is_command:
                if is_run and not self._is_elsewhere(block.text):
                    self._compare(block, said)
                continue
            kept = [line for line in block.text.splitlines() if not self._is_elsewhere(line)]
            is_run = bool(kept)
            if is_run:
                may_fail = not following.is_command and "error" in following.text
                said = self._run(block, "\n".join(kept), may_fail)

    def _is_elsewhere(self, line: str) -> bool:
        return bool(PREPARES.match(line) or self._elsewhere.search(line))

    def _run(self, block: Block, text: str, may_fail: bool) -> str:
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=ROOT,
            env=self._environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=self.patience_s,
            check=False,
        )
        assert done.returncode == 0 or may_fail, self._told(block, done.stdout)
        return done.stdout

    def _compare(self, block: Block, said: str) -> None:
        """Every line of the block is in what was printed."""
        wanted = block.text
        for old, new in self._replaced.items():
            wanted = wanted.replace(old, new)
        plain = _spaced(said)
        for line in wanted.splitlines():
            pattern = ".*".join(re.escape(part) for part in _spaced(line).split("..."))
            assert re.search(pattern, plain, re.IGNORECASE), f"{self._told(block, said)}\nexpected: {line}"
        self.compared += 1

    def _told(self, block: Block, said: str) -> str:
        return f"{self._page.relative_to(ROOT)}:{block.line}\n{block.text}\nprinted:\n{said}"


def _spaced(text: str) -> str:
    return re.sub(r"[ \t]+", " ", text)
