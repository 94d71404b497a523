"""What a model server says to ``--help``: its flags, their defaults, and what the settings' own documentation says of them.

Called by ``server.serve_with`` and the programs that split the command line themselves, imported only then: ``ast`` and
``inspect`` have no place in a start.
Left out: parsing (``settings``).
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from dataclasses import fields, is_dataclass
from typing import Any

WIDTH = 100


def tell(kind: type[Any], more: str = "") -> int:
    """Print the flags of ``kind`` (a dataclass of settings), then ``more``; the exit status."""
    program = getattr(sys.modules.get("__main__"), "__spec__", None)
    name = f"python -m {program.name.removesuffix('.__main__')}" if program is not None else "the server"
    sys.stdout.write(text(kind, name, more) + "\n")
    return 0


def text(kind: type[Any], program: str, more: str = "") -> str:
    """The help of ``program``, lines of at most ``WIDTH`` characters."""
    told: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if is_dataclass(base):
            told |= _documented(base)
    lines = [f"usage: {program} [--FLAG=VALUE ...]", ""]
    for item in fields(kind):
        default = str(item.default).lower() if isinstance(item.default, bool) else item.default
        lines.append(f"  --{item.name}={default}" if default != "" else f"  --{item.name}=TEXT")
        if item.name in told:
            lines += textwrap.wrap(told[item.name], WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([*lines, *(["", more] if more else [])])


def _documented(kind: type[Any]) -> dict[str, str]:
    """The text under each field of a dataclass, where its source is there."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError):
        return {}
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(said))):
                found[name] = " ".join(said.replace("``", "").split())
    return found
