"""Scripts as KServe's users write them, as processes: here with our import, and (where its SDK is there) with KServe's own.

``hack/env kserve`` makes the environment for the second; without it those rows are skipped.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from waiting_rig import until_blocking

from wakeful import FailureError, InferenceClient, UpstreamError, kserve

SCRIPTS = Path(__file__).parent / "kserve_scripts"
ROOT = Path(__file__).resolve().parents[3]
KSERVE = ROOT / ".venv-kserve" / "bin" / "python"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(
    script: str, which: str, folder: Path, *flags: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """The script as a process, with our import or with KServe's; its URL once it is ready."""
    text = (SCRIPTS / script).read_text()
    path = folder / f"{which}-{script}"
    if which == "kserve":
        text = text.replace("wakeful.kserve", "kserve")
        text = text.replace("    generate_uuid,\n", "")
        text = text.replace(
            "import argparse\n", "import argparse\nfrom kserve.utils.utils import generate_uuid\n", 1
        )
    path.write_text(text)
    port = free_port()
    own = ["--enable_grpc=false"] if which == "kserve" else ["--http_address=127.0.0.1", "--drain_quiet_s=0"]
    process = subprocess.Popen(
        [
            str(KSERVE) if which == "kserve" else sys.executable,
            str(path),
            f"--http_port={port}",
            "--model_name=m",
            *own,
            *flags,
        ],
        env={"PATH": os.environ["PATH"], **({"PYTHONPATH": str(ROOT)} if which == "wakeful" else {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"

    def is_ready() -> bool:
        assert process.poll() is None, f"{script} ended with {process.returncode}"
        with InferenceClient(base) as client:
            return client.is_ready("m")

    try:
        until_blocking(is_ready, 40, f"{script} to be ready")
        yield base, process
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture(scope="module", params=["wakeful", "kserve"])
def which(request: pytest.FixtureRequest) -> str:
    if request.param == "kserve" and not KSERVE.exists():
        pytest.skip("KServe's SDK is not here: hack/env kserve")
    return str(request.param)


@pytest.fixture(scope="module")
def chain(which: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URLs of predictor and transformer."""
    folder = tmp_path_factory.mktemp("scripts")
    with ExitStack() as stack:
        predictor, _ = stack.enter_context(running("scaler.py", which, folder, "--factor=2"))
        host = predictor.removeprefix("http://")
        transformer, _ = stack.enter_context(
            running("rounder.py", which, folder, f"--predictor_host={host}", "--predictor_protocol=v2")
        )
        yield predictor, transformer


def test_v1_with_headers_both_ways(chain: tuple[str, str]) -> None:
    request = urllib.request.Request(
        f"{chain[0]}/v1/models/m:predict",
        orjson.dumps({"instances": [[1, 2]]}),
        {"Content-Type": "application/json", "X-Tenant": "blue"},
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        assert orjson.loads(response.read()) == {"predictions": [[2.0, 4.0]], "tenant": "blue"}


@pytest.mark.parametrize("binary", [True, False])
def test_v2(chain: tuple[str, str], binary: bool) -> None:
    rows = np.array([[1, 2], [3, 4]], dtype=np.float32)
    with InferenceClient(chain[0], binary=binary) as client:
        answer = client.infer("m", {"rows": rows})
        np.testing.assert_array_equal(answer["scaled"], rows * 2)
        assert [v.decode() if isinstance(v, bytes) else v for v in answer["labels"]] == ["row 0", "row 1"]
        (spec,) = client.metadata("m")["inputs"]
    assert (spec["name"], spec["datatype"], spec["shape"]) == ("rows", "FP32", [-1, 2])


def test_errors(chain: tuple[str, str]) -> None:
    with InferenceClient(chain[0]) as client:
        with pytest.raises(UpstreamError, match="the input rows is missing") as caught:
            client.infer("m", {"other": np.array([[1.0]], dtype=np.float32)})
        assert caught.value.status == 400
        with pytest.raises(UpstreamError, match="it is not valid") as caught:
            client.predict("m", {"instances": ["validate"]})
        assert caught.value.status == 400
        with pytest.raises(UpstreamError, match="it exploded") as caught:
            client.predict("m", {"instances": ["explode"]})
        assert caught.value.status == 500


def test_transformer(chain: tuple[str, str]) -> None:
    with InferenceClient(chain[1]) as client:
        assert client.predict("m", {"instances": [[1.4, 1.6]]}) == {"predictions": [[2.0, 4.0]]}
        answer = client.infer("m", {"x": np.array([[0.9, 2.2]])}, headers={"x-answer": "v2"})
        np.testing.assert_array_equal(answer["scaled"], [[2, 4]])


def test_sigterm_ends_it_with_status_0(tmp_path: Path) -> None:
    with running("scaler.py", "wakeful", tmp_path) as (_, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_model_that_does_not_load_ends_the_start(tmp_path: Path) -> None:
    script = tmp_path / "bad.py"
    script.write_text(
        "from wakeful.kserve import Model, ModelServer, ModelMissingError\n"
        "class Bad(Model):\n"
        "    def load(self):\n"
        "        raise ModelMissingError('/mnt/models/x')\n"
        "ModelServer().start([Bad('m')])\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), f"--http_port={free_port()}", "--http_address=127.0.0.1"],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("no model at /mnt/models/x")


def test_fastapi_exceptions_keep_their_status() -> None:
    from wakeful.kserve.model import _with_status

    class HTTPException(Exception):
        def __init__(self, status_code: int, detail: Any) -> None:
            self.status_code = status_code
            self.detail = detail

    kept = _with_status(HTTPException(418, "a teapot"))
    assert isinstance(kept, UpstreamError)
    assert (kept.status, str(kept)) == (418, "a teapot")


def test_tensors_may_be_given_in_binary_form() -> None:
    def inputs() -> list[Any]:
        return [kserve.InferInput("a", [2], "INT32"), kserve.InferInput("b", [1], "BYTES")]

    raw = [np.array([1, -2], "<i4").tobytes(), b"\x02\0\0\0hi"]
    request = kserve.InferRequest("m", inputs(), raw_inputs=raw, from_grpc=True)
    assert request.inputs[0].as_numpy().tolist() == [1, -2] and request.inputs[1].as_string() == ["hi"]
    with pytest.raises(FailureError, match=r"a: shape \[2\] takes 8 bytes, not 3"):
        kserve.InferRequest("m", inputs(), raw_inputs=[b"abc", raw[1]])
    with pytest.raises(FailureError, match="raw_inputs has 1 elements for 2 tensors"):
        kserve.InferRequest("m", inputs(), raw_inputs=raw[:1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'raw_output'"):
        kserve.InferResponse("1", "m", [], raw_output=raw)
    assert kserve.InferResponse("1", "m", [], from_grpc=True).from_grpc
