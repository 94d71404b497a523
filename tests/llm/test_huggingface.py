"""The Hugging Face server on transformers: every task, by V1, V2 and OpenAI, with the same small models."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import openai
import pytest

from tests.llm.conftest import MODELS, Running, serving

NAMES = {
    "smollm2": ("--backend=huggingface", "--max_length=1024"),
    "minilm": (),
    "sorter": ("--return_probabilities",),
    "tagger": ("--task=token_classification",),
    "filler": (),
}


@pytest.fixture(scope="module", params=NAMES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    name = request.param
    flags = (f"--model_name={name}", f"--model_dir={MODELS / name}", *NAMES[name])
    with ExitStack() as stack:
        running = stack.enter_context(serving("runtimes.huggingface", tmp_path_factory.mktemp(name), *flags))
        running.name = name  # type: ignore[attr-defined]
        yield running


def posted(server: Running, path: str, body: Any) -> tuple[int, Any]:
    request = urllib.request.Request(server.url + path, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_model_does_its_task(server: Running) -> None:
    CHECKS[server.name](server)  # type: ignore[attr-defined]


def generates(server: Running) -> None:
    chat: Any = {
        "model": "smollm2",
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
    }
    whole = server.client.chat.completions.create(**chat, max_tokens=20, temperature=0)
    assert "Paris" in (whole.choices[0].message.content or "")
    assert whole.choices[0].finish_reason == "stop"
    options: Any = {
        **chat,
        "max_tokens": 16,
        "seed": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    texts = []
    for _ in range(2):
        events = list(server.client.chat.completions.create(**options))
        texts.append("".join(c.delta.content or "" for event in events for c in event.choices))
        assert events[-1].usage is not None and events[-1].usage.completion_tokens <= 16
    assert texts[0] == texts[1] != ""
    made = server.client.completions.create(
        model="smollm2",
        prompt="The capital of France is",
        max_tokens=4,
        temperature=0,
        logprobs=2,
        stop=["."],
    )
    assert made.choices[0].text == " Paris" and made.choices[0].finish_reason == "stop"
    with pytest.raises(openai.BadRequestError) as caught:
        server.client.completions.create(model="smollm2", prompt=[10**6])
    assert caught.value.param == "prompt"
    with pytest.raises(openai.BadRequestError) as caught:
        server.client.completions.create(model="smollm2", prompt="word " * 3000)
    assert caught.value.code == "context_length_exceeded"
    assert posted(server, "/v1/models/smollm2:predict", {"instances": ["x"]})[0] == 501
    leaves_early(server)


def leaves_early(server: Running) -> None:
    stream = server.client.completions.create(
        model="smollm2", prompt="x", max_tokens=1000, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    until = time.monotonic() + 10
    seen = tokens(server)
    while (now := tokens(server)) != seen:
        assert time.monotonic() < until
        seen = now
    assert now < 600


def tokens(server: Running) -> float:
    line = next(line for line in server.metrics().splitlines() if 'tokens_total{kind="generation"' in line)
    time.sleep(0.5)
    return float(line.split()[-1])


def embeds(server: Running) -> None:
    made = server.client.embeddings.create(model="minilm", input=["a cat", "a kitten", "tax law"])
    cat, kitten, law = (entry.embedding for entry in made.data)
    near, far = (sum(x * y for x, y in zip(cat, other, strict=True)) for other in (kitten, law))
    assert near > 0.6 > 0.4 > far
    alone = posted(server, "/v1/models/minilm:predict", {"instances": ["a cat"]})[1]["predictions"][0]
    assert alone == pytest.approx(cat, abs=1e-4)
    tensor = {"name": "input-0", "shape": [1], "datatype": "BYTES", "data": ["a cat"]}
    output = posted(server, "/v2/models/minilm/infer", {"inputs": [tensor]})[1]["outputs"][0]
    assert output["shape"] == [1, 384] and output["data"] == pytest.approx(cat, abs=1e-4)
    ranked = posted(server, "/v1/rerank", {"query": "a cat", "documents": ["tax law", "a kitten"]})[1]
    assert ranked["results"][0]["index"] == 1
    assert posted(server, "/v1/models/minilm:predict", {"instances": ["word " * 600]})[0] == 400


def sorts(server: Running) -> None:
    status, body = posted(
        server, "/v1/models/sorter:predict", {"instances": ["I like it", {"text": "and it"}]}
    )
    assert status == 200
    assert [sum(row.values()) for row in body["predictions"]] == pytest.approx([1, 1])
    assert posted(server, "/v1/models/sorter:predict", {"instances": [5]}) == (
        400,
        {"error": "text 0 is a number, not a string"},
    )
    assert posted(server, "/v1/score", {"text_1": "a", "text_2": "b"})[0] == 400


def tags(server: Running) -> None:
    _, body = posted(server, "/v1/models/tagger:predict", {"instances": ["one two", "one"]})
    assert [len(row) for (row,) in body["predictions"]] == [4, 3]
    tensor = {"name": "x", "shape": [2], "datatype": "BYTES", "data": ["one two", "one"]}
    output = posted(server, "/v2/models/tagger/infer", {"inputs": [tensor]})[1]["outputs"][0]
    assert output["shape"] == [2, 4] and output["data"][-1] == -100


def fills(server: Running) -> None:
    _, body = posted(server, "/v1/models/filler:predict", {"instances": ["Paris is the [MASK] of France."]})
    assert isinstance(body["predictions"][0], str)
    assert posted(server, "/v1/models/filler:predict", {"instances": ["Paris"]})[0] == 400


CHECKS = {"smollm2": generates, "minilm": embeds, "sorter": sorts, "tagger": tags, "filler": fills}
