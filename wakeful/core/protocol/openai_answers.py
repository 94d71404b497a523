"""OpenAI's answers: whole bodies and the events of a stream, from what an engine generated.

Engines that speak words (``openai_local``) build their answers here; an engine that speaks OpenAI itself (vLLM) does
not. Shapes are those of OpenAI's API reference; score and rerank are vLLM's and Jina's. Times and ids are given.

Invariant: every event of one answer has the same id, ``created`` and model; with ``include_usage`` every event has a
``usage`` member and the last one has no choices.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from wakeful.core.protocol.openai import Call, Task

FinishReason = Literal["stop", "length"]
DONE = b"data: [DONE]\n\n"
OBJECTS = {
    Task.COMPLETIONS: ("cmpl-", "text_completion", "text_completion"),
    Task.CHAT: ("chatcmpl-", "chat.completion", "chat.completion.chunk"),
    Task.EMBEDDINGS: ("embd-", "list", ""),
    Task.SCORE: ("score-", "list", ""),
    Task.RERANK: ("rerank-", "", ""),
}
"""Prefix of ids, object of a whole answer, object of an event."""


@dataclass(frozen=True, slots=True)
class TokenChance:
    """One token with its log probability and the likeliest others at its place: (text, log probability)."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Delta:
    """What an engine generated since the last one; ``finish_reason`` ends the answer."""

    text: str = ""
    tokens: int = 0
    """How many tokens ``text`` is made of, tokens whose text is still held back included."""
    chances: tuple[TokenChance, ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(slots=True)
class Usage:
    """Tokens of one request."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def as_json(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


@dataclass(slots=True)
class Choice:
    """One answer being put together."""

    index: int
    parts: list[str] = field(default_factory=list)
    chances: list[TokenChance] = field(default_factory=list)
    finish_reason: str | None = None

    def add(self, delta: Delta) -> None:
        """Take what came."""
        self.parts.append(delta.text)
        self.chances.extend(delta.chances)
        self.finish_reason = delta.finish_reason or self.finish_reason


@dataclass(frozen=True, slots=True)
class Writer:
    """Builds the bodies of one answer."""

    call: Call
    model: str
    suffix: str
    """The part of the id after its prefix."""
    created: int

    def _head(self, is_event: bool) -> dict[str, Any]:
        prefix, whole, event = OBJECTS[self.call.task]
        return {
            "id": prefix + self.suffix,
            "object": event if is_event else whole,
            "created": self.created,
            "model": self.model,
        }

    def whole(self, choices: Sequence[Choice], usage: Usage) -> bytes:
        """The body of an answer that is not streamed."""
        made = [self._choice(choice) for choice in choices]
        return orjson.dumps({**self._head(False), "choices": made, "usage": usage.as_json()})

    def _choice(self, choice: Choice) -> dict[str, Any]:
        content = "".join(choice.parts)
        logprobs = self._logprobs(choice.chances)
        ends = {"index": choice.index, "logprobs": logprobs, "finish_reason": choice.finish_reason}
        if self.call.task is Task.CHAT:
            return {**ends, "message": {"role": "assistant", "content": content, "refusal": None}}
        return {**ends, "text": content}

    def opening(self, index: int) -> bytes | None:
        """The first event of a choice: a chat says who speaks; a completion has none."""
        if self.call.task is not Task.CHAT:
            return None
        delta = {"role": "assistant", "content": ""}
        return self._event([{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}], None)

    def event(self, index: int, delta: Delta, usage: Usage | None) -> bytes:
        """One event of a stream; ``usage`` so far where the caller asked for it."""
        choice: dict[str, Any] = {
            "index": index,
            "logprobs": self._logprobs(delta.chances),
            "finish_reason": delta.finish_reason,
        }
        if self.call.task is Task.CHAT:
            choice["delta"] = {"content": delta.text} if delta.text or not delta.finish_reason else {}
        else:
            choice["text"] = delta.text
        return self._event([choice], usage)

    def last(self, usage: Usage) -> bytes:
        """The event that has the usage and no choice."""
        return self._event([], usage)

    def _event(self, choices: list[dict[str, Any]], usage: Usage | None) -> bytes:
        body: dict[str, Any] = {**self._head(True), "choices": choices}
        if self.call.wants_usage:
            body["usage"] = usage.as_json() if usage is not None else None
        return b"data: " + orjson.dumps(body) + b"\n\n"

    def _logprobs(self, chances: Sequence[TokenChance]) -> dict[str, Any] | None:
        if not chances:
            return None
        if self.call.task is Task.CHAT:
            return {"content": [_chat_chance(chance) for chance in chances], "refusal": None}
        return {
            "tokens": [chance.text for chance in chances],
            "token_logprobs": [chance.logprob for chance in chances],
            "top_logprobs": [dict(chance.top) for chance in chances],
            "text_offset": _offsets(chances),
        }

    def embeddings(self, vectors: Sequence[Sequence[float]], usage: Usage) -> bytes:
        """One vector an input, as numbers or as base64 of little-endian 32-bit floats."""
        is_text = self.call.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": place, "embedding": _base64(vector) if is_text else list(vector)}
            for place, vector in enumerate(vectors)
        ]
        return orjson.dumps({**self._head(False), "data": data, "usage": _without_answer(usage)})

    def scores(self, values: Sequence[float], usage: Usage) -> bytes:
        """One number a pair."""
        data = [{"index": place, "object": "score", "score": value} for place, value in enumerate(values)]
        return orjson.dumps({**self._head(False), "data": data, "usage": _without_answer(usage)})

    def ranking(self, values: Sequence[float], usage: Usage) -> bytes:
        """The documents, best first; at most ``top_n``."""
        documents: list[str] = self.call.get("documents")
        order = sorted(range(len(values)), key=lambda place: (-values[place], place))
        count = self.call.get("top_n") or len(order)
        has_text = self.call.get("return_documents", True)
        results = [
            {
                "index": place,
                **({"document": {"text": documents[place]}} if has_text else {}),
                "relevance_score": values[place],
            }
            for place in order[:count]
        ]
        head = {"id": OBJECTS[Task.RERANK][0] + self.suffix, "model": self.model}
        return orjson.dumps({**head, "results": results, "usage": _without_answer(usage)})


def _without_answer(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.prompt_tokens}


def _chat_chance(chance: TokenChance) -> dict[str, Any]:
    entry = _token(chance.text, chance.logprob)
    entry["top_logprobs"] = [_token(text, logprob) for text, logprob in chance.top]
    return entry


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


def _offsets(chances: Sequence[TokenChance]) -> list[int]:
    offsets, place = [], 0
    for chance in chances:
        offsets.append(place)
        place += len(chance.text)
    return offsets


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def model_object(name: str, created: int) -> dict[str, Any]:
    """One model of ``/v1/models``."""
    return {"id": name, "object": "model", "created": created, "owned_by": "wakeful"}


def model_list(names: Sequence[str], created: int) -> dict[str, Any]:
    """The list of ``/v1/models``."""
    return {"object": "list", "data": [model_object(name, created) for name in names]}


def error_event(body: dict[str, Any]) -> bytes:
    """A failure after the first event: the official client raises it from there."""
    return b"data: " + orjson.dumps(body) + b"\n\n"
