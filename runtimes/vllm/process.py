"""vLLM's own server as a child process behind a unix socket that only this user reaches.

``VllmModel`` starts it at load, asks whether it is up, and stops it at the end. Its output goes to our stderr line by
line; the last lines are kept, because they say why it ended. It stays in our process group and is told to end when we
die (``PR_SET_PDEATHSIG``), so that neither a node nor a kubelet leaves an engine behind.

Invariant: after ``stop`` no process of it is left; its socket is in a folder with mode 0700.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import sys
import tempfile
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from runtimes.vllm import places
from wakeful.kit import logs
from wakeful.serving.model import LoadError

PR_SET_PDEATHSIG = 1
MODULE = "vllm.entrypoints.cli.main"
KEPT_LINES = 200
REASON = re.compile(r"\w(Error|Exception): ")
ELSEWHERE = "See root cause above"
"""How vLLM's server reports the end of its engine, which said why some hundred lines before."""
LINE_BYTES = 64 * 1024
STOP_S = 8.0
MAX_PLACE_BYTES = 40
"""vLLM puts ``/`` and a UUID behind the folder of its own sockets, we ``/vllm-`` and eight characters before that."""
_LIBC = ctypes.CDLL(None, use_errno=True)

SET = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_SERVER_DEV_MODE": "0",
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0",
}
"""No reports to anybody, no port beyond loopback, none of the routes that put an engine to sleep or load adapters."""
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
NOT_COMPILED = {"TORCH_COMPILE_DISABLE": "1"}
"""torch's switch, which vLLM follows: --enforce-eager leaves single functions to be compiled (log probabilities)."""
REMOVED = ("VLLM_API_KEY", "VLLM_PLUGINS", "WAKEFUL_TERMINATION_LOG")

log = logs.get("vllm")


def program(configured: str, environ: Mapping[str, str]) -> list[str]:
    """The words that run ``vllm``: the one named, beside this Python, on PATH, its module, or of ``.venv-llm``.

    Our image has the module and no programs but Python. Raises ``LoadError``.
    """
    beside = Path(sys.executable).parent / "vllm"
    apart = places.environment(environ) / "bin" / "vllm"
    found = configured or (
        str(beside) if beside.exists() else shutil.which("vllm", path=environ.get("PATH", ""))
    )
    if found:
        return [found]
    if importlib.util.find_spec("vllm") is not None:
        return [sys.executable, "-P", "-m", MODULE]
    if apart.exists():
        return [str(apart)]
    raise LoadError(f"the program vllm is not here: {places.ADVICE}")


def can_compile(environ: Mapping[str, str]) -> bool:
    """Whether torch would find a compiler for C++ where ``environ`` holds."""
    wanted = environ.get("CXX") or "g++"
    return shutil.which(wanted, path=environ.get("PATH", "")) is not None


def environment(environ: Mapping[str, str], model_dir: str) -> dict[str, str]:
    """What vLLM is started with."""
    made = {name: value for name, value in environ.items() if name not in REMOVED} | SET
    if Path(model_dir).is_dir():
        made |= OFFLINE
    if not can_compile(environ):
        made |= NOT_COMPILED
    return made


def short_place() -> str:
    """A folder for sockets: their paths may have 107 bytes, and a pod's own temporary folder is longer than that allows."""
    usual = tempfile.gettempdir()
    return "/tmp" if len(usual) > MAX_PLACE_BYTES and os.access("/tmp", os.W_OK) else usual


class VllmProcess:
    """One child; event loop only."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="vllm-", dir=short_place())
        self.socket = str(Path(self._folder.name) / "vllm.sock")
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._last: deque[str] = deque(maxlen=KEPT_LINES)

    async def start(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        """Start it. Raises ``LoadError``."""
        try:
            self._child = await asyncio.create_subprocess_exec(
                *argv,
                env={**environ, "VLLM_RPC_BASE_PATH": self._folder.name},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=LINE_BYTES,
                preexec_fn=_end_with_parent,
            )
        except OSError as error:
            raise LoadError(f"{argv[0]} cannot be started: {error.strerror}") from error
        self._reader = asyncio.create_task(self._copy())

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.returncode is None

    async def ended(self) -> str:
        """Wait for its end; how it ended, in one sentence."""
        assert self._child is not None and self._reader is not None
        status = await self._child.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(self._reader)
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"vLLM ended with {how}: {self.cause()}"

    def cause(self) -> str:
        """The line of its output that most likely says why."""
        lines = [line for line in self._last if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        reasons = [line for line in errors if REASON.search(line) and ELSEWHERE not in line]
        return " ".join((reasons or errors or lines or ["it printed nothing"])[-1].split())[-500:]

    async def _copy(self) -> None:
        assert self._child is not None and self._child.stdout is not None
        while True:
            try:
                line = await self._child.stdout.readline()
            except ValueError:  # a line over the limit: the part that fits was dropped
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._last.append(text)
            sys.stderr.write(text + "\n")

    async def stop(self) -> None:
        """End it and all it started."""
        if self._child is not None and self.is_running:
            tree = _tree(self._child.pid)
            self._child.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self._child.wait()
            except TimeoutError:
                log.warning("vLLM did not end in time and is killed", seconds=STOP_S)
            for pid in tree:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await self._child.wait()
        if self._reader is not None:
            self._reader.cancel()
        self._folder.cleanup()


def _tree(pid: int) -> list[int]:
    """``pid`` and every process below it."""
    found = [pid]
    for place in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in place.read_text().split():
                found += _tree(int(child))
    return found


def _end_with_parent() -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
