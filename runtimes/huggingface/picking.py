"""Choose the next token from a model's logits: penalties, bias, temperature, top-k, top-p, min-p, seed.

Called by ``generating`` once a token. The order is vLLM's: bias, repetition, frequency and presence, then temperature
and the cuts, then one draw. Log probabilities are told from the logits as the model gave them. With a seed the draw
uses a generator of its own, so that the answer is the same whatever else runs at the time.

Invariant: temperature 0 never draws; a token that is not allowed (minimum length, -100 bias) is not chosen while
another one is possible.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch

from wakeful.core.protocol.openai_sampling import Sampling

SMALLEST_TEMPERATURE = 1e-5


@dataclass(frozen=True, slots=True)
class Picked:
    """The token, and where asked its log probability and the likeliest: (token, log probability)."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Picker:
    """The choices of one answer; used by one thread."""

    def __init__(self, sampling: Sampling, prompt: list[int], ends: frozenset[int]) -> None:
        self._sampling = sampling
        self._ends = ends
        self._prompt = set(prompt)
        self._counts: Counter[int] = Counter()
        self._generator: Any = None
        if sampling.seed is not None:
            self._generator = torch.Generator().manual_seed(sampling.seed & (2**63 - 1))

    def pick(self, logits: Any) -> Picked:
        """The next token; ``logits`` is one row of the vocabulary."""
        raw = logits.float().cpu()
        adjusted = self._adjusted(raw.clone())
        token = int(adjusted.argmax()) if self._is_greedy else self._drawn(adjusted)
        self._counts[token] += 1
        count = self._sampling.top_logprobs
        if count is None:
            return Picked(token)
        chances = torch.log_softmax(raw, dim=-1)
        best = torch.topk(chances, count) if count else None
        top = () if best is None else tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return Picked(token, float(chances[token]), top)

    @property
    def _is_greedy(self) -> bool:
        return self._sampling.temperature < SMALLEST_TEMPERATURE

    def _adjusted(self, logits: Any) -> Any:
        sampling = self._sampling
        for token, bias in sampling.logit_bias.items():
            if token < len(logits):
                logits[token] += bias
        if sampling.repetition_penalty != 1.0:
            seen = torch.tensor(sorted(self._prompt | self._counts.keys()))
            some = logits[seen]
            logits[seen] = torch.where(
                some > 0, some / sampling.repetition_penalty, some * sampling.repetition_penalty
            )
        for token, count in self._counts.items():
            logits[token] -= sampling.frequency_penalty * count + sampling.presence_penalty
        if self._counts.total() < sampling.min_tokens or sampling.ignore_eos:
            for token in self._ends:
                logits[token] = -torch.inf
        return logits

    def _drawn(self, logits: Any) -> int:
        sampling = self._sampling
        logits = logits / sampling.temperature
        if sampling.top_k and sampling.top_k < len(logits):
            least = torch.topk(logits, sampling.top_k).values[-1]
            logits[logits < least] = -torch.inf
        chances = torch.softmax(logits, dim=-1)
        if sampling.min_p:
            chances[chances < sampling.min_p * chances.max()] = 0
        if sampling.top_p < 1:
            ordered = torch.sort(chances, descending=True)
            before = torch.cumsum(ordered.values, dim=-1) - ordered.values
            chances[ordered.indices[before > sampling.top_p * chances.sum()]] = 0
        return int(torch.multinomial(chances, 1, generator=self._generator))
