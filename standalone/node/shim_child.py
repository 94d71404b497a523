"""What a forked child of the shim does before the container's program: reset everything, then exec or run a module.

Called by shim only, after ``fork``, with the stack unwound; the part that every forked child shares is
``standalone.forked``. Adds limits, environment and working directory. Invariant: the child keeps no variable of the
shim's environment.
"""

from __future__ import annotations

import os
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from standalone import forked


@dataclass(frozen=True, slots=True)
class Order:
    """A start request."""

    id: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    log_max_bytes: int
    module: str
    """Run this module in the forked interpreter; empty means exec ``argv``."""
    cgroups: list[str]
    """``cgroup.procs`` files to enter before the program starts."""
    nice: int
    meta: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Child:
    """What this forked child is to become. ``at`` is Unix seconds of the fork."""

    order: Order
    at: float
    parent: int
    stdout: int
    stderr: int


def parse(request: dict[str, Any]) -> Order:
    """The order in a start request. Raises ``KeyError`` or ``ValueError`` for one that is not complete."""
    order = Order(
        id=str(request["id"]),
        argv=[str(word) for word in request["argv"]],
        env={str(k): str(v) for k, v in request["env"].items()},
        cwd=str(request["cwd"]),
        log=str(request["log"]),
        log_max_bytes=int(request.get("log_max_bytes", 10 << 20)),
        module=str(request.get("module", "")),
        cgroups=[str(path) for path in request.get("cgroups", [])],
        nice=int(request.get("nice", 0)),
        meta=dict(request.get("meta", {})),
    )
    if not order.argv:
        raise ValueError("argv is empty")
    return order


def become(child: Child) -> NoReturn:
    """Turn this process into the container's. Never returns."""
    order = child.order
    try:
        forked.detach(child.parent, child.stdout, child.stderr)
        forked.reset_signals(is_module=bool(order.module))
        _limit(order)
        os.umask(0o077)
        os.environ.clear()
        os.environ.update(order.env)
        os.environ["WAKEFUL_STARTED_AT"] = f"{child.at:.6f}"
        os.chdir(order.cwd)
    except BaseException:  # the last frame of the process: report like the interpreter does
        traceback.print_exc()
        forked.leave(1)
    forked.run(order.argv, order.module, [order.cwd, *order.env.get("PYTHONPATH", "").split(os.pathsep)])


def _limit(order: Order) -> None:
    if order.module and order.cgroups:
        # The kernel takes 7 to 16 ms for it (measured), which a program of ours need not wait for.
        threading.Thread(target=_enter, args=order.cgroups, daemon=True).start()
    else:
        _enter(*order.cgroups)
    if order.nice:
        os.nice(order.nice)


def _enter(*paths: str) -> None:
    for path in paths:
        try:
            Path(path).write_text(str(os.getpid()))
        except OSError as error:
            forked.complain(f"limits are not in force: cannot enter {path}: {error}")
