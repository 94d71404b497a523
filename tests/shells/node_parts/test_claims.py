"""The volume object of a deleted claim goes, also when the API server was away at first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from standalone.node.claims import Claims


class Server:
    """A client of an API server that is away for the first request."""

    def __init__(self) -> None:
        self.is_away = True
        self.deleted: list[str] = []

    async def delete(self, _resource: object, _namespace: object, name: str) -> None:
        if self.is_away:
            self.is_away = False
            raise aiohttp.ClientConnectionError("away")
        self.deleted.append(name)


async def test_a_volume_is_removed_once_the_server_is_back(tmp_path: Path) -> None:
    server: Any = Server()
    claims = Claims(server, tmp_path)
    metadata = {"namespace": "ns", "name": "c", "uid": "u"}
    claims._on_change("DELETED", {"metadata": metadata, "spec": {"volumeName": "pvc-u"}}, None)
    with pytest.raises(aiohttp.ClientConnectionError):  # the work queue tries again
        await claims._reconcile(("ns", "c"))
    await claims._reconcile(("ns", "c"))
    await claims._reconcile(("ns", "c"))
    assert server.deleted == ["pvc-u"]
