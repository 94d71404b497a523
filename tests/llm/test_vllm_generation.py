"""vLLM with SmolLM2-135M: completions, chat, streams with usage, schemas, tools, disconnects, drain."""

from __future__ import annotations

import concurrent.futures
import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from waiting_rig import until_blocking

from tests.llm.conftest import MODELS, STOP_S, VLLM_FLAGS, Running, serving

FLAGS = (
    "--model_name=smol", f"--model_dir={MODELS / 'smollm2'}", "--max-model-len", "1024", "--enable-auto-tool-choice",
    "--tool-call-parser", "hermes", *VLLM_FLAGS,
)  # fmt: skip
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
    "required": ["city"],
    "additionalProperties": False,
}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY}}


@pytest.fixture(scope="module")
def vllm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving("runtimes.vllm", tmp_path_factory.mktemp("vllm"), *FLAGS) as running:
        yield running


def asked(text: str) -> Any:
    return [{"role": "user", "content": text}]


def test_a_completion_and_its_usage(vllm: Running) -> None:
    made = vllm.client.completions.create(
        model="smol",
        prompt=["The capital of France is", "One two three"],
        max_tokens=8,
        temperature=0,
        n=1,
        logprobs=2,
    )
    assert "Paris" in made.choices[0].text
    assert made.choices[0].logprobs is not None and len(made.choices[0].logprobs.tokens or []) == 8
    assert made.usage is not None and made.usage.completion_tokens == 16


def test_a_stream_is_the_whole_answer_and_ends_with_usage(vllm: Running) -> None:
    options: Any = {
        "model": "smol",
        "messages": asked("Name three colours."),
        "max_tokens": 24,
        "temperature": 0,
    }
    whole = vllm.client.chat.completions.create(**options)
    text, usage = "", None
    for event in vllm.client.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}
    ):
        usage = event.usage
        text += "".join(choice.delta.content or "" for choice in event.choices)
    assert text == whole.choices[0].message.content
    assert usage is not None and whole.usage is not None
    assert usage.completion_tokens == whole.usage.completion_tokens


def test_an_answer_fits_its_schema(vllm: Running) -> None:
    made = vllm.client.chat.completions.create(
        model="smol",
        messages=asked("Where is the Colosseum?"),
        max_tokens=60,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}},
    )
    assert json.loads(made.choices[0].message.content or "")["city"] in ("Paris", "Rome")


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}], ids=str
)
def test_a_tool_that_must_be_called_gets_valid_arguments(vllm: Running, choice: Any) -> None:
    made = vllm.client.chat.completions.create(
        model="smol",
        messages=asked("Weather in Paris?"),
        max_tokens=200,
        tools=[TOOL],
        tool_choice=choice,
        temperature=0,
    )
    calls = made.choices[0].message.tool_calls or []
    assert calls, made
    for call in calls:
        assert call.type == "function" and call.function.name == "weather"
        assert json.loads(call.function.arguments)["city"] in ("Paris", "Rome")


def test_what_would_hurt_the_engine_is_refused_and_it_lives_on(vllm: Running) -> None:
    for options in (
        {"n": 10_000},
        {"max_tokens": 2**31},
        {"max_tokens": 1000_000},
        {"stop": ["s"] * 100_000},
        {"logit_bias": {str(i): 1 for i in range(10_000)}},
        {"extra_body": {"prompt_embeds": "gASVAA=="}},
        {"extra_body": {"chat_template": "{% for i in range(10**9) %}x{% endfor %}"}},
        {"extra_body": {"chat_template_kwargs": {"tokenize": True}}},
        {"extra_body": {"structured_outputs": {"regex": "((a{1,999}){1,999}){1,999}"}}},
        {
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"type": "text", "pattern": "("}},
                }
            ]
        },
    ):
        with pytest.raises(openai.BadRequestError):
            vllm.client.chat.completions.create(model="smol", messages=asked("x"), **options)  # type: ignore[call-overload]
    with pytest.raises(openai.BadRequestError) as caught:
        vllm.client.completions.create(model="smol", prompt="word " * 3000, max_tokens=4)
    assert caught.value.type == "invalid_request_error"
    assert vllm.status("/v2/health/ready") == 200
    for path in (
        "/sleep",
        "/wake_up",
        "/reset_prefix_cache",
        "/v1/responses",
        "/tokenize",
        "/collective_rpc",
    ):
        assert vllm.status(path) == 404


def test_a_reader_that_leaves_stops_the_engine_within_a_second(vllm: Running) -> None:
    stream = vllm.client.completions.create(
        model="smol", prompt="x", max_tokens=1000, stream=True, extra_body={"ignore_eos": True}
    )
    next(iter(stream))
    stream.close()
    left = time.monotonic()
    while running_now(vllm) > 0:
        assert time.monotonic() - left < 10
    print(f"gone from the engine after {time.monotonic() - left:.2f} s")


def running_now(vllm: Running) -> float:
    found = re.search(r"^vllm:num_requests_running\{[^}]*\} (\S+)$", vllm.metrics(), re.M)
    assert found is not None
    return float(found[1])


def test_metrics_of_both(vllm: Running) -> None:
    for _ in vllm.client.completions.create(model="smol", prompt="One", max_tokens=3, stream=True):
        pass
    text = vllm.metrics()
    for name in (
        "vllm:kv_cache_usage_perc",
        "vllm:generation_tokens_total",
        "wakeful_openai_inter_token_seconds_count",
    ):
        assert name in text


def cached_tokens(vllm: Running) -> float:
    found = re.search(
        r"^vllm:prefix_cache_hits_total(?:\{[^}]*\})? ([0-9.e+]+)$", vllm.metrics(), re.MULTILINE
    )
    assert found, "vLLM counts no prefix cache hits"
    return float(found[1])


def test_what_one_tenant_asked_is_not_in_the_cache_of_another(vllm: Running) -> None:
    """With a ``cache_salt`` each, nobody learns by the time of an answer what somebody else has asked (attack 22)."""
    prompt = " ".join(f"Number {n} is before number {n + 1}." for n in range(60))

    def hits(salt: str) -> float:
        before = cached_tokens(vllm)
        body = {"cache_salt": salt}
        vllm.client.completions.create(model="smol", prompt=prompt, max_tokens=1, extra_body=body)
        return cached_tokens(vllm) - before

    assert [hits("tenant-a"), hits("tenant-b")] == [0, 0]
    assert hits("tenant-a") > 100 and hits("tenant-b") > 100


def test_every_socket_of_the_engine_is_on_loopback(vllm: Running) -> None:
    listening = {
        line.split()[9]: line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    }
    found: list[str] = []
    for pid in tree(vllm.process.pid)[1:]:
        for place in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                target = place.readlink().name
            except OSError:
                continue
            inode = target[8:-1] if target.startswith("socket:[") else ""
            if inode in listening:
                found.append(listening[inode].split(":")[0])
    assert found and set(found) == {"0100007F"}


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [
        pid,
        *(below for place in children for child in place.read_text().split() for below in tree(int(child))),
    ]


def test_a_drain_lets_long_answers_end(vllm: Running) -> None:
    """Last in this file: it ends the server."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        options: Any = {"model": "smol", "prompt": "x", "max_tokens": 120, "extra_body": {"ignore_eos": True}}
        stream = vllm.client.completions.create(
            **options, stream=True, stream_options={"include_usage": True}
        )
        events = iter(stream)
        next(events)
        whole = pool.submit(vllm.client.completions.create, **options)
        while running_now(vllm) < 2:
            pass
        below = tree(vllm.process.pid)
        vllm.process.send_signal(signal.SIGTERM)
        while vllm.status("/v2/health/ready") != 503:
            assert vllm.process.poll() is None
        last = list(events)[-1]
        assert last.usage is not None and last.usage.completion_tokens == 120
        answered = whole.result(60)
        assert answered.usage is not None and answered.usage.completion_tokens == 120
    assert vllm.process.wait(STOP_S) == 0
    until_blocking(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), 10, "processes of the engine"
    )
