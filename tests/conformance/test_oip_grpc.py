"""The wire of V2, gRPC and HTTP, checked by the clients of the field: Triton's and KServe's, each in an environment of its own."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from wakeful.serving import Context, InferResponse, Model, Tensor
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
CLIENTS = Path(__file__).parent / "oip_clients"


class Echo(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, dict):
            return {"predictions": payload["instances"]}
        return InferResponse([Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs])

    def explain(self, payload: Any, context: Context) -> Any:
        return {"explanations": payload["instances"]}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = Server([Echo("echo")], Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0), {})
    await server.load()
    await server.listen()
    yield server.port
    await server.drain()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("environment", "script"),
    [("grpc-clients", "triton.py"), ("grpc-clients", "triton_http.py"), ("kserve", "kserve_client.py")],
    ids=["triton", "triton-http", "kserve"],
)
async def test_clients_of_the_field(port: int, environment: str, script: str) -> None:
    command = [ROOT / "hack" / "env", environment, CLIENTS / script, str(port)]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=350)
    assert (done.returncode, done.stdout.strip().splitlines()[-1:]) == (0, ["ok"]), done.stderr[-3000:]
