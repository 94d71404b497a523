"""Encoders: labels of texts and of tokens, words for masks, vectors, scores of pairs.

Called by ``runtimes.huggingface.model`` (V1 and V2) and, for vectors and scores, through ``openai_local``. Texts go through the
network in batches that the attention mask tells apart. What V1 answers is KServe's: the index of the likeliest label,
or with flags the numbers behind it; for masks the words; for embeddings unit vectors.

Invariant: a text's answer does not depend on the texts beside it; texts that are too long are refused, not cut.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from runtimes.huggingface.generating import tokenized
from runtimes.huggingface.loading import Loaded, TaskName
from runtimes.huggingface.settings import HuggingFaceSettings
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol.openai import Call, Task
from wakeful.core.protocol.openai_answers import Delta
from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.openai_sampling import Sampling
from wakeful.serving.pool import Pool

BATCH = 32


class Encoder:
    """One encoder; its methods run in the pool's threads."""

    def __init__(self, loaded: Loaded, settings: HuggingFaceSettings) -> None:
        self._loaded = loaded
        self._settings = settings

    def answers(self, texts: Sequence[str]) -> list[Any]:
        """One answer a text, by the model's task. Raises ``InvalidError``."""
        return [answer for batch in self._batches(texts) for answer in self._answered(batch)]

    def _batches(self, texts: Sequence[str]) -> Iterator[Any]:
        for start in range(0, len(texts), BATCH):
            yield self._tokens(list(texts[start : start + BATCH]), start)

    def _tokens(self, texts: list[str], start: int, seconds: list[str] | None = None) -> Any:
        tokenizer = self._loaded.tokenizer
        made = tokenizer(
            texts,
            seconds,
            padding=True,
            truncation=False,
            add_special_tokens=not self._settings.disable_special_tokens,
            return_tensors="pt",
        )
        longest = int(made["attention_mask"].sum(dim=1).max())
        if longest > self._loaded.context_tokens:
            place = start + int(made["attention_mask"].sum(dim=1).argmax())
            raise InvalidError(
                f"text {place} has {longest} tokens: the model reads {self._loaded.context_tokens} at once, "
                "so cut it into parts"
            )
        if seconds is None and not self._settings.return_token_type_ids:
            made.pop("token_type_ids", None)
        return made.to(self._loaded.device)

    def _answered(self, tokens: Any) -> list[Any]:
        if self._loaded.task is TaskName.EMBEDDING:
            return self._pooled(tokens)
        with torch.inference_mode():
            logits = self._loaded.network(**tokens).logits.float()
        mask = tokens["attention_mask"].bool()
        match self._loaded.task:
            case TaskName.SEQUENCE:
                return [self._labels(row) for row in logits]
            case TaskName.TOKEN:
                return [
                    [self._labels(row) for row in rows[there]]
                    for rows, there in zip(logits, mask, strict=True)
                ]
            case _:
                wanted = tokens["input_ids"] == self._loaded.tokenizer.mask_token_id
                return [
                    self._words(rows[there], place)
                    for place, (rows, there) in enumerate(zip(logits, wanted, strict=True))
                ]

    def _labels(self, row: Any) -> Any:
        if self._settings.return_raw_logits:
            return dict(enumerate(row.tolist()))
        if self._settings.return_probabilities:
            return dict(enumerate(torch.softmax(row, dim=-1).tolist()))
        return int(row.argmax())

    def _words(self, rows: Any, place: int) -> str:
        if not len(rows):
            raise InvalidError(f"text {place} has no {self._loaded.tokenizer.mask_token} to fill")
        return str(self._loaded.tokenizer.decode(rows.argmax(dim=-1)))

    def _pooled(self, tokens: Any) -> list[list[float]]:
        """Unit vectors: the mean over the text's tokens, or the first one's."""
        with torch.inference_mode():
            hidden = self._loaded.network(**tokens).last_hidden_state.float()
            if self._loaded.pooling == "cls":
                vectors = hidden[:, 0]
            else:
                mask = tokens["attention_mask"].unsqueeze(-1).float()
                vectors = (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1e-9)
            made: list[list[float]] = torch.nn.functional.normalize(vectors, dim=-1).tolist()
            return made

    def vectors(self, prompts: Sequence[Sequence[int]]) -> list[list[float]]:
        """One unit vector a prompt of token ids."""
        made: list[list[float]] = []
        tokenizer = self._loaded.tokenizer
        for start in range(0, len(prompts), BATCH):
            batch = [{"input_ids": list(prompt)} for prompt in prompts[start : start + BATCH]]
            for place, prompt in enumerate(prompts[start : start + BATCH]):
                if len(prompt) > self._loaded.context_tokens:
                    raise RefusedError(
                        f"input[{start + place}] has {len(prompt)} tokens: the model reads "
                        f"{self._loaded.context_tokens} at once",
                        "input",
                        "context_length_exceeded",
                    )
            padded = tokenizer.pad(batch, return_tensors="pt")
            made += self._pooled(padded.to(self._loaded.device))
        return made

    def scores(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[float], int]:
        """How well the second text of each pair fits the first: a cross-encoder's number, or the vectors' cosine."""
        if self._loaded.task is TaskName.EMBEDDING:
            texts = sorted({text for pair in pairs for text in pair})
            vectors = dict(zip(texts, (torch.tensor(v) for v in self.answers(texts)), strict=True))
            count = sum(len(self._loaded.tokenizer(text).input_ids) for pair in pairs for text in pair)
            return [float(vectors[left] @ vectors[right]) for left, right in pairs], count
        scores: list[float] = []
        count = 0
        for start in range(0, len(pairs), BATCH):
            batch = pairs[start : start + BATCH]
            tokens = self._tokens([pair[0] for pair in batch], start, [pair[1] for pair in batch])
            count += int(tokens["attention_mask"].sum())
            with torch.inference_mode():
                logits = self._loaded.network(**tokens).logits.float()
            scores += torch.sigmoid(logits[:, 0]).tolist()
        return scores, count


class EncodingEngine:
    """The ``TextEngine`` of an encoder: vectors and scores."""

    def __init__(self, loaded: Loaded, encoder: Encoder, pool: Pool) -> None:
        can = {Task.SCORE, Task.RERANK}
        if loaded.task is TaskName.EMBEDDING:
            can.add(Task.EMBEDDINGS)
        elif loaded.task is not TaskName.SEQUENCE or loaded.network.config.num_labels != 1:
            can = set()
        self.tasks = frozenset(can)
        self.context_tokens = loaded.context_tokens
        self._loaded = loaded
        self._encoder = encoder
        self._pool = pool

    async def prompts(self, call: Call) -> list[list[int]]:
        return await self._pool.run(partial(tokenized, self._loaded, call, "input"))

    async def embed(self, prompts: Sequence[Sequence[int]], dimensions: int | None) -> list[list[float]]:
        """One vector a prompt; ``dimensions`` only as many as there are (the model was not trained to be cut)."""
        size = self._loaded.network.config.hidden_size
        if dimensions is not None and dimensions != size:
            raise RefusedError(f"dimensions can only be {size} with this model", "dimensions")
        return await self._pool.run(partial(self._encoder.vectors, prompts))

    async def score(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[float], int]:
        return await self._pool.run(partial(self._encoder.scores, pairs))

    def generate(self, prompt: Sequence[int], sampling: Sampling) -> AsyncGenerator[Delta, None]:
        raise FailureError(FailureKind.UNSUPPORTED, "this model does not generate text")
