"""vLLM with all-MiniLM-L6-v2: embeddings, scores, rankings, and what it cannot do."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.llm.conftest import MODELS, VLLM_FLAGS, Running, serving

FLAGS = (
    "--model_name=minilm", f"--model_dir={MODELS / 'minilm'}", "--runner", "pooling", "--max-model-len", "256", *VLLM_FLAGS,
)  # fmt: skip


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("runtimes.vllm", tmp_path_factory.mktemp("vllm"), *FLAGS) as running:
        yield running


def posted(vllm: Running, path: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(vllm.url + path, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def test_embeddings(vllm: Running) -> None:
    made = vllm.client.embeddings.create(model="minilm", input=["a cat", "a kitten", "tax law"])
    cat, kitten, law = (entry.embedding for entry in made.data)
    assert len(cat) == 384
    near, far = (sum(x * y for x, y in zip(cat, other, strict=True)) for other in (kitten, law))
    assert near > 0.6 > 0.4 > far


def test_scores_and_rankings(vllm: Running) -> None:
    scored = posted(
        vllm, "/v1/score", {"model": "minilm", "text_1": "a cat", "text_2": ["a kitten", "tax law"]}
    )
    assert scored["data"][0]["score"] > scored["data"][1]["score"]
    body = {"model": "minilm", "query": "a cat", "documents": ["tax law", "a kitten"]}
    for path in ("/v1/rerank", "/openai/v1/rerank"):
        assert posted(vllm, path, body)["results"][0]["index"] == 1


def test_what_it_does_not_do_is_said(vllm: Running) -> None:
    with pytest.raises(openai.BadRequestError, match="does not do chat/completions"):
        vllm.client.chat.completions.create(model="minilm", messages=[{"role": "user", "content": "x"}])
