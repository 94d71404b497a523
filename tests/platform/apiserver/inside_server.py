"""The API server in the test's own loop, and raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from standalone.apiserver import credentials, server_assembly
from standalone.apiserver.server_assembly import Assembly
from standalone.apiserver.settings import Settings
from standalone.apiserver.store import Store
from standalone.apiserver.store_db import Database
from standalone.layout import Layout


class Inside:
    """An assembly, and raw connections to it."""

    def __init__(self, assembly: Assembly, identity: credentials.Credentials) -> None:
        self.assembly = assembly
        self._identity = identity
        self._writers: list[asyncio.StreamWriter] = []

    async def send(self, line: str, rest: str = "\r\n") -> asyncio.StreamReader:
        tls = ssl.create_default_context(cafile=str(self._identity.authority))
        port = self.assembly.server.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        self._writers.append(writer)
        head = f"{line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self._identity.token}\r\n"
        writer.write((head + rest).encode())
        return reader

    async def body(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return await reader.readexactly(length)

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()


@asynccontextmanager
async def running(tmp_path: Path) -> AsyncIterator[Inside]:
    options = Settings(tmp_path, port=0, bookmark_s=0.05)
    identity = credentials.ensure(tmp_path, 0)
    layout = Layout(tmp_path)
    layout.make()
    assembly = server_assembly.assemble(options, identity, Store(Database(layout.objects_db)), {})
    await assembly.start()
    tasks = [asyncio.create_task(loop) for loop in assembly.loops]
    found = Inside(assembly, identity)
    async with asyncio.timeout(20):
        yield found
        await found.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await assembly.stop()
