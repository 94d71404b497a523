"""Text generation with transformers: the ``TextEngine`` of causal and encoder-decoder models.

Called through ``openai_local``. One answer is one loop in a thread of the pool: forward with the key-value cache, pick,
hand the new text to the event loop. Our own loop and not ``generate``: it has a seed of its own for each request, log
probabilities as the model gave them, and stops within one token when the reader has gone. Requests are not batched;
vLLM is for that.

Invariant: text handed over is whole characters; after ``aclose`` at most one more token is computed.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any

import torch

from runtimes.huggingface.loading import Loaded, TaskName
from runtimes.huggingface.picking import Picked, Picker
from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.openai import Call, Task
from wakeful.core.protocol.openai_answers import Delta, FinishReason, TokenChance
from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.openai_sampling import Sampling
from wakeful.serving.pool import Pool

REPLACEMENT = "\ufffd"
"""What decoding gives for the first bytes of a character whose others are still to come."""


class GeneratingEngine:
    """One generative model."""

    def __init__(self, loaded: Loaded, pool: Pool) -> None:
        self.tasks = frozenset({Task.COMPLETIONS, Task.CHAT})
        self.context_tokens = loaded.context_tokens
        self._loaded = loaded
        self._pool = pool
        self._is_encoder_decoder = loaded.task is TaskName.GENERATION_2
        self._ends = _ends(loaded)

    async def prompts(self, call: Call) -> list[list[int]]:
        """Token ids; in the pool, because a long text takes a while."""
        if call.task is Task.CHAT:
            return [await self._pool.run(partial(self._chat, call))]
        return await self._pool.run(partial(tokenized, self._loaded, call, "prompt"))

    def _chat(self, call: Call) -> list[int]:
        tokenizer = self._loaded.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise RefusedError("this model has no chat template: use completions", "messages")
        messages = [_flat(message) for message in call.get("messages")]
        is_continued = call.get("continue_final_message", False)
        try:
            text = tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=not is_continued,
                continue_final_message=is_continued,
                **call.get("chat_template_kwargs", {}),
            )
        except Exception as error:  # a template raises whatever it likes about roles and their order
            said = " ".join(str(error).split())[:300]
            raise RefusedError(f"the model's template refuses the messages: {said}", "messages") from error
        return list(tokenizer(text, add_special_tokens=False).input_ids)

    async def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        """The answer as it comes."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Delta | None] = asyncio.Queue()
        is_unwanted = threading.Event()

        def hand(delta: Delta | None) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, delta)

        work = asyncio.ensure_future(
            self._pool.run(partial(self._run, list(prompt), sampling, hand, is_unwanted))
        )
        work.add_done_callback(lambda _: queue.put_nowait(None))
        try:
            while (delta := await queue.get()) is not None:
                yield delta
            await work
        finally:
            is_unwanted.set()
            work.cancel()

    def _run(
        self,
        prompt: list[int],
        sampling: Sampling,
        hand: Callable[[Delta], None],
        is_unwanted: threading.Event,
    ) -> None:
        """In a thread: every token of one answer."""
        picker = Picker(sampling, prompt, self._ends)
        text = TextSoFar(self._loaded.tokenizer, prompt, sampling.skip_special_tokens)
        stops = frozenset(sampling.stop_token_ids) | (frozenset() if sampling.ignore_eos else self._ends)
        steps = self._steps(prompt)
        with torch.inference_mode():
            logits = next(steps)
            for count in range(1, sampling.max_tokens + 1):
                if is_unwanted.is_set():
                    return
                picked = picker.pick(logits)
                is_end = picked.token in stops and count >= sampling.min_tokens
                ends: FinishReason | None = None
                if is_end:
                    ends = "stop"
                elif count == sampling.max_tokens:
                    ends = "length"
                new = text.rest() if is_end else text.step(picked.token, is_last=ends is not None)
                hand(Delta(new, 1, self._chances(picked), ends))
                if ends is not None:
                    return
                logits = steps.send(picked.token)

    def _steps(self, prompt: list[int]) -> Any:
        """A generator: gives the logits after the prompt, then after each token it is sent."""
        network, device = self._loaded.network, self._loaded.device
        given = torch.tensor([prompt], device=device)
        extra: dict[str, Any] = {}
        if self._is_encoder_decoder:
            extra["encoder_outputs"] = network.get_encoder()(input_ids=given, return_dict=True)
            given = torch.tensor([[network.config.decoder_start_token_id]], device=device)
        name = "decoder_input_ids" if self._is_encoder_decoder else "input_ids"
        cache = None
        while True:
            out = network(**{name: given}, past_key_values=cache, use_cache=True, **extra)
            cache = out.past_key_values
            token = yield out.logits[0, -1]
            given = torch.tensor([[token]], device=device)

    def _chances(self, picked: Picked) -> tuple[TokenChance, ...]:
        if picked.logprob is None:
            return ()
        decode = self._loaded.tokenizer.decode
        top = tuple((decode([token]), logprob) for token, logprob in picked.top)
        return (TokenChance(decode([picked.token]), picked.logprob, top),)

    async def embed(self, prompts: Sequence[Sequence[int]], dimensions: int | None) -> list[list[float]]:
        raise FailureError(FailureKind.UNSUPPORTED, "this model generates text; it has no embeddings")

    async def score(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[float], int]:
        raise FailureError(FailureKind.UNSUPPORTED, "this model generates text; it has no scores")


class TextSoFar:
    """The text of the tokens of one answer, given out in whole characters."""

    def __init__(self, tokenizer: Any, prompt: list[int], skips_special: bool) -> None:
        self._tokenizer = tokenizer
        self._skips_special = skips_special
        self._tokens = prompt[-4:]
        """The last ones: some tokenizers write a space before a word only when another stands before it."""
        self._from = 0
        self._upto = len(self._tokens)

    def step(self, token: int, is_last: bool = False) -> str:
        """What ``token`` adds; '' while a character is incomplete."""
        self._tokens.append(token)
        return self._new(is_last)

    def rest(self) -> str:
        """What was held back."""
        return self._new(True)

    def _new(self, is_last: bool) -> str:
        before = self._decode(self._tokens[self._from : self._upto])
        now = self._decode(self._tokens[self._from :])
        if now.endswith(REPLACEMENT) and not is_last:
            return ""
        self._from, self._upto = self._upto, len(self._tokens)
        return now[len(before) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=self._skips_special))


def tokenized(loaded: Loaded, call: Call, member: str) -> list[list[int]]:
    """The token ids of ``member``: a text, texts, ids or lists of ids. Raises ``RefusedError``."""
    value = call.get(member)
    given = value if isinstance(value, list) and not isinstance(value[0], int) else [value]
    has_special = call.get("add_special_tokens", True)
    prompts: list[list[int]] = []
    size = len(loaded.tokenizer)
    for place, prompt in enumerate(given):
        made = (
            list(loaded.tokenizer(prompt, add_special_tokens=has_special).input_ids)
            if isinstance(prompt, str)
            else prompt
        )
        if not made:
            raise RefusedError(f"{member}[{place}] has no token", member)
        if max(made) >= size:
            raise RefusedError(f"{member}[{place}] has token {max(made)}: the model knows {size}", member)
        prompts.append(made)
    return prompts


def _flat(message: dict[str, Any]) -> dict[str, Any]:
    """A message as templates expect it: text content, and no role that they do not know."""
    content = message.get("content") or ""
    if isinstance(content, list):
        content = "\n".join(part["text"] for part in content)
    role = "system" if message["role"] == "developer" else message["role"]
    return {**message, "role": role, "content": content}


def _ends(loaded: Loaded) -> frozenset[int]:
    """The tokens that end an answer."""
    found: set[int] = set()
    for source in (loaded.network.generation_config, loaded.network.config, loaded.tokenizer):
        value = getattr(source, "eos_token_id", None)
        if isinstance(value, int):
            found.add(value)
        elif isinstance(value, list | tuple):
            found.update(value)
    return frozenset(found)
