"""One attempt of a probe or lifecycle hook: httpGet, tcpSocket, grpc, exec, sleep.

Called by container. Sources: Kubernetes, Container v1 core (Probe, LifecycleHandler); gRPC health checking protocol.
Success is a status from 200 to 399, a connection that opens, SERVING, exit code 0. Bodies and outputs are read up to
10 KiB. Invariant: an attempt ends within its timeout, its command's processes with it, and never raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from standalone.node import addresses, grpc_health

Obj = dict[str, Any]
OUTPUT_BYTES = 10 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """The running container an attempt is about."""

    container: Obj
    ports: Mapping[int, int]
    env: Mapping[str, str]
    cwd: Path
    rewrite: Any
    """Mount paths in an exec command become folders (``rewriting.Rewrite``)."""


@dataclass(frozen=True, slots=True)
class Result:
    """Whether it succeeded, and for a failure one sentence."""

    is_good: bool
    message: str = ""


GOOD = Result(True)


class Prober:
    """Makes attempts. Use as ``async with``; one for the node."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._no_verification = ssl.create_default_context()
        self._no_verification.check_hostname = False
        self._no_verification.verify_mode = ssl.CERT_NONE

    async def __aenter__(self) -> Prober:
        connector = aiohttp.TCPConnector(force_close=True, limit=0, ssl=self._no_verification)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def attempt(self, action: Obj, target: Target, timeout_s: float) -> Result:
        """Try ``action`` (a probe or a hook) once."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._dispatch(action, target)
        except TimeoutError:
            return Result(False, f"no answer within {timeout_s:g}s ({_describe(action, target)})")
        except (OSError, aiohttp.ClientError, ValueError, EOFError) as error:
            text = _reason(error)
            return Result(False, f"{_describe(action, target)}: {text}{_hint(error, action, target)}")

    async def _dispatch(self, action: Obj, target: Target) -> Result:
        if (http := action.get("httpGet")) is not None:
            return await self._http(http, target)
        if (tcp := action.get("tcpSocket")) is not None:
            port = _port(tcp, target)
            _, writer = await asyncio.open_connection(tcp.get("host") or "127.0.0.1", port)
            writer.close()
            return GOOD
        if (grpc := action.get("grpc")) is not None:
            state = await grpc_health.check("127.0.0.1", _port(grpc, target), grpc.get("service") or "")
            return (
                GOOD if state == "SERVING" else Result(False, f"service unhealthy (responded with {state!r})")
            )
        if (execute := action.get("exec")) is not None:
            return await _run(execute.get("command") or [], target)
        if (sleep := action.get("sleep")) is not None:
            await asyncio.sleep(float(sleep.get("seconds") or 0))
            return GOOD
        raise ValueError(f"no handler of a known kind in {sorted(action)}")

    async def _http(self, http: Obj, target: Target) -> Result:
        if self._session is None:
            raise RuntimeError("Prober is used outside its 'async with'")
        scheme = str(http.get("scheme") or "HTTP").lower()
        path = "/" + str(http.get("path") or "/").lstrip("/")
        url = f"{scheme}://{http.get('host') or '127.0.0.1'}:{_port(http, target)}{path}"
        headers = {"User-Agent": "kube-probe/wakeful", "Accept": "*/*"}
        headers |= {str(h["name"]): str(h.get("value") or "") for h in http.get("httpHeaders") or []}
        async with self._session.get(url, headers=headers, allow_redirects=False) as response:
            await response.content.read(OUTPUT_BYTES)
            if 200 <= response.status < 400:
                return GOOD
            return Result(False, f"HTTP probe failed with statuscode: {response.status}")


def _port(action: Obj, target: Target) -> int:
    if action.get("host"):
        return int(action["port"])
    return addresses.resolve(target.container, target.ports, action.get("port"))


async def _run(command: Sequence[str], target: Target) -> Result:
    words = [target.rewrite(str(word)) for word in command]
    if not words:
        raise ValueError("exec has no command")
    process = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=target.cwd,
        env=dict(target.env),
        start_new_session=True,
    )
    output = b""
    try:
        while process.stdout and (data := await process.stdout.read(OUTPUT_BYTES)):
            output = (output + data)[:OUTPUT_BYTES]
        code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        if process.returncode is None:
            await process.wait()
    text = output.decode(errors="replace").strip()
    return GOOD if code == 0 else Result(False, f"command exited with {code}: {text}")


def _describe(action: Obj, target: Target) -> str:
    for kind in ("httpGet", "tcpSocket", "grpc"):
        if (spec := action.get(kind)) is not None:
            with contextlib.suppress(ValueError, TypeError):
                return f"{kind} on 127.0.0.1:{_port(spec, target)}"
    return next((kind for kind in ("exec", "sleep") if kind in action), "probe")


def _reason(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__


def _hint(error: BaseException, action: Obj, target: Target) -> str:
    """What to do when nothing listens: the usual cause here is a program that listens on its fixed port."""
    if not isinstance(error, ConnectionRefusedError | aiohttp.ClientConnectorError):
        return ""
    spec: Obj = next((action[kind] for kind in ("httpGet", "tcpSocket", "grpc") if action.get(kind)), {})
    declared = [str(k) for k, v in target.ports.items() if v == _port(spec, target)]
    named = declared[0] if declared else str(spec.get("port"))
    return (
        f" (container port {named} is this port here: the program has to listen on $PORT or {{port:{named}}})"
    )
