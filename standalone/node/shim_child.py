"""What a forked child of the shim does before the container's program: reset everything, then exec or run a module.

Called by shim only, after ``fork``, with the stack unwound. For a fork server the child keeps the imported modules
and runs ``python -m MODULE`` by ``runpy`` in place of ``exec``. Invariant: the child keeps no descriptor but 0, 1, 2,
no signal handler, no variable of the shim's environment; a failure ends it with a line on stderr and code 126 or 127.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import random
import resource
import runpy
import signal
import sys
import tempfile
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


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
        _reset(child)
        if order.module:
            _run_module(order)
        else:
            _exec(order)
    except SystemExit as error:
        _leave(_code(error))
    except BaseException:  # the last frame of the process: report like the interpreter does
        traceback.print_exc()
        _leave(1)
    _leave(0)


def _reset(child: Child) -> None:
    order = child.order
    os.setsid()
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != child.parent:
        _leave(137)  # the shim died before the line above could tie this process to it
    os.dup2(child.stdout, 1)
    os.dup2(child.stderr, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.closerange(3, min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536))
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) is not None:
            default = (
                signal.default_int_handler if number == signal.SIGINT and order.module else signal.SIG_DFL
            )
            signal.signal(number, default)
    if order.module:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if order.module and order.cgroups:
        # The kernel takes 7 to 16 ms for it (measured), which a program of ours need not wait for.
        threading.Thread(target=_enter, args=order.cgroups, daemon=True).start()
    else:
        _enter(*order.cgroups)
    if order.nice:
        os.nice(order.nice)
    os.umask(0o077)
    os.environ.clear()
    os.environ.update(order.env)
    os.environ["WAKEFUL_STARTED_AT"] = f"{child.at:.6f}"
    os.chdir(order.cwd)


def _enter(*paths: str) -> None:
    for path in paths:
        try:
            Path(path).write_text(str(os.getpid()))
        except OSError as error:
            _complain(f"limits are not in force: cannot enter {path}: {error}")


def _exec(order: Order) -> NoReturn:
    try:
        os.execvpe(order.argv[0], order.argv, dict(os.environ))
    except FileNotFoundError:
        _complain(f'exec: "{order.argv[0]}": executable file not found in $PATH or working directory')
        _leave(127)
    except OSError as error:
        _complain(f'exec: "{order.argv[0]}": {error.strerror}')
        _leave(126)


def _run_module(order: Order) -> None:
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  the three streams of the new process
    sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = list(order.argv)
    extra = [order.cwd, *order.env.get("PYTHONPATH", "").split(os.pathsep)]
    sys.path[:0] = [folder for folder in extra if folder and folder not in sys.path]
    tempfile.tempdir = None
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
    runpy.run_module(order.module, run_name="__main__", alter_sys=True)


def _code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    _complain(str(error.code))
    return 1


def _complain(text: str) -> None:
    os.write(2, f"{text}\n".encode())


def _leave(code: int) -> NoReturn:
    """End without the interpreter's teardown of a large shared heap; handlers and buffers are run and flushed."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
