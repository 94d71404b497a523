"""A node that ends while a fork server still imports leaves no process behind."""

from __future__ import annotations

import asyncio
from pathlib import Path

from standalone.node.shim_client import ShimClient


async def test_a_fork_server_that_has_not_answered_is_ended(tmp_path: Path) -> None:
    shim = ShimClient(tmp_path / "s.sock", "sklearn", tmp_path / "log")
    connecting = asyncio.create_task(shim.connect(30))
    async with asyncio.timeout(10):
        while shim._child is None:  # noqa: ASYNC110 an attribute tells no event
            await asyncio.sleep(0.001)
    child = shim._child
    connecting.cancel()
    await asyncio.gather(connecting, return_exceptions=True)
    assert child.poll() is None, "it imports for a second: the case is what it says"
    await shim.abandon()
    assert child.returncode == -9
