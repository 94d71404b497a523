"""Asks a process how it does: ``GET /healthz`` on its admin socket. Used by ``wakeful up`` and ``wakeful status``.

Speaks these two lines of HTTP itself, because importing a client library costs ``wakeful up`` a third of a second
in which nothing has been started yet (decision 0107).
"""

from __future__ import annotations

import asyncio
from pathlib import Path

REQUEST = b"GET /healthz HTTP/1.0\r\nHost: admin\r\n\r\n"
TIMEOUT_S = 2.0
OK = "ok"


async def ask(socket: Path) -> str:
    """``ok``, or what is wrong, in one line."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(REQUEST)
                answer = await reader.read(-1)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        return f"no answer on its socket ({type(error).__name__})"
    return answer.partition(b"\r\n\r\n")[2].decode(errors="replace").strip() or "an empty answer"
