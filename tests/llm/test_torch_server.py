"""The PyTorch server with real programs: exported and TorchScript, by V1 and V2; refusals in one sentence.

Runs the server in the environment of hack/env llm, where torch is; models are made there too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting_rig import until_blocking as until

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-llm" / "bin" / "python"
pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-llm: hack/env llm makes it"),
]

MAKE = """
import sys, torch
class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
        with torch.no_grad():
            self.linear.weight.fill_(1.0); self.linear.bias.zero_()
    def forward(self, x, scale):
        return {"scaled": self.linear(x) * scale, "sum": x.sum(dim=1)}
folder, batch = sys.argv[1], torch.export.Dim("batch", min=1, max=8)
model = Scaled().eval()
exported = torch.export.export(model, (torch.zeros(2, 4), torch.ones(2, 1)), dynamic_shapes={"x": {0: batch}, "scale": {0: batch}})
import pathlib
for name in ("exported", "script", "state", "fixed", "mixing", "weights"):
    (pathlib.Path(folder) / name).mkdir()
torch.export.save(exported, f"{folder}/exported/model.pt2")
torch.jit.trace(model.linear, torch.zeros(1, 4)).save(f"{folder}/script/model.pt")
torch.save(model.state_dict(), f"{folder}/state/model.pt")
torch.export.save(torch.export.export(model.linear, (torch.zeros(2, 4),)), f"{folder}/fixed/model.pt2")
batch, over_all = torch.export.Dim("batch"), torch.nn.Softmax(dim=0)
mixing = torch.export.export(over_all, (torch.zeros(2, 4),), dynamic_shapes={"input": {0: batch}})
torch.export.save(mixing, f"{folder}/mixing/model.pt2")
import safetensors.torch
safetensors.torch.save_file(model.state_dict(), f"{folder}/weights/model.safetensors")
"""

BATCH = """
import json, pathlib, sys
from runtimes.torch.model import TorchModel
from wakeful.serving.model import Context
told = {}
for name in ("exported", "script", "fixed", "mixing"):
    model = TorchModel("m", pathlib.Path(sys.argv[1]) / name, 1, {"WAKEFUL_PICKLE": "Allow"})
    model.load()
    if model.batching is None:
        told[name] = None
        continue
    row = {"x": [1.5, 2.0, 3.0, 4.0], "scale": [2.0]} if name == "exported" else [1.5, 2.0, 3.0, 4.0]
    other = {"x": [7.0, 2.0, 3.0, 4.0], "scale": [0.5]} if name == "exported" else [7.0, 2.0, 3.0, 4.0]
    payloads = [{"instances": [row]}, {"instances": [other, row]}, {"instances": [other]}]
    alone = [model.predict(payload, Context({})) for payload in payloads]
    runs, run = [], model.run
    model.run = lambda inputs, outputs: (runs.append(len(next(iter(inputs.values())))), run(inputs, outputs))[1]
    for turn in range(5):
        parts = [model.batching.part(payload, Context({})) for payload in payloads]
        answers = model.batching.answer(parts) if parts[0] else alone
        assert answers == alone, (name, turn, answers, alone)
    told[name] = [model.batching.max_batch_size, runs]
print(json.dumps(told))
"""

RELOAD = """
import json, pathlib, shutil, sys
from runtimes.torch.model import TorchModel
from wakeful.serving.model import Context
folder, told = pathlib.Path(sys.argv[1]), []
served = pathlib.Path(sys.argv[2])
model = TorchModel("m", served, 1, {"WAKEFUL_PICKLE": "Allow"})
for name in ("exported", "mixing", "script"):
    for old in served.iterdir():
        old.unlink()
    shutil.copy(next((folder / name).iterdir()), served)
    model.load()
    told.append([[spec.name for spec in model.inputs()], model.batching is not None])
    model.unload()
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torch")
    subprocess.run([PYTHON, "-c", MAKE, str(folder)], check=True, timeout=150, capture_output=True)
    return folder


def command(folder: Path, port: int) -> list[str]:
    flags = [f"--model_dir={folder}", f"--http_port={port}", "--http_address=127.0.0.1", "--model_name=m"]
    return [str(PYTHON), "-m", "runtimes.torch", "--nthread=1", *flags]


class Served:
    """A server of one model."""

    def __init__(self, folder: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen(command(folder, 0), stdout=file, stderr=file, cwd=ROOT)
        self.port = 0
        try:
            until(self._is_up, 120, "the server listens")
        except BaseException:
            self.process.kill()
            self.process.wait(30)
            raise

    def _is_up(self) -> bool:
        text = self._log.read_text()
        assert self.process.poll() is None, text
        for line in text.splitlines():
            if '"serving"' in line and '"port"' in line:
                self.port = int(json.loads(line)["port"])
        return self.port > 0

    def ask(self, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(30) == 0


@pytest.fixture(scope="module")
def exported(models: Path) -> Iterator[Served]:
    served = Served(models / "exported", models / "exported.log")
    yield served
    served.stop()


@pytest.fixture(scope="module")
def script(models: Path) -> Iterator[Served]:
    served = Served(models / "script", models / "script.log")
    yield served
    served.stop()


def tensor(name: str, shape: list[int], data: list[Any], datatype: str = "FP32") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def test_an_exported_program_under_its_own_names(exported: Served) -> None:
    metadata = exported.ask("/v2/models/m")[1]
    assert (metadata["platform"], metadata["inputs"]) == (
        "pytorch_exportedprogram",
        [
            {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
            {"name": "scale", "datatype": "FP32", "shape": [-1, 1]},
        ],
    )
    inputs = [tensor("scale", [1, 1], [2], "FP64"), tensor("x", [1, 4], [1, 2, 3, 4])]
    status, answer = exported.ask("/v2/models/m/infer", {"inputs": inputs})
    assert status == 200, answer
    assert {item["name"]: (item["shape"], item["data"]) for item in answer["outputs"]} == {
        "scaled": ([1, 3], [20, 20, 20]),
        "sum": ([1], [10]),
    }
    rows = [{"x": [1, 2, 3, 4], "scale": [1]}, {"x": [0, 0, 0, 1], "scale": [3]}]
    assert exported.ask("/v1/models/m:predict", {"instances": rows}) == (
        200,
        {"predictions": [{"scaled": [10, 10, 10], "sum": 10}, {"scaled": [3, 3, 3], "sum": 1}]},
    )


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ([tensor("x", [1, 4], [1, 2, 3, 4])], "input 'scale' is missing"),
        ([tensor("x", [1, 3], [1, 2, 3]), tensor("scale", [1, 1], [1])], "the model takes [-1, 4]"),
        (
            [tensor("x", [9, 4], [0] * 36), tensor("scale", [9, 1], [1] * 9)],
            "Guard failed: x.size()[0] <= 8",
        ),
        ([tensor("x", [1, 4], ["a"] * 4, "BYTES"), tensor("scale", [1, 1], [1])], "holds text"),
    ],
    ids=["missing", "shape", "range", "text"],
)
def test_wrong_requests_are_400(exported: Served, inputs: list[Any], words: str) -> None:
    status, answer = exported.ask("/v2/models/m/infer", {"inputs": inputs})
    assert (status, words in answer["error"]) == (400, True), answer


def test_torchscript(script: Served) -> None:
    answer = script.ask("/v2/models/m/infer", {"inputs": [tensor("any", [2, 4], [1.0] * 8)]})[1]
    (output,) = answer["outputs"]
    assert (output["name"], output["shape"], output["data"]) == ("output-0", [2, 3], [4.0] * 6)
    assert script.ask("/v1/models/m:predict", {"instances": [[0.5, 0.5, 0, 0]]})[1] == {
        "predictions": [[1.0, 1.0, 1.0]]
    }
    status, answer = script.ask("/v1/models/m:predict", {"instances": [[1, 1, 1, 1]]})
    assert (status, "dtype" in answer["error"]) == (400, True)
    status, answer = script.ask("/v2/models/m/infer", {"inputs": [tensor("any", [2, 5], [1.0] * 10)]})
    assert status == 400 and "cannot compute this input" in answer["error"]


def test_programs_batch_where_their_shapes_say_rows(models: Path) -> None:
    """Not fixed shapes, not TorchScript, which says nothing; what mixes its rows is found out at the first batch."""
    done = subprocess.run(
        [PYTHON, "-c", BATCH, str(models)], cwd=ROOT, capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "exported": [8, [4, 1, 2, 1] * 3 + [4, 4]],
        "script": None,
        "fixed": None,
        "mixing": [32, [4, 1, 2, 1]],
    }


def test_another_program_in_the_same_folder_has_its_own_inputs(models: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [PYTHON, "-c", RELOAD, str(models), str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [["x", "scale"], True],
        [["input"], True],
        [[], False],
    ]


@pytest.mark.parametrize(
    ("folder", "policy", "words"),
    [
        ("state", "Allow", "model.pt is not TorchScript"),
        ("weights", "Allow", "model.safetensors holds weights and no program: for a transformers model"),
        ("script", "Refuse", "model.pt is a .pt file, which runs code when loaded"),
        ("exported", "Refuse", "save the model as ONNX (torch.onnx.export) instead"),
    ],
)
def test_what_is_not_loaded(models: Path, folder: str, policy: str, words: str) -> None:
    environment = {**os.environ, "WAKEFUL_PICKLE": policy}
    done = subprocess.run(
        command(models / folder, 0), env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1]


def test_without_torch_the_start_ends_with_a_sentence(tmp_path: Path) -> None:
    argv = [sys.executable, *command(tmp_path, 0)[1:]]
    environment = {**os.environ, "WAKEFUL_LLM_ENV": str(tmp_path)}
    done = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("torch is not installed here: hack/env llm")


def test_the_platforms_python_starts_the_other_ones(models: Path) -> None:
    argv = [sys.executable, *command(models / "state", 0)[1:]]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "model.pt is not TorchScript" in done.stderr.splitlines()[-1]
