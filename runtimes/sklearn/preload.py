"""What a fork server does before it forks scikit-learn servers: import what people use most, and serve once.

Named by ``preload: sklearn`` in the node's image table. A plain start does not import this: there, loading the model
file imports just what it needs. ``warm_up`` trains a tiny model, loads it and answers one request of each protocol over
HTTP, because the first time of everything (a lookup, a lazy import, a page of memory) costs more than the second:
what was done here is inherited by every model that is forked. Measured in docs/decisions/0050-wake-latency.md.
Invariant: afterwards there is no thread, no event loop and no open file of it left, so forking is safe.
"""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401  imported by the first connection of a process
import json
import tempfile
import threading
from pathlib import Path

import joblib
import sklearn.compose
import sklearn.ensemble
import sklearn.impute
import sklearn.linear_model
import sklearn.naive_bayes
import sklearn.neighbors
import sklearn.neural_network
import sklearn.pipeline
import sklearn.preprocessing
import sklearn.svm
import sklearn.tree

import runtimes.imports  # noqa: F401
import wakeful.serving.http_v2  # noqa: F401
from runtimes.sklearn.model import SklearnModel
from wakeful.serving import server

ROWS = [[0.0, 1.0], [1.0, 0.0], [2.0, 3.0], [3.0, 2.0]]
LABELS = [0, 0, 1, 1]
V2_INPUT = {"name": "input-0", "shape": [1, 2], "datatype": "FP64", "data": ROWS[0]}
REQUESTS = (
    ("GET", "/v2/health/ready", None),
    ("POST", "/v1/models/warm:predict", {"instances": ROWS}),
    ("POST", "/v2/models/warm/infer", {"inputs": [V2_INPUT]}),
)
PATIENCE_S = 30.0
"""For the requests and for the threads to end; a machine that is busy takes seconds."""


def warm_up() -> None:
    """Serve a tiny model once. Raises whatever goes wrong: the caller decides whether a cold fork server will do."""
    with tempfile.TemporaryDirectory(prefix="wakeful-warm-") as name:
        tree = sklearn.tree.DecisionTreeClassifier(max_depth=2)
        linear = sklearn.linear_model.LogisticRegression(max_iter=5)
        for estimator in (sklearn.svm.SVC(), linear, tree):
            scaled = sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), estimator)
            scaled.fit(ROWS, LABELS).predict(ROWS)
        joblib.dump(tree.fit(ROWS, LABELS), Path(name) / "model.joblib")
        # Not on uvloop: libuv keeps descriptors for ever, which a forked child would close under it.
        asyncio.run(_serve_once(Path(name)))
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(PATIENCE_S)


async def _serve_once(folder: Path) -> None:
    options = server.Settings(model_name="warm", model_dir=str(folder), http_port=0, http_address="127.0.0.1")
    model = SklearnModel("warm", folder, {"WAKEFUL_PICKLE": "Allow"})
    running = server.Server([model], options, {})
    await running.load()
    await running.listen()
    try:
        async with asyncio.timeout(PATIENCE_S):
            for method, path, body in REQUESTS:
                await _ask(running.port, method, path, body)
    finally:
        await running.drain()


async def _ask(port: int, method: str, path: str, body: object) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: warm\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode() + data)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{method} {path} answered {answer[:200]!r}")
