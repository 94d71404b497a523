"""Which OpenAI requests are understood, which are refused, and that the refusal names the member."""

from __future__ import annotations

import json
from typing import Any

import pytest

from wakeful.core.errors import FailureKind, InvalidError
from wakeful.core.protocol import openai, openai_errors
from wakeful.core.protocol.openai import Task

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
TEXT = {"model": "m", "prompt": "hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def parsed(task: Task, **members: Any) -> openai.Call:
    base = {
        Task.CHAT: CHAT,
        Task.COMPLETIONS: TEXT,
        Task.EMBEDDINGS: {"input": "a"},
        Task.SCORE: {"text_1": "a", "text_2": "b"},
        Task.RERANK: {"query": "a", "documents": ["b"]},
    }[task]
    return openai.parse(task, json.dumps({**base, **members}).encode())


ACCEPTED = [
    (Task.CHAT, {"max_tokens": 5, "temperature": 0, "stop": "x"}, {"stop": ["x"], "temperature": 0.0}),
    (Task.CHAT, {"seed": None, "user": "me", "store": False}, {}),
    (Task.CHAT, {"n": 2.0}, {"n": 2}),
    (Task.CHAT, {"logprobs": True, "top_logprobs": 3}, {"top_logprobs": 3}),
    (Task.CHAT, {"tools": [TOOL], "tool_choice": "required"}, {"tools": [TOOL], "tool_choice": "required"}),
    (Task.CHAT, {"tools": [], "tool_choice": "none"}, {}),
    (Task.CHAT, {"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
    (Task.CHAT, {"modalities": ["text"]}, {}),
    (Task.COMPLETIONS, {"prompt": [1, 2, 3]}, {"prompt": [1, 2, 3]}),
    (Task.COMPLETIONS, {"prompt": ["a", "b"], "n": 2, "best_of": 2}, {"prompt": ["a", "b"], "n": 2}),
    (Task.COMPLETIONS, {"logit_bias": {"50256": -100}}, {"logit_bias": {"50256": -100.0}}),
    (Task.EMBEDDINGS, {"input": [[1, 2], [3]]}, {"input": [[1, 2], [3]]}),
    (Task.EMBEDDINGS, {"encoding_format": "base64"}, {"encoding_format": "base64"}),
    (Task.SCORE, {"text_2": ["b", "c"]}, {"text_1": ["a"], "text_2": ["b", "c"]}),
    (Task.RERANK, {"documents": [{"text": "d"}, "e"]}, {"documents": ["d", "e"]}),
]


@pytest.mark.parametrize(("task", "members", "expected"), ACCEPTED)
def test_a_member_reaches_the_engine_checked(task: Task, members: Any, expected: Any) -> None:
    got = parsed(task, **members).members
    assert {name: got.get(name) for name in expected} == expected
    assert not {"user", "store", "modalities", "model", "stream", "stream_options"} & set(got)
    assert None not in got.values()


def image(url: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}


def schema(inner: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": inner}}}


def nested(levels: int) -> dict[str, Any]:
    inner: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        inner = {"type": "object", "properties": {"a": inner}}
    return inner


PATTERN = "response_format.json_schema.schema.pattern"
REFUSED = [
    (Task.CHAT, {"n": 10_000}, "n"),
    (Task.CHAT, {"n": True}, "n"),
    (Task.CHAT, {"max_tokens": 2**31}, "max_tokens"),
    (Task.CHAT, {"max_tokens": 10**40}, "max_tokens"),
    (Task.CHAT, {"max_completion_tokens": 0}, "max_completion_tokens"),
    (Task.CHAT, {"temperature": 3}, "temperature"),
    (Task.CHAT, {"temperature": "hot"}, "temperature"),
    (Task.CHAT, {"stop": ["s"] * 100_000}, "stop"),
    (Task.CHAT, {"stop": ["s", ""]}, "stop"),
    (Task.CHAT, {"stop": ["s", 1]}, "stop[1]"),
    (Task.CHAT, {"logit_bias": {str(i): 1 for i in range(1_000_000)}}, "logit_bias"),
    (Task.CHAT, {"logit_bias": {"word": 1}}, "logit_bias"),
    (Task.CHAT, {"logit_bias": {"5": 1000}}, "logit_bias[5]"),
    (Task.CHAT, {"messages": []}, "messages"),
    (Task.CHAT, {"messages": None}, "messages"),
    (Task.CHAT, {"messages": "hi"}, "messages"),
    (Task.CHAT, {"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role"),
    (Task.CHAT, {"messages": [{"role": "user"}]}, "messages[0].content"),
    (Task.CHAT, {"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    (Task.CHAT, {"messages": [{"role": "user", "content": "x", "secret": 1}]}, "messages[0].secret"),
    (Task.CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
    (Task.CHAT, {"top_logprobs": 2}, "top_logprobs"),
    (Task.CHAT, {"chat_template": "{{ 1 }}"}, "chat_template"),
    (Task.CHAT, {"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
    (Task.CHAT, {"chat_template_kwargs": {"a": {"b": 1}}}, "chat_template_kwargs.a"),
    (Task.CHAT, {"prompt_embeds": "gASV"}, "prompt_embeds"),
    (Task.CHAT, {"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
    (Task.CHAT, {"tools": [TOOL, TOOL]}, "tools[1].function.name"),
    (Task.CHAT, {"tool_choice": "required"}, "tool_choice"),
    (Task.CHAT, {"tools": [TOOL], "tool_choice": {"function": {"name": "g"}}}, "tool_choice"),
    (Task.CHAT, {"stream_options": {"include_usage": True}}, "stream_options"),
    (Task.CHAT, {"stream": 1}, "stream"),
    (Task.CHAT, {"temprature": 1}, "temprature"),
    (Task.CHAT, {"functions": []}, "functions"),
    (Task.CHAT, schema({"type": "text"}), "response_format.json_schema.schema.type"),
    (Task.CHAT, schema({"pattern": "("}), PATTERN),
    (Task.CHAT, schema({"pattern": "((a{1,999}){1,999}){1,999}"}), PATTERN),
    (Task.CHAT, schema({"pattern": "(?>(a{1,999}){1,999})"}), PATTERN),
    (Task.CHAT, schema({"pattern": "(a)\\1"}), PATTERN),
    (Task.CHAT, schema({"$ref": "http://169.254.169.254/x"}), "response_format.json_schema.schema.$ref"),
    (Task.CHAT, {"structured_outputs": {"regex": "a{5000}b{6000}"}}, "structured_outputs.regex"),
    (Task.CHAT, {"structured_outputs": {"regex": "a", "json": {}}}, "structured_outputs"),
    (Task.COMPLETIONS, {"best_of": 5}, "best_of"),
    (Task.COMPLETIONS, {"best_of": 2**31}, "best_of"),
    (Task.COMPLETIONS, {"prompt": []}, "prompt"),
    (Task.COMPLETIONS, {"prompt": [[]]}, "prompt[0]"),
    (Task.COMPLETIONS, {"prompt": [1, "a"]}, "prompt[1]"),
    (Task.COMPLETIONS, {"prompt": [-1]}, "prompt[0]"),
    (Task.COMPLETIONS, {"prompt": ["a"] * 100, "n": 100}, "n"),
    (Task.COMPLETIONS, {"prompt_embeds": "gASV"}, "prompt_embeds"),
    (Task.COMPLETIONS, {"suffix": "x"}, "suffix"),
    (Task.COMPLETIONS, {"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
    (Task.EMBEDDINGS, {"input": ["a"] * 2049}, "input"),
    (Task.EMBEDDINGS, {"encoding_format": "int8"}, "encoding_format"),
    (Task.SCORE, {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]}, "text_1"),
    (Task.RERANK, {"documents": []}, "documents"),
    (Task.RERANK, {"query": ["a"]}, "query"),
]


@pytest.mark.parametrize(
    ("task", "members", "param"),
    REFUSED,
    ids=[f"{task.value}-{param}-{n}" for n, (task, _, param) in enumerate(REFUSED)],
)
def test_a_wrong_member_is_named(task: Task, members: Any, param: str) -> None:
    with pytest.raises(openai_errors.RefusedError) as caught:
        parsed(task, **members)
    assert caught.value.param == param
    assert len(str(caught.value)) < 1000
    problem = openai_errors.render(caught.value)
    assert problem.status == 400
    assert problem.body["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://[::1]/x",
        "http://allowed\\@evil/x",
        "data:image/png;base64,AAAA",
    ],
)
def test_media_is_refused_whatever_its_url(url: str) -> None:
    with pytest.raises(openai_errors.RefusedError) as caught:
        parsed(Task.CHAT, **image(url))
    assert caught.value.param == "messages[0].content[0]"
    assert url not in str(caught.value)


def test_a_schema_is_bounded_in_depth_and_size() -> None:
    parsed(Task.CHAT, **schema(nested(10)))
    for inner in (
        nested(100),
        {"enum": list(range(100_000))},
        {"properties": {str(i): {} for i in range(9999)}},
    ):
        with pytest.raises(openai_errors.RefusedError):
            parsed(Task.CHAT, **schema(inner))


def test_words_of_the_schema_language_may_be_names_of_properties() -> None:
    inner = {"type": "object", "properties": {"type": {"type": "string"}, "pattern": {"const": {"type": 5}}}}
    assert parsed(Task.CHAT, **schema(inner)).get("response_format")["json_schema"]["schema"] == inner


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"{", b'"x"', b"[" * 100_000, b'{"model": NaN}', b'{"a":"\xff"}']
)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidError):
        openai.parse(Task.CHAT, body)


def test_a_million_members_are_refused_at_once() -> None:
    with pytest.raises(InvalidError, match="members"):
        openai.parse(Task.CHAT, json.dumps({str(i): 0 for i in range(100_000)}).encode())


def test_streams_say_what_usage_they_want() -> None:
    assert not parsed(Task.CHAT, stream=True).wants_usage
    call = parsed(Task.CHAT, stream=True, stream_options={"include_usage": True})
    assert (call.is_stream, call.wants_usage, call.wants_running_usage) == (True, True, False)


def test_every_failure_kind_has_a_type() -> None:
    assert set(openai_errors.TYPES) == set(FailureKind)
