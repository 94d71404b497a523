"""Every OpenAI route through the official client, and what its errors carry."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from tiny_engine_rig import TinyModel

from tests.shells.openai_edges.conftest import Start
from wakeful.serving import Context, Model

HELLO: list[Any] = [{"role": "user", "content": "abc"}]


class Plain(Model):
    def predict(self, payload: Any, context: Context) -> Any:
        return {"predictions": []}


@pytest.mark.parametrize("prefix", ["/openai/v1", "/v1"])
async def test_a_chat_and_a_completion(start: Start, prefix: str) -> None:
    place = await start(prefix=prefix)
    chat = await place.client.chat.completions.create(model="tiny", messages=HELLO, max_tokens=4)
    assert chat.choices[0].message.content == "cbac"
    assert chat.choices[0].finish_reason == "length"
    assert chat.usage is not None and chat.usage.total_tokens == 7
    text = await place.client.completions.create(
        model="tiny", prompt=["ab", "xyz"], max_tokens=3, n=2, logprobs=1
    )
    assert [choice.text for choice in text.choices] == ["bab", "bab", "zyx", "zyx"]
    assert text.usage is not None and text.usage.prompt_tokens == 5
    assert text.choices[0].logprobs is not None and text.choices[0].logprobs.tokens == ["b", "a", "b"]


async def test_a_stream_with_usage(start: Start) -> None:
    place = await start()
    stream = await place.client.chat.completions.create(
        model="tiny", messages=HELLO, max_tokens=5, stream=True, stream_options={"include_usage": True}, n=2
    )
    texts, usages = {0: "", 1: ""}, []
    async for event in stream:
        usages.append(event.usage)
        for choice in event.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "cbacb", 1: "cbacb"}
    assert usages[:-1] == [None] * (len(usages) - 1)
    assert usages[-1] is not None and usages[-1].completion_tokens == 10


async def test_a_stop_sequence_ends_the_answer(start: Start) -> None:
    place = await start()
    chat = await place.client.chat.completions.create(
        model="tiny", messages=HELLO, stop=["ac"], max_tokens=50
    )
    assert (chat.choices[0].message.content, chat.choices[0].finish_reason) == ("cb", "stop")
    assert place.model.text.running == 0


async def test_embeddings_come_as_the_client_asks(start: Start) -> None:
    place = await start()
    for options in ({}, {"encoding_format": "float"}, {"dimensions": 2}):
        made = await place.client.embeddings.create(model="tiny", input=["ab", "c"], **options)  # type: ignore[arg-type]
        assert made.data[0].embedding[:2] == [2.0, 97.0]
        assert made.usage.prompt_tokens == 3


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("completions", {"prompt": ""}, "prompt"),
        ("completions", {"prompt": ["a", ""], "stream": True}, "prompt[1]"),
        ("chat/completions", {"messages": [{"role": "user", "content": []}]}, "messages"),
        ("embeddings", {"input": ["a", ""]}, "input[1]"),
    ],
    ids=["a text", "one of two", "chat", "embeddings"],
)
async def test_a_prompt_without_a_token_is_refused(
    start: Start, path: str, body: dict[str, object], param: str
) -> None:
    place = await start()
    async with place.session.post(f"/v1/{path}", json={"model": "tiny", **body}) as response:
        error = (await response.json())["error"]
    assert (response.status, error["param"]) == (400, param), error


async def test_models_are_listed_for_both_protocols(start: Start) -> None:
    place = await start(TinyModel("tiny", aliases=["adapter"]), Plain("plain"))
    assert [model.id async for model in place.client.models.list()] == ["tiny", "adapter"]
    for prefix in ("/v1", "/openai/v1"):
        client = place.client.with_options(base_url=f"http://127.0.0.1:{place.server.port}{prefix}")
        for name in ("tiny", "adapter"):
            assert (await client.models.retrieve(name)).id == name
    async with place.session.get("/v1/models") as response:
        body = await response.json()
    assert body["models"] == ["tiny", "plain"]
    assert [entry["id"] for entry in body["data"]] == ["tiny", "adapter"]
    async with place.session.get("/v1/models/tiny") as response:
        body = await response.json()
    assert body["name"] == body["id"] == "tiny" and body["ready"] is True
    chat = await place.client.chat.completions.create(model="adapter", messages=HELLO, max_tokens=1)
    assert chat.model == "adapter"
    with pytest.raises(openai.NotFoundError) as caught:
        await place.client.models.retrieve("nobody")
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


async def test_scores_and_rankings(start: Start) -> None:
    place = await start()
    body = {"model": "tiny", "text_1": "ab", "text_2": ["ab", "xy"]}
    async with place.session.post("/openai/v1/score", json=body) as response:
        assert [entry["score"] for entry in (await response.json())["data"]] == [1.0, 0.0]
    body = {"model": "tiny", "query": "ab", "documents": ["xy", "ab"], "top_n": 1}
    async with place.session.post("/v1/rerank", json=body) as response:
        results = (await response.json())["results"]
    assert results == [{"index": 1, "document": {"text": "ab"}, "relevance_score": 1.0}]


ERRORS: list[tuple[dict[str, Any], type[openai.APIStatusError], str | None, str | None]] = [
    ({"temperature": 9}, openai.BadRequestError, "temperature", None),
    ({"model": "nobody"}, openai.NotFoundError, "model", "model_not_found"),
    ({"extra_body": {"temprature": 1}}, openai.BadRequestError, "temprature", "unknown_parameter"),
    ({"max_tokens": 1000}, openai.BadRequestError, "messages", "context_length_exceeded"),
    (
        {"response_format": {"type": "json_object"}},
        openai.BadRequestError,
        "response_format",
        "unsupported_parameter",
    ),
    (
        {"extra_body": {"prompt_embeds": "gASV"}},
        openai.BadRequestError,
        "prompt_embeds",
        "unsupported_parameter",
    ),
    ({"model": "plain"}, openai.BadRequestError, None, "unsupported"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("options", "kind", "param", "code"), ERRORS, ids=[str(i) for i in range(len(ERRORS))]
)
async def test_errors_are_those_of_the_client(
    start: Start,
    options: Any,
    kind: type[openai.APIStatusError],
    param: str | None,
    code: str | None,
    stream: bool,
) -> None:
    place = await start(TinyModel("tiny"), Plain("plain"))
    with pytest.raises(kind) as caught:
        await place.client.chat.completions.create(
            **{"model": "tiny", "messages": HELLO, "stream": stream, **options}
        )
    assert (caught.value.param, caught.value.code) == (param, code)
    assert caught.value.type == "invalid_request_error"
    assert caught.value.request_id


async def test_what_no_model_is_asked_is_an_error_object_too(start: Start) -> None:
    place = await start(max_body_bytes=1000)
    for body, headers, status in (
        (b"{", {}, 400),
        (b"x" * 2000, {}, 413),
        (b"{}", {"Content-Encoding": "br"}, 415),
        (b"{}", {}, 400),
    ):
        async with place.session.post("/v1/chat/completions", data=body, headers=headers) as response:
            assert response.status == status
            assert set((await response.json())["error"]) == {"message", "type", "param", "code"}
    async with place.session.get("/v1/chat/completions") as response:
        assert response.status == 405
    for path in ("/v1/responses", "/sleep", "/wake_up", "/reset_prefix_cache", "/openai/v1/nothing"):
        async with place.session.post(path, json={}) as response:
            assert response.status == 404
