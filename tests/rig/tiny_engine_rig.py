"""A deterministic engine of characters, for tests of everything around an engine: no weights, no sampling.

A token is a character. A completion of ``P`` is ``P`` upside down, over and over; a chat answers its last message
so. Sampling changes nothing but the length; log probabilities are minus the token's place. A prompt that holds
``WAIT`` stops after three tokens until ``gate`` opens; ``FAIL`` raises there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.openai import Call, Task
from wakeful.core.protocol.openai_answers import Delta, TokenChance
from wakeful.core.protocol.openai_sampling import Sampling
from wakeful.serving.openai_engine import OpenAIModel
from wakeful.serving.openai_local import LocalEngine


class TinyEngine:
    """The ``TextEngine`` above."""

    def __init__(self, context_tokens: int = 256) -> None:
        self.tasks = frozenset(Task)
        self.context_tokens = context_tokens
        self.gate = asyncio.Event()
        self.running = 0
        self.generated = 0

    async def prompts(self, call: Call) -> list[list[int]]:
        if call.task is Task.CHAT:
            content = call.get("messages")[-1].get("content", "")
            return [_tokens(content if isinstance(content, str) else "".join(p["text"] for p in content))]
        given = call.get("prompt" if call.task is Task.COMPLETIONS else "input")
        is_one = isinstance(given, str) or isinstance(given[0], int)
        return [_tokens(prompt) for prompt in ([given] if is_one else given)]

    async def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        text = "".join(map(chr, prompt))
        self.running += 1
        try:
            for place in range(sampling.max_tokens):
                if place == 3 and "WAIT" in text:
                    await self.gate.wait()
                if place == 3 and "FAIL" in text:
                    raise FailureError(FailureKind.UNAVAILABLE, "the tiny engine failed")
                letter = text[::-1][place % len(text)]
                chances: tuple[TokenChance, ...] = ()
                if sampling.top_logprobs is not None:
                    chances = (TokenChance(letter, -float(place), ((letter, -float(place)),)),)
                self.generated += 1
                is_last = place + 1 == sampling.max_tokens
                yield Delta(letter, 1, chances, "length" if is_last else None)
                await asyncio.sleep(0)
        finally:
            self.running -= 1

    async def embed(self, prompts: Sequence[Sequence[int]], dimensions: int | None) -> list[list[float]]:
        return [[float(len(prompt)), float(prompt[0]), 0.5][:dimensions] for prompt in prompts]

    async def score(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[float], int]:
        scores = [len(set(left) & set(right)) / max(1, len(set(left) | set(right))) for left, right in pairs]
        return scores, sum(len(left) + len(right) for left, right in pairs)


def _tokens(prompt: str | list[int]) -> list[int]:
    return [ord(character) for character in prompt] if isinstance(prompt, str) else prompt


class TinyModel(OpenAIModel):
    """A model on a ``TinyEngine``."""

    def __init__(self, name: str, aliases: Sequence[str] = (), text: TinyEngine | None = None) -> None:
        super().__init__(name, aliases)
        self.text = text or TinyEngine()
        self.engine = LocalEngine(name, self.text)
