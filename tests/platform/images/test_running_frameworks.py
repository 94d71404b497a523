"""The images of the frameworks that no other environment of ours has: each serves a real model of its own making.

Models are made by the image's own Python, so what is tested is the framework in the image and nothing of this machine.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import joblib
import pytest
from image_box import Unpacked, of_this_run
from image_server import post, run, serving
from pmml_documents import REGRESSION
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(1800)]
COLUMNS = ["sepal length", "sepal width", "petal length", "petal width"]
ROW = [6.0, 3.0, 4.0, 1.5]

MAKE_TORCH = """
import pathlib, torch
class Sum(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 2)
        with torch.no_grad():
            self.linear.weight.fill_(1.0); self.linear.bias.zero_()
    def forward(self, x):
        return self.linear(x)
for name in ("exported", "script"):
    pathlib.Path("/mnt", name).mkdir()
model = Sum().eval()
batch = torch.export.Dim("batch", min=1, max=8)
torch.export.save(torch.export.export(model, (torch.zeros(2, 4),), dynamic_shapes={"x": {0: batch}}), "/mnt/exported/model.pt2")
torch.jit.trace(model, torch.zeros(1, 4)).save("/mnt/script/model.pt")
"""

MAKE_TRANSFORMERS = """
import pathlib, torch, transformers
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "i", "like", "it", "not", "much"]
pathlib.Path("/mnt/vocab.txt").write_text("\\n".join(words))
tokenizer = transformers.BertTokenizerFast("/mnt/vocab.txt")
torch.manual_seed(7)
size = dict(vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
sorter = transformers.BertForSequenceClassification(transformers.BertConfig(**size, num_labels=3))
writer = transformers.LlamaForCausalLM(transformers.LlamaConfig(**size, max_position_embeddings=64, eos_token_id=3, pad_token_id=0))
for name, model in (("sorter", sorter), ("writer", writer)):
    model.save_pretrained(f"/mnt/{name}")
    tokenizer.save_pretrained(f"/mnt/{name}")
"""


def made_inside(image: Unpacked, code: str, folder: Path) -> None:
    """Run ``code`` by the image's Python, with ``folder`` as /mnt."""
    os.chown(folder, 65532, 65532)
    image.python(code, mnt=folder, writable=["tmp"])


@pytest.mark.parametrize("method", ["shap", "lime"])
def test_explainer_explains_another_image(
    unpacked: Mapping[str, Unpacked], tmp_path: Path, method: str
) -> None:
    features = load_iris().data
    linear = LinearRegression().fit(features, features @ [1.0, 0.0, -2.0, 0.5] + 3)
    joblib.dump(linear, tmp_path / "model.joblib")
    (tmp_path / "background.csv").write_text(
        "\n".join([",".join(COLUMNS), *[",".join(map(str, row)) for row in features]])
    )
    tmp_path.chmod(0o755)
    asked = {"instances": [ROW]}
    with serving(unpacked["sklearn"], tmp_path, "--model_dir=/mnt") as predictor:
        flags = [
            f"--method={method}",
            f"--predictor_host={predictor.removeprefix('http://')}",
            "--samples=64",
        ]
        with serving(
            unpacked["explainer"], tmp_path, "--model_dir=/mnt", *flags, writable=["tmp"]
        ) as explainer:
            answer = post(explainer + "/v1/models/m:explain", asked)
        (predicted,) = post(predictor + "/v1/models/m:predict", asked)["predictions"]
    (output,) = answer["explanations"][0]["outputs"]
    if method == "shap":
        assert output["base_value"] + sum(output["values"].values()) == pytest.approx(predicted, abs=1e-6)
    else:
        assert len(output["weights"]) == len(COLUMNS)


def test_explainer_without_torch_says_so(unpacked: Mapping[str, Unpacked], tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    words = ["--model_name=m", "--model_dir=/mnt", "--method=integrated_gradients"]
    done = run(unpacked["explainer"].command(*words, mnt=tmp_path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "captum" in done.stderr and "not installed" in done.stderr


@pytest.mark.parametrize("image", of_this_run(["pmml"]))
def test_pmml_answers_from_a_root_that_nobody_may_write_to(
    unpacked: Mapping[str, Unpacked], tmp_path: Path, image: str
) -> None:
    (tmp_path / "model.pmml").write_text(REGRESSION)
    tmp_path.chmod(0o755)
    with serving(unpacked[image], tmp_path, "--model_dir=/mnt") as url:
        answer = post(
            url + "/v1/models/m:predict", {"instances": [[1, 2, "house"], {"area": 1, "kind": "flat"}]}
        )
    assert answer == {"predictions": [{"price": 19.0}, {"price": 12.0}]}


@pytest.mark.parametrize("image", of_this_run(["torch"]))
@pytest.mark.parametrize("kind", ["exported", "script"])
def test_torch_serves_a_program(
    unpacked: Mapping[str, Unpacked], tmp_path: Path, image: str, kind: str
) -> None:
    made_inside(unpacked[image], MAKE_TORCH, tmp_path)
    with serving(unpacked[image], tmp_path, f"--model_dir=/mnt/{kind}", writable=["tmp"]) as url:
        assert post(url + "/v1/models/m:predict", {"instances": [ROW, [0.0] * 4]}) == {
            "predictions": [[14.5, 14.5], [0.0, 0.0]]
        }


@pytest.mark.parametrize("image", of_this_run(["torch", "huggingface"]))
def test_torch_of_the_image_says_that_there_is_no_device(
    unpacked: Mapping[str, Unpacked], image: str
) -> None:
    """NVIDIA's libraries are not in it: what a program asks before it uses a device has to answer, not to crash."""
    code = """
import torch
print(torch.cuda.is_available(), torch.cuda.device_count(), torch.accelerator.is_available())
try:
    torch.zeros(1, device="cuda")
except RuntimeError as error:
    print(type(error).__name__)
print(torch.linalg.inv(torch.eye(2)).sum().item(), torch.fft.fft(torch.ones(4)).real.sum().item(), torch.get_num_threads() > 0)
"""
    assert unpacked[image].python(code).splitlines() == [
        "False 0 False",
        "RuntimeError",
        "2.0 4.0 True",
    ]


@pytest.mark.parametrize("image", of_this_run(["huggingface"]))
def test_transformers_sorts_and_writes(unpacked: Mapping[str, Unpacked], tmp_path: Path, image: str) -> None:
    made_inside(unpacked[image], MAKE_TRANSFORMERS, tmp_path)
    with serving(
        unpacked[image], tmp_path, "--model_dir=/mnt/sorter", "--return_probabilities", writable=["tmp"]
    ) as url:
        (row,) = post(url + "/v1/models/m:predict", {"instances": ["I like it not much"]})["predictions"]
    assert sum(row.values()) == pytest.approx(1)
    with serving(unpacked[image], tmp_path, "--model_dir=/mnt/writer", writable=["tmp"]) as url:
        asked = {"model": "m", "prompt": "i like", "max_tokens": 4, "temperature": 0}
        answer = post(url + "/openai/v1/completions", asked)
    assert answer["usage"]["completion_tokens"] <= 4
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
