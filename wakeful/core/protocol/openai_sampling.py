"""How one answer is to be generated: a call's members as the words of an engine that samples itself.

``openai_local`` makes a ``Sampling`` for each answer of a call. Defaults are OpenAI's (temperature 1, completions of 16
tokens, chats until the context is full). With ``n`` answers and a seed, answer *i* uses seed + *i*, so that they differ
and are still the same next time.

Invariant: prompt and answer together fit the model's context, or the request is refused and says by how much.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wakeful.core.protocol.openai import Call, Task
from wakeful.core.protocol.openai_errors import RefusedError

COMPLETION_TOKENS = 16
MEMBERS = frozenset(
    {
        "max_tokens", "max_completion_tokens", "min_tokens", "temperature", "top_p", "top_k", "min_p", "n", "seed",
        "stop", "include_stop_str_in_output", "stop_token_ids", "ignore_eos", "skip_special_tokens",
        "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs", "top_logprobs",
        "add_special_tokens", "truncate_prompt_tokens", "cache_salt",
    }
)  # fmt: skip
"""What ``sampling`` and ``truncated`` understand; ``cache_salt`` is understood by having no cache."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """One answer's parameters; penalties of 0 and a repetition penalty of 1 do nothing."""

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 1.0
    """0: always the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0: no limit."""
    min_p: float = 0.0
    seed: int | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: dict[int, float] = field(default_factory=dict)
    stop_token_ids: tuple[int, ...] = ()
    ignore_eos: bool = False
    skip_special_tokens: bool = True
    top_logprobs: int | None = None
    """How many of the likeliest tokens to tell; None: no log probabilities at all."""


def sampling(call: Call, index: int, prompt_tokens: int, context_tokens: int) -> Sampling:
    """The parameters of answer ``index`` to a prompt of that length. Raises ``RefusedError`` where it does not fit."""
    get = call.get
    wanted = get("max_completion_tokens", get("max_tokens"))
    room = context_tokens - prompt_tokens
    if wanted is None:
        wanted = min(COMPLETION_TOKENS, room) if call.task is Task.COMPLETIONS else room
    if room < 1 or wanted > room:
        asked = f"{wanted} for the answer" if wanted > 0 else "at least 1 for the answer"
        raise RefusedError(
            f"This model's maximum context length is {context_tokens} tokens. However, you requested {prompt_tokens} "
            f"in the {'messages' if call.task is Task.CHAT else 'prompt'} and {asked}. Please reduce either.",
            "messages" if call.task is Task.CHAT else "prompt",
            "context_length_exceeded",
        )
    seed = get("seed")
    return Sampling(
        max_tokens=wanted,
        min_tokens=min(get("min_tokens", 0), wanted),
        temperature=get("temperature", 1.0),
        top_p=get("top_p", 1.0),
        top_k=max(0, get("top_k", 0)),
        min_p=get("min_p", 0.0),
        seed=None if seed is None else (seed + index) % 2**63,
        presence_penalty=get("presence_penalty", 0.0),
        frequency_penalty=get("frequency_penalty", 0.0),
        repetition_penalty=get("repetition_penalty", 1.0),
        logit_bias={int(token): bias for token, bias in get("logit_bias", {}).items()},
        stop_token_ids=tuple(get("stop_token_ids", ())),
        ignore_eos=get("ignore_eos", False),
        skip_special_tokens=get("skip_special_tokens", True),
        top_logprobs=_top_logprobs(call),
    )


def _top_logprobs(call: Call) -> int | None:
    if call.task is Task.COMPLETIONS:
        count: int | None = call.get("logprobs")
        return count
    return int(call.get("top_logprobs", 0)) if call.get("logprobs") else None


def truncated(call: Call, prompt: list[int]) -> list[int]:
    """The prompt without its beginning, where the caller allowed that (-1: nothing is cut)."""
    limit = call.get("truncate_prompt_tokens", -1)
    return prompt[-limit:] if 0 < limit < len(prompt) else prompt


def check_understood(call: Call, understood: frozenset[str], harmless: dict[str, object]) -> None:
    """Refuse members that an engine would have to ignore. ``harmless``: values that mean what it does anyway."""
    for name, value in call.members.items():
        if name in understood or (name in harmless and harmless[name] == value):
            continue
        raise RefusedError(f"{name} is not supported by this model's engine", name, "unsupported_parameter")
