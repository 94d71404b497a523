"""Answers and events of the OpenAI protocol, and stop sequences across tokens."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.protocol.openai import Call, Task
from wakeful.core.protocol.openai_answers import Choice, Delta, TokenChance, Usage, Writer
from wakeful.core.protocol.openai_stops import Stops


def writer(task: Task, wants_usage: bool = False, **members: Any) -> Writer:
    return Writer(Call(task, "m", members, wants_usage=wants_usage), "m", "1", 5)


def event(data: bytes) -> Any:
    assert data.startswith(b"data: ") and data.endswith(b"\n\n")
    return json.loads(data[6:])


def test_a_whole_chat_answer() -> None:
    choice = Choice(0)
    choice.add(Delta("Hel", 1, (TokenChance("Hel", -0.5, (("Hel", -0.5), ("Yo", -1.0))),)))
    choice.add(Delta("lo", 1, finish_reason="stop"))
    body = json.loads(writer(Task.CHAT).whole([choice], Usage(3, 2)))
    assert body["id"] == "chatcmpl-1" and body["object"] == "chat.completion"
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hello", "refusal": None}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["choices"][0]["logprobs"]["content"][0]["top_logprobs"][1]["token"] == "Yo"
    assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def test_a_completion_has_offsets_of_its_tokens() -> None:
    choice = Choice(0)
    choice.add(Delta("ab", 1, (TokenChance("ab", -1.0),)))
    choice.add(Delta("c", 1, (TokenChance("c", -2.0),), "length"))
    made = json.loads(writer(Task.COMPLETIONS).whole([choice], Usage(1, 2)))["choices"][0]
    assert made["text"] == "abc"
    assert made["logprobs"]["text_offset"] == [0, 2]


def test_events_carry_usage_only_when_asked() -> None:
    assert "usage" not in event(writer(Task.CHAT).event(0, Delta("a", 1), None))
    asked = writer(Task.CHAT, wants_usage=True)
    assert event(asked.event(0, Delta("a", 1), None))["usage"] is None
    last = event(asked.last(Usage(2, 1)))
    assert last["choices"] == [] and last["usage"]["total_tokens"] == 3


def test_embeddings_as_text_are_little_endian_floats() -> None:
    body = json.loads(writer(Task.EMBEDDINGS, encoding_format="base64").embeddings([[1.0, -2.5]], Usage(2)))
    assert struct.unpack("<2f", base64.b64decode(body["data"][0]["embedding"])) == (1.0, -2.5)
    assert body["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


@pytest.mark.parametrize(
    ("top_n", "expected"), [(0, [1, 2, 0]), (2, [1, 2]), (9, [1, 2, 0])], ids=["all", "two", "more"]
)
def test_a_ranking_is_best_first(top_n: int, expected: list[int]) -> None:
    made = writer(Task.RERANK, documents=["a", "b", "c"], top_n=top_n)
    results = json.loads(made.ranking([0.1, 0.9, 0.5], Usage(4)))["results"]
    assert [entry["index"] for entry in results] == expected
    assert results[0]["document"] == {"text": "b"}


def test_text_that_may_begin_a_stop_is_held_back() -> None:
    stops = Stops(["###"])
    assert stops.step("a#") == ("a", False)
    assert stops.step("#b") == ("##b", False)
    assert stops.step("##") == ("", False)
    assert stops.step("#c") == ("", True)


def test_what_was_held_is_sent_at_the_end() -> None:
    stops = Stops(["end"])
    assert stops.step("the en") == ("the ", False)
    assert stops.rest() == "en"


def test_a_stop_may_be_shown() -> None:
    assert Stops(["end"], is_shown=True).step("the end.") == ("the end", True)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_cut_in_any_way_the_same_is_sent(text: str, sequences: list[str], data: st.DataObject) -> None:
    whole, is_stopped = Stops(sequences).step(text)
    stops, sent, place, ended = Stops(sequences), "", 0, False
    while place < len(text) and not ended:
        size = data.draw(st.integers(1, 5))
        part, ended = stops.step(text[place : place + size])
        sent, place = sent + part, place + size
    if not ended:
        sent += stops.rest()
    ends = [(text.find(s) + len(s), -len(s)) for s in sequences if s in text]
    end, minus_size = min(ends, default=(len(text), 0))
    assert sent == text[: end + minus_size]
    assert ended == is_stopped == bool(ends)
    assert sent == whole if is_stopped else sent == text


def test_the_sequence_that_is_complete_first_counts() -> None:
    stops = Stops(["b", "aba"])
    assert stops.step("ab") == ("a", True)
    assert Stops(["b", "aba"]).step("aba") == ("a", True)
