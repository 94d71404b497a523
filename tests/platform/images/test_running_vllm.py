"""The image of vLLM: a real engine in a container without shell, compiler or lscpu writes, streams and keeps to a schema.

The model is SmolLM2-135M where hack/env llm has made it (`hack/test llm` does), else a tiny one with random weights, made by
the image's own Python. The engine takes a minute and 4 GiB, so it is started once.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from image_box import Unpacked, of_this_run
from image_server import post, serving

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(1800)]
SMOLLM2 = Path(__file__).resolve().parents[3] / ".venv-llm" / "models" / "smollm2"
START_S = 600
FLAGS = ("--max-model-len", "512", "--max-num-seqs", "4", "--kv-cache-memory-bytes", "268435456")
CITY = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}}, "required": ["city"]}

MAKE_WRITER = """
import pathlib, torch, transformers
words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "capital", "of", "france", "is"]
pathlib.Path("/mnt/vocab.txt").write_text("\\n".join(words))
torch.manual_seed(7)
config = transformers.LlamaConfig(
    vocab_size=len(words), hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
    max_position_embeddings=512, eos_token_id=3, pad_token_id=0,
)
transformers.LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained("/mnt/writer")
transformers.BertTokenizerFast("/mnt/vocab.txt").save_pretrained("/mnt/writer")
"""


@dataclass(frozen=True, slots=True)
class Served:
    """A running engine; ``is_real``: its words mean something."""

    url: str
    is_real: bool

    def post(self, path: str, **members: Any) -> Any:
        return post(f"{self.url}/openai/v1/{path}", {"model": "m", **members})


@pytest.fixture(scope="module", params=of_this_run(["vllm"]))
def vllm(
    request: pytest.FixtureRequest,
    unpacked: Mapping[str, Unpacked],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    image, folder, name = unpacked[request.param], tmp_path_factory.mktemp("models"), "writer"
    os.chown(folder, 65532, 65532)
    if SMOLLM2.is_dir():
        name = SMOLLM2.name
        shutil.copytree(SMOLLM2, folder / name)
        for path in (folder / name).iterdir():
            path.chmod(0o644)  # the engine is another user
    else:
        image.python(MAKE_WRITER, mnt=folder, writable=["tmp"])
    flags = (f"--model_dir=/mnt/{name}", *FLAGS)
    # dev/shm: as config/runtimes/kserve-vllmserver.yaml has it
    with serving(image, folder, *flags, writable=["tmp", "dev/shm"], within_s=START_S) as url:
        yield Served(url, name == SMOLLM2.name)
    shutil.rmtree(folder)


def test_writes_and_says_how_likely_each_word_was(vllm: Served) -> None:
    """Log probabilities come from a function that vLLM compiles, whatever it is told about compiling."""
    prompt = "The capital of France is"
    answer = vllm.post("completions", prompt=prompt, max_tokens=8, temperature=0, logprobs=2)
    assert answer["usage"]["completion_tokens"] <= 8
    assert len(answer["choices"][0]["logprobs"]["tokens"]) == answer["usage"]["completion_tokens"]
    assert "Paris" in answer["choices"][0]["text"] or not vllm.is_real


def test_a_stream_is_the_whole_answer_and_ends_with_usage(vllm: Served) -> None:
    asked: dict[str, Any] = {
        "model": "m", "prompt": "the capital of france", "max_tokens": 12, "temperature": 0, "ignore_eos": True,
    }  # fmt: skip
    whole = vllm.post("completions", **asked)
    body = json.dumps({**asked, "stream": True, "stream_options": {"include_usage": True}}).encode()
    request = urllib.request.Request(
        f"{vllm.url}/openai/v1/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        lines = [line.decode().strip() for line in response if line.startswith(b"data: ")]
    assert lines[-1] == "data: [DONE]"
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    text = "".join(choice["text"] for event in events for choice in event["choices"])
    assert (text, len(events) > 3) == (whole["choices"][0]["text"], True)
    assert events[-1]["usage"] == {name: count for name, count in whole["usage"].items() if count is not None}
    assert whole["usage"]["completion_tokens"] == 12


def test_an_answer_fits_its_schema(vllm: Served) -> None:
    """Constrained decoding is compiled code of its own (xgrammar), which asks for triton elsewhere."""
    if not vllm.is_real:
        pytest.skip("needs a model with a chat template: hack/env llm")
    answer = vllm.post(
        "chat/completions",
        messages=[{"role": "user", "content": "Where is the Colosseum?"}],
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}},
    )
    assert json.loads(answer["choices"][0]["message"]["content"])["city"] in ("Paris", "Rome")
