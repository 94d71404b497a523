"""What a forked child does before it becomes another program: let go of its parent, then exec or run a module.

Called by the launcher (the platform's processes) and by the shim (containers), after ``fork``, with the stack
unwound. A module runs in the forked interpreter by ``runpy``, as ``python -m MODULE`` would, and keeps what is
imported already. Invariant: the child keeps no descriptor but 0, 1, 2 and those handed down, and no signal handler;
it dies with its parent; a failure ends it with a line on stderr and code 126 or 127.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import os
import random
import resource
import runpy
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from typing import NoReturn

import setproctitle

PR_SET_PDEATHSIG = 1
FIRST_KEPT = 3
"""The descriptor that the first one handed down becomes; the others follow."""
_LIBC = ctypes.CDLL(None, use_errno=True)


def fork() -> int:
    """``os.fork`` for a parent with signal handlers: a signal for the child that comes before ``reset_signals`` waits,
    and is not swallowed by the parent's handlers. The child writes no more to the parent's wake-up descriptor."""
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = -1
    try:
        pid = os.fork()
    finally:
        if pid != 0:
            signal.pthread_sigmask(signal.SIG_SETMASK, [])
    if pid == 0:
        signal.set_wakeup_fd(-1)
    return pid


def die_with(parent: int) -> bool:
    """Ask the kernel to kill this process when ``parent`` dies (Linux only); False when it has died already."""
    if sys.platform.startswith("linux"):
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def detach(parent: int, stdout: int, stderr: int, kept: Sequence[int] = ()) -> None:
    """A session of its own, tied to ``parent``'s life; ``stdout`` and ``stderr`` become 1 and 2, ``kept`` 3 and up."""
    os.setsid()
    if not die_with(parent):
        leave(137)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 65536)
    # two steps, since a number of the second may be one that the first still has to read
    copies = [fcntl.fcntl(number, fcntl.F_DUPFD, FIRST_KEPT + len(kept)) for number in kept]
    for place, copy in enumerate(copies, FIRST_KEPT):
        os.dup2(copy, place)
    os.closerange(FIRST_KEPT + len(kept), limit)


def reset_signals(*, is_module: bool) -> None:
    """Defaults for every signal that had a handler, as Python has them for a module; none blocked."""
    for number in signal.valid_signals():
        if number not in (signal.SIGKILL, signal.SIGSTOP) and signal.getsignal(number) is not None:
            default = signal.default_int_handler if number == signal.SIGINT and is_module else signal.SIG_DFL
            signal.signal(number, default)
    if is_module:
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def run(argv: list[str], module: str, paths: Sequence[str] = ()) -> NoReturn:
    """Run ``module`` with ``argv[1:]`` (and ``paths`` before ``sys.path``), or exec ``argv`` where it is empty."""
    try:
        if module:
            _run_module(argv, module, paths)
        else:
            _exec(argv)
    except SystemExit as error:
        leave(_code(error))
    except BaseException:  # the last frame of the process: report like the interpreter does
        traceback.print_exc()
        leave(1)
    leave(0)


def complain(text: str) -> None:
    """One line on stderr, past every buffer."""
    os.write(2, f"{text}\n".encode())


def leave(code: int) -> NoReturn:
    """End without the interpreter's teardown of a large shared heap; handlers and buffers are run and flushed."""
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _exec(argv: list[str]) -> NoReturn:
    try:
        os.execvpe(argv[0], argv, dict(os.environ))
    except FileNotFoundError:
        complain(f'exec: "{argv[0]}": executable file not found in $PATH or working directory')
        leave(127)
    except OSError as error:
        complain(f'exec: "{argv[0]}": {error.strerror}')
        leave(126)


def _run_module(argv: list[str], module: str, paths: Sequence[str]) -> None:
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  the three streams of the new process
    sys.stdout = open(1, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, buffering=1)  # noqa: SIM115
    sys.argv = list(argv)
    setproctitle.setproctitle(" ".join([sys.executable, "-m", module, *argv[1:]]))
    sys.path[:0] = [folder for folder in paths if folder and folder not in sys.path]
    tempfile.tempdir = None
    random.seed()
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    complain(str(error.code))
    return 1
