"""Integrated gradients of real PyTorch programs by captum, in the environment of hack/env llm, where both are.

Explanations are checked against what is known beforehand: of a linear program its weights, of any program that the
values add up to the difference between the answer and the answer where the way began.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.llm.conftest import ROOT, Running, serving
from wakeful import InferenceClient, UpstreamError

PYTHON = ROOT / ".venv-llm" / "bin" / "python"
pytestmark = pytest.mark.timeout(240)

MAKE = """
import pathlib, sys, torch
folder = pathlib.Path(sys.argv[1])
batch = torch.export.Dim("batch")
def save(name, model, *example, fixed=False):
    (folder / name).mkdir()
    shapes = None if fixed else tuple({0: batch} for _ in example)
    torch.export.save(torch.export.export(model.eval(), example, dynamic_shapes=shapes), folder / name / "model.pt2")
    return model
torch.manual_seed(3)
linear = torch.nn.Linear(3, 1)
with torch.no_grad():
    linear.weight.copy_(torch.tensor([[1.0, -2.0, 0.5]])); linear.bias.fill_(3.0)
save("linear", linear, torch.zeros(2, 3))
(folder / "linear" / "background.csv").write_text("a,b,c\\n0,0,0\\n2,2,2\\n")
classes = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4), torch.nn.Softmax(dim=1))
save("classes", classes, torch.zeros(2, 3))
(folder / "script").mkdir(); torch.jit.trace(classes, torch.zeros(1, 3)).save(folder / "script" / "model.pt")
class Two(torch.nn.Module):
    def forward(self, left, right): return {"product": (left * right).sum(dim=1), "places": left.argmax(dim=1)}
save("two", Two(), torch.zeros(1, 2), torch.zeros(1, 2), fixed=True)
class Steep(torch.nn.Module):
    def forward(self, left, right): return (left.exp() - right.exp()).sum(dim=1)
save("steep", Steep(), torch.zeros(1, 1), torch.zeros(1, 1), fixed=True)
class Greedy(torch.nn.Module):
    def forward(self, row): return row.unsqueeze(-1).expand(1, 3, 2**50)[..., 0]  # backwards: 12 PB of zeros, more than addresses reach
save("greedy", Greedy(), torch.zeros(1, 3), fixed=True)
class Tokens(torch.nn.Module):
    def forward(self, ids): return ids.to(torch.float32).sum(dim=1)
save("tokens", Tokens(), torch.zeros(2, 3, dtype=torch.int64))
save("batch of four", torch.nn.Linear(3, 1), torch.zeros(4, 3), fixed=True)
"""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    subprocess.run([PYTHON, "-c", MAKE, str(folder)], check=True, timeout=150, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def served(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, InferenceClient]]:
    """Clients of the explainers, by program."""
    with ExitStack() as stack:
        clients = {}
        for name in ("linear", "classes", "script", "two", "steep", "greedy"):
            folder = tmp_path_factory.mktemp(name)
            flags = ("--method=integrated_gradients", f"--model_dir={programs / name}", "--model_name=m")
            running: Running = stack.enter_context(
                serving("runtimes.explainer", folder, *flags, python=str(PYTHON))
            )
            clients[name] = stack.enter_context(InferenceClient(running.url))
        yield clients


def explained(client: InferenceClient, row: Any, **parameters: Any) -> dict[str, Any]:
    answer = client.explain("m", {"instances": [row], "parameters": parameters})
    assert answer["method"] == "integrated_gradients"
    (output,) = answer["explanations"][0]["outputs"]
    assert isinstance(output, dict)
    return output


def test_a_linear_programs_values_are_its_weights(served: dict[str, InferenceClient]) -> None:
    output = explained(served["linear"], [4.0, 2.0, -1.0])
    assert output["values"] == pytest.approx({"a": 3.0, "b": -2.0, "c": -1.0}, abs=1e-4)
    assert (output["output"], output["base_value"]) == (0, pytest.approx(2.5, abs=1e-5))
    assert output["prediction"] == pytest.approx(2.5, abs=1e-5)
    assert abs(output["delta"]) < 1e-4


@pytest.mark.parametrize("name", ["classes", "script"])
def test_the_values_add_up_for_the_likeliest_class_or_the_one_asked_for(
    served: dict[str, InferenceClient], name: str
) -> None:
    likeliest = explained(served[name], [1.5, -0.5, 2.0])
    each = [explained(served[name], [1.5, -0.5, 2.0], target=place) for place in range(4)]
    assert likeliest == max(each, key=lambda item: float(item["prediction"]))
    for item in each:
        assert abs(item["delta"]) < 1e-4
        assert sum(item["values"]) == pytest.approx(item["prediction"] - item["base_value"], abs=1e-4)
    assert explained(served[name], [1, 0, 2])["values"] == explained(served[name], [1.0, 0.0, 2.0])["values"]


def test_fewer_points_on_the_way_are_a_coarser_explanation(served: dict[str, InferenceClient]) -> None:
    coarse, fine = (
        explained(served["classes"], [1.5, -0.5, 2.0], target=1, samples=samples) for samples in (2, 512)
    )
    assert abs(coarse["delta"]) > 10 * abs(fine["delta"])


def test_several_inputs_by_name_and_a_fixed_batch_of_one(served: dict[str, InferenceClient]) -> None:
    row = {"left": [1.0, 2.0], "right": [3.0, 5.0]}
    output = explained(served["two"], row, output="product")
    assert output["values"]["left"] == pytest.approx([1.5, 5.0], abs=1e-4)
    assert output["values"]["right"] == pytest.approx([1.5, 5.0], abs=1e-4)


def test_what_is_beyond_the_programs_numbers_is_null(served: dict[str, InferenceClient]) -> None:
    """Infinities of both signs have no sum."""
    output = explained(served["steep"], {"left": [90.0], "right": [90.0]})
    assert (output["values"], output["delta"]) == ({"left": [None], "right": [None]}, None)


@pytest.mark.parametrize(
    ("name", "payload", "status", "words"),
    [
        ("classes", {"instances": [[1, 2]]}, 400, "the model takes [-1, 3]"),
        ("classes", {"instances": [["a", "b", "c"]]}, 400, "holds text"),
        ("classes", {"instances": [[1, None, 2]]}, 400, "missing value"),
        ("classes", {"instances": []}, 400, "empty"),
        ("classes", {"instances": [[1, 2, 3]] * 17}, 400, "at most 16"),
        ("classes", {"instances": [[1, 2, 3]], "output": "x"}, 400, '"output" stands beside "instances"'),
        ("classes", {"instances": [[1, 2, 3]], "parameters": {"target": 4}}, 400, "it takes 0 to 3"),
        ("classes", {"instances": [[1, 2, 3]], "parameters": {"target": True}}, 400, "it takes 0 to 3"),
        (
            "classes",
            {"instances": [[1, 2, 3]], "parameters": {"output": "other"}},
            400,
            "the program has output-0",
        ),
        (
            "classes",
            {"instances": [[1, 2, 3]], "parameters": {"output": ["output-0"]}},
            400,
            "the program has output-0",
        ),
        ("script", {"instances": [[1, 2]]}, 400, "cannot compute this input"),
        ("script", {"instances": [["a", "b", "c"]]}, 400, "holds text"),
        ("two", {"instances": [{"left": [1, 2], "right": [1, 2]}]}, 400, "one of product, places"),
        (
            "two",
            {"instances": [{"left": [1, 2], "right": [1, 2]}], "parameters": {"output": "places"}},
            501,
            "gradients are of one fraction",
        ),
        ("linear", {"instances": [[[1, 2, 3]]]}, 400, "the model takes"),
    ],
)
def test_wrong_requests(
    served: dict[str, InferenceClient], name: str, payload: Any, status: int, words: str
) -> None:
    with pytest.raises(UpstreamError) as caught:
        served[name].explain("m", payload)
    assert (caught.value.status, words in str(caught.value)) == (status, True), caught.value


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tokens", "input ids of the program is INT64: only inputs of fractions have gradients"),
        ("batch of four", "has shape [4, 3]: export it with a free first dimension"),
    ],
)
def test_what_has_no_gradients_is_not_loaded(programs: Path, name: str, words: str) -> None:
    flags = ["--method=integrated_gradients", f"--model_dir={programs / name}", "--http_port=0"]
    done = subprocess.run(
        [PYTHON, "-m", "runtimes.explainer", *flags], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1], json.dumps(done.stderr[-500:])


def test_no_memory_for_a_gradient_is_the_servers_failure_and_may_pass(
    served: dict[str, InferenceClient],
) -> None:
    for _ in range(2):
        with pytest.raises(UpstreamError, match=r"found no memory: .*allocate") as caught:
            explained(served["greedy"], [1.0, 2.0, 3.0])
        assert caught.value.status == 503
