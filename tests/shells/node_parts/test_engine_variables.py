"""What a container engine is given, seen by a program in its place."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from standalone.node.engine import Engine
from standalone.node.ports import Launch

PROGRAM = """#!{python}
import json, os, sys
words = sys.argv[1:]
if words[0] == "run":
    lines = open(words[words.index("--env-file") + 1]).read().splitlines()
    named = [words[i + 1] for i, word in enumerate(words) if word == "--env"]
    given = dict(line.split("=", 1) for line in lines) | {{name: os.environ[name] for name in named}}
    open({seen!r}, "w").write(json.dumps([words, given]))
"""


async def test_variables_of_several_lines_reach_the_container(tmp_path: Path) -> None:
    """A certificate given as a variable was left out without a word."""
    seen, program = tmp_path / "seen.json", tmp_path / "podman"
    program.write_text(PROGRAM.format(python=sys.executable, seen=str(seen)))
    program.chmod(0o755)
    env = {"PLAIN": "a b=c", "CERT": "-----BEGIN-----\nMIIB\n-----END-----\n", "EMPTY": ""}
    order = Launch("u/c/0", "image:1", ("serve",), env, tmp_path, tmp_path / "c.log")
    engine = Engine(str(program))
    await engine.run(order)
    await engine.forget("u/c/0")
    words, given = json.loads(seen.read_text())
    assert given == env
    assert "MIIB" not in " ".join(words), "everybody on the machine can read a program's words"
