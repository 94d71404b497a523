"""OpenAI's routes for an engine that speaks words: ``LocalEngine`` turns tokens into answers and events.

The port ``TextEngine`` is what such an engine gives: prompts as tokens, deltas of text, vectors, scores. Adapters:
``runtimes.huggingface`` and the tests' tiny engine. Here: several prompts and ``n``, stop sequences, usage, shapes.
Left out: parsing and HTTP (the edge's), sampling (the engine's).

Invariant: a member that the engine does not understand is refused (400), never ignored; one answer is generated at a
time for a request, and closing the stream closes the engine's generator.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import openai_sampling
from wakeful.core.protocol.openai import Call, Task
from wakeful.core.protocol.openai_answers import Choice, Delta, Usage, Writer
from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.openai_sampling import Sampling
from wakeful.core.protocol.openai_stops import Stops
from wakeful.serving import ids

INPUTS = {
    Task.COMPLETIONS: frozenset({"prompt"}),
    Task.CHAT: frozenset(
        {"messages", "chat_template_kwargs", "add_generation_prompt", "continue_final_message"}
    ),
    Task.EMBEDDINGS: frozenset({"input", "encoding_format", "dimensions", "add_special_tokens"}),
    Task.SCORE: frozenset({"text_1", "text_2"}),
    Task.RERANK: frozenset({"query", "documents", "top_n", "return_documents"}),
}
MEMBER = {Task.COMPLETIONS: "prompt", Task.CHAT: "messages", Task.EMBEDDINGS: "input"}
"""Where the text is that tokens are made of."""
HARMLESS: dict[str, object] = {
    "echo": False,
    "response_format": {"type": "text"},
    "tool_choice": "none",
    "parallel_tool_calls": True,
    "spaces_between_special_tokens": True,
    "return_token_ids": False,
    "bad_words": [],
    "truncate_prompt_tokens": -1,
    "include_reasoning": True,
    "add_generation_prompt": True,
}
"""Members whose usual value asks for nothing."""


class TextEngine(Protocol):
    """An engine in words and tokens. Methods may be called concurrently; the engine bounds its own work."""

    tasks: frozenset[Task]
    context_tokens: int
    """Prompt and answer together."""

    async def prompts(self, call: Call) -> list[list[int]]:
        """The token ids of every prompt (completions), the rendered chat, or every input. Raises ``RefusedError``."""

    def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """The answer as it comes; the last delta has the reason of its end. Closing it ends the generation."""

    async def embed(self, prompts: Sequence[Sequence[int]], dimensions: int | None) -> list[list[float]]:
        """One vector a prompt."""

    async def score(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[float], int]:
        """One number a pair, and how many tokens were read."""


class LocalEngine:
    """The ``Engine`` on top of a ``TextEngine``."""

    def __init__(self, name: str, text: TextEngine) -> None:
        self._name = name
        self._text = text
        self.total = Usage()
        """Tokens of all requests so far."""

    @property
    def tasks(self) -> frozenset[Task]:
        return self._text.tasks

    async def answer(self, call: Call) -> bytes:
        """The whole body."""
        self._check(call)
        match call.task:
            case Task.COMPLETIONS | Task.CHAT:
                return await self._generated(call)
            case Task.EMBEDDINGS:
                prompts = await self._prompts(call)
                vectors = await self._text.embed(prompts, call.get("dimensions"))
                return self._writer(call).embeddings(vectors, self._read(sum(map(len, prompts))))
            case Task.SCORE:
                left, right = call.get("text_1"), call.get("text_2")
                left = left * len(right) if len(left) == 1 else left
                scores, tokens = await self._text.score(list(zip(left, right, strict=True)))
                return self._writer(call).scores(scores, self._read(tokens))
            case Task.RERANK:
                pairs = [(call.get("query"), document) for document in call.get("documents")]
                scores, tokens = await self._text.score(pairs)
                return self._writer(call).ranking(scores, self._read(tokens))
            case _:
                raise FailureError(FailureKind.UNSUPPORTED, f"{call.task} is not known here")

    async def stream(self, call: Call) -> AsyncIterator[bytes]:
        """The events of a completion or chat."""
        self._check(call)
        writer = self._writer(call)
        usage = Usage()
        for index, prompt, sampling in await self._plan(call, usage):
            opening = writer.opening(index)
            if opening is not None:
                yield opening
            async with aclosing(self._deltas(call, prompt, sampling)) as deltas:
                async for delta in deltas:
                    self._count(usage, delta)
                    yield writer.event(index, delta, replace(usage) if call.wants_running_usage else None)
        if call.wants_usage:
            yield writer.last(usage)

    async def _generated(self, call: Call) -> bytes:
        usage = Usage()
        choices: list[Choice] = []
        for index, prompt, sampling in await self._plan(call, usage):
            choice = Choice(index)
            choices.append(choice)
            async with aclosing(self._deltas(call, prompt, sampling)) as deltas:
                async for delta in deltas:
                    self._count(usage, delta)
                    choice.add(delta)
        return self._writer(call).whole(choices, usage)

    async def _plan(self, call: Call, usage: Usage) -> list[tuple[int, list[int], Sampling]]:
        """Index, prompt and parameters of every answer; the prompts are counted once."""
        planned: list[tuple[int, list[int], Sampling]] = []
        for given in await self._prompts(call):
            prompt = openai_sampling.truncated(call, given)
            usage.prompt_tokens += len(prompt)
            for _ in range(call.get("n", 1)):
                index = len(planned)
                made = openai_sampling.sampling(call, index, len(prompt), self._text.context_tokens)
                planned.append((index, prompt, made))
        self._read(usage.prompt_tokens)
        return planned

    async def _prompts(self, call: Call) -> list[list[int]]:
        """What to read. Raises ``RefusedError`` where there is none: no engine goes on from nothing."""
        prompts = await self._text.prompts(call)
        if all(prompts):
            return prompts
        member = MEMBER[call.task]
        place = (
            "" if len(prompts) == 1 else f"[{next(at for at, prompt in enumerate(prompts) if not prompt)}]"
        )
        raise RefusedError(f"{member}{place} has no token: send some text", member + place)

    async def _deltas(self, call: Call, prompt: list[int], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """What the engine generates, up to the first stop sequence; tokens without text are joined to the next."""
        stops = Stops(call.get("stop", ()), call.get("include_stop_str_in_output", False))
        held: list[Delta] = []
        generated = self._text.generate(prompt, sampling)
        async with aclosing(generated):
            async for delta in generated:
                text, is_stopped = stops.step(delta.text)
                ends = delta.finish_reason
                if is_stopped:
                    ends = "stop"
                elif ends is not None:
                    text += stops.rest()
                held.append(replace(delta, text=text, finish_reason=ends))
                if text or ends is not None:
                    yield _joined(held)
                    held = []
                if ends is not None:
                    return

    def _check(self, call: Call) -> None:
        understood = INPUTS[call.task]
        if call.task in (Task.COMPLETIONS, Task.CHAT):
            understood |= openai_sampling.MEMBERS
        openai_sampling.check_understood(call, understood, HARMLESS)
        if call.is_stream and call.task not in (Task.COMPLETIONS, Task.CHAT):
            raise FailureError(FailureKind.UNSUPPORTED, f"{call.task} cannot be streamed")

    def _writer(self, call: Call) -> Writer:
        return Writer(call, call.model or self._name, ids.request_id(), int(time.time()))

    def _read(self, tokens: int) -> Usage:
        self.total.prompt_tokens += tokens
        return Usage(tokens)

    def _count(self, usage: Usage, delta: Delta) -> None:
        usage.completion_tokens += delta.tokens
        self.total.completion_tokens += delta.tokens


def _joined(deltas: list[Delta]) -> Delta:
    if len(deltas) == 1:
        return deltas[0]
    return Delta(
        "".join(delta.text for delta in deltas),
        sum(delta.tokens for delta in deltas),
        tuple(chance for delta in deltas for chance in delta.chances),
        deltas[-1].finish_reason,
    )
