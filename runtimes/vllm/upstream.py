"""Asking vLLM over its unix socket: whole answers, streams of events, health, metrics. Errors become failures.

Used by ``runtimes.vllm.engine``. vLLM's answers are OpenAI's already, so they are passed on as the bytes they are. Left out: what may be asked (checked
before), processes, how a stream is read (``stream``).

Invariant: leaving a stream closes its connection, by which vLLM ends the generation.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from runtimes.vllm.stream import EventStream
from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.openai_errors import RefusedError

BASE = "http://vllm"
HEALTH_S = 10.0


class Upstream:
    """One vLLM server."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        # Streams and calls are bounded before they come here; a bound of the pool's own would only make them wait.
        connector = aiohttp.UnixConnector(path=socket, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )

    async def close(self) -> None:
        await self._session.close()

    async def answer(self, path: str, body: dict[str, Any]) -> bytes:
        """The whole body of a 200. Raises ``FailureError``."""
        try:
            async with self._post(path, body) as response:
                content: bytes = await response.read()
                if response.status != 200:
                    raise failure(response.status, content)
                return content
        except aiohttp.ClientError as error:
            raise _lost(error) from error

    def stream(self, path: str, body: dict[str, Any]) -> EventStream:
        """Whole events as they come; not ``[DONE]``. Reading it raises ``FailureError``."""
        return EventStream(self._socket, path, orjson.dumps(body), failure)

    async def health(self) -> int:
        """The status of ``/health``; 0 where nobody answers."""
        try:
            async with self._session.get(
                BASE + "/health", timeout=aiohttp.ClientTimeout(total=HEALTH_S)
            ) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            return 0

    async def metrics(self) -> str:
        """vLLM's own metrics, those of its HTTP server and process left out; '' where nobody answers."""
        try:
            async with self._session.get(
                BASE + "/metrics", timeout=aiohttp.ClientTimeout(total=HEALTH_S)
            ) as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return ""
        lines = text.splitlines(keepends=True)
        return "".join(line for line in lines if "vllm:" in line.split("{", 1)[0][:200])

    async def routes(self) -> list[str]:
        """The paths that this vLLM has: by them it says what its model can do."""
        try:
            async with self._session.get(BASE + "/openapi.json") as response:
                described = orjson.loads(await response.read())
        except (aiohttp.ClientError, ValueError) as error:
            raise _lost(error) from error
        return list(described.get("paths", {}))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        return self._session.post(
            BASE + path, data=orjson.dumps(body), headers={"Content-Type": "application/json"}
        )


def _lost(error: Exception) -> FailureError:
    return FailureError(FailureKind.UNAVAILABLE, f"vLLM cannot be reached ({type(error).__name__})")


def failure(status: int, content: bytes) -> FailureError:
    """vLLM's refusal in our words: its sentence for the caller's mistakes, without it for its own."""
    try:
        told = orjson.loads(content)
    except ValueError:
        told = {}
    error = told.get("error", {}) if isinstance(told, dict) else {}
    error = error if isinstance(error, dict) else {"message": str(error)}
    text = " ".join(str(error.get("message") or "no message").split())[:1000]
    param = error.get("param")
    match status:
        case 400 | 413 | 422:
            return RefusedError(text, param if isinstance(param, str) else None)
        case 404:
            return FailureError(FailureKind.NOT_FOUND, text)
        case 429 | 503:
            return FailureError(FailureKind.OVERLOADED, text, 1.0)
        case 501:
            return FailureError(FailureKind.UNSUPPORTED, text)
        case _:
            return FailureError(FailureKind.INTERNAL, f"vLLM answered {status}: {text[:300]}")
