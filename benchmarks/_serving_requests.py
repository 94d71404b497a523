"""The requests of ``hack/bench serving``, prebuilt."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from benchmarks import _serving_grpc

ROW = [5.1, 3.5, 1.4, 0.2]
OTHER = [6.7, 3.0, 5.2, 2.3]
MLSERVER, FLOOR = frozenset({"mlserver"}), frozenset({"floor"})
JSON = "Content-Type: application/json"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: what is asked, of which model, over how many connections; ``goal`` is a ratio to KServe."""

    name: str
    model: str
    message: bytes
    connections: int
    goal: float = 0.0
    is_grpc: bool = False
    without: frozenset[str] = frozenset()
    """Servers that do not speak this protocol: MLServer neither V1 nor binary tensors over HTTP (500)."""


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def binary(model: str, datatype: str, shape: list[int], raw: bytes, name: str = "input-0") -> bytes:
    tensor = {
        "name": name,
        "shape": shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = ("Content-Type: application/octet-stream", f"Inference-Header-Content-Length: {len(head)}")
    return post(f"/v2/models/{model}/infer", head + raw, *headers)


def cases() -> list[Case]:
    two = {"name": "input-0", "shape": [2, 4], "datatype": "FP64", "data": [*ROW, *OTHER]}
    v1 = post("/v1/models/iris:predict", json.dumps({"instances": [ROW, OTHER]}).encode(), JSON)
    v2 = post("/v2/models/iris/infer", json.dumps({"inputs": [two]}).encode(), JSON)
    raw = np.array([ROW, OTHER], "<f8").tobytes()
    goals = {1: 1.5, 16: 10.0, 64: 20.0}
    found = [Case(f"V1, 2 rows, {n} conn.", "iris", v1, n, goals[n], without=MLSERVER) for n in goals]
    found += [Case(f"V2 JSON, 2 rows, {n} conn.", "iris", v2, n, goals[n]) for n in goals]
    found.append(
        Case("V2 binary, 2 rows, 16 conn.", "iris", binary("iris", "FP64", [2, 4], raw), 16, without=MLSERVER)
    )
    for connections, goal in ((1, 0.0), (16, 3.0), (64, 0.0)):
        grpc = _serving_grpc.message("iris", "FP64", [2, 4], raw)
        found.append(
            Case(
                f"gRPC, {connections} conn., 2 rows",
                "iris",
                grpc,
                connections,
                goal,
                is_grpc=True,
                without=FLOOR,
            )
        )
    many = post("/v1/models/iris:predict", json.dumps({"instances": [ROW] * 1000}).encode(), JSON)
    found.append(Case("V1, 1000 rows, 16 conn.", "iris", many, 16, 1.0, without=MLSERVER))
    for batch in (1, 8):
        image = np.random.default_rng(0).random((batch, 3, 224, 224), "<f4").tobytes()
        message = binary("echo", "FP32", [batch, 3, 224, 224], image)
        found.append(Case(f"V2 binary, image echo, batch {batch}, 4 conn.", "echo", message, 4, 40.0))
        call = _serving_grpc.message("echo", "FP32", [batch, 3, 224, 224], image)
        found.append(
            Case(f"gRPC, image echo, batch {batch}, 4 conn.", "echo", call, 4, is_grpc=True, without=FLOOR)
        )
    echo = post("/v1/models/echo:predict", json.dumps({"instances": [ROW, OTHER]}).encode(), JSON)
    found.append(Case("V1, custom echo, 64 conn.", "echo", echo, 64))
    return found
