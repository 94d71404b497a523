"""OpenAI's protocol: a request's body to a checked ``Call``, and which members say so together.

The edge parses here; engines get the ``Call``. Members are checked by ``openai_params``; the rules between members are
here (``n`` with ``best_of``, ``top_logprobs`` without ``logprobs``, ``stream_options`` without ``stream``). Sources:
OpenAI's API reference; for score and rerank, which it lacks, what vLLM and Jina answer. Left out: answers
(``openai_answers``), failures (``openai_errors``).

Invariant: a ``Call`` has only members with a row in its task's table, none null, and its cost is bounded by them.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from wakeful.core.protocol import openai_params as params
from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.openai_fields import Check
from wakeful.core.protocol.problem import parse_json, type_name

MAX_ANSWERS = 1024
MAX_MEMBERS = 128


class Task(StrEnum):
    """What a model can be asked for: the last part of the route."""

    COMPLETIONS = "completions"
    CHAT = "chat/completions"
    EMBEDDINGS = "embeddings"
    SCORE = "score"
    RERANK = "rerank"


TABLES: dict[Task, dict[str, Check]] = {
    Task.COMPLETIONS: params.COMPLETIONS,
    Task.CHAT: params.CHAT,
    Task.EMBEDDINGS: params.EMBEDDINGS,
    Task.SCORE: params.SCORE,
    Task.RERANK: params.RERANK,
}
REQUIRED: dict[Task, tuple[str, ...]] = {
    Task.COMPLETIONS: ("prompt",),
    Task.CHAT: ("messages",),
    Task.EMBEDDINGS: ("input",),
    Task.SCORE: ("text_1", "text_2"),
    Task.RERANK: ("query", "documents"),
}
SCORE_PAIRS = (("text_1", "text_2"), ("data_1", "data_2"), ("queries", "documents"), ("queries", "items"))


@dataclass(frozen=True, slots=True)
class Call:
    """One checked request. ``members`` is what the engine gets: no ``model``, no ``stream``, no ``stream_options``."""

    task: Task
    model: str
    """Empty where the request named none."""
    members: dict[str, Any]
    is_stream: bool = False
    wants_usage: bool = False
    """A stream that ends with an event of its usage."""
    wants_running_usage: bool = False
    """Usage so far in every event of a stream."""

    def get(self, name: str, default: Any = None) -> Any:
        """The member called ``name``."""
        return self.members.get(name, default)


def parse(task: Task, body: bytes) -> Call:
    """The call that ``body`` asks for. Raises ``InvalidError``, mostly ``RefusedError`` with its ``param``."""
    value = parse_json(body, "the body")
    if not isinstance(value, dict):
        raise RefusedError(f"the body must be a JSON object, got {type_name(value)}")
    if len(value) > MAX_MEMBERS:
        raise RefusedError(f"the body has {len(value)} members: at most {MAX_MEMBERS} are allowed")
    table = TABLES[task]
    members: dict[str, Any] = {}
    for name, entry in value.items():
        check = table.get(name)
        if check is None:
            raise _unknown(task, name)
        if entry is not None:
            members[name] = check(entry, name)
    if task is Task.SCORE:
        _name_pair(members)
    for name in REQUIRED[task]:
        if name not in members:
            raise RefusedError(f"{name} is missing: {task} needs it", name, "missing_required_parameter")
    _check_together(task, members)
    model = members.pop("model", "")
    is_stream = members.pop("stream", False)
    options = members.pop("stream_options", {})
    for name in params.DROPPED & members.keys():
        del members[name]
    return Call(
        task,
        model,
        members,
        is_stream,
        wants_usage=options.get("include_usage", False) or options.get("continuous_usage_stats", False),
        wants_running_usage=options.get("continuous_usage_stats", False),
    )


def _unknown(task: Task, name: str) -> RefusedError:
    near = difflib.get_close_matches(name[:64], TABLES[task], n=1)
    hint = f" (did you mean {near[0]}?)" if near else ""
    return RefusedError(
        f"Unrecognized request argument supplied: {name[:64]}{hint}", name[:64], "unknown_parameter"
    )


def _name_pair(members: dict[str, Any]) -> None:
    """The two lists of a score under one pair of names, whichever the caller used."""
    for first, second in SCORE_PAIRS:
        if first in members and second in members:
            left, right = members.pop(first), members.pop(second)
            if len(left) not in (1, len(right)):
                raise RefusedError(
                    f"{first} has {len(left)} texts and {second} {len(right)}: send one, or as many", first
                )
            members["text_1"], members["text_2"] = left, right
            return


def _check_together(task: Task, members: dict[str, Any]) -> None:
    if "stream_options" in members and not members.get("stream"):
        raise RefusedError("stream_options is only allowed when stream is true", "stream_options")
    if members.get("min_tokens", 0) > _max_tokens(members):
        raise RefusedError("min_tokens is larger than max_tokens", "min_tokens")
    if "response_format" in members and "structured_outputs" in members:
        raise RefusedError(
            "response_format and structured_outputs say the same: send one", "structured_outputs"
        )
    if task is Task.CHAT:
        _check_chat(members)
    elif task is Task.COMPLETIONS:
        _check_completions(members)


def _max_tokens(members: dict[str, Any]) -> int:
    value: int = members.get("max_completion_tokens", members.get("max_tokens", params.MAX_TOKENS))
    return value


def _check_chat(members: dict[str, Any]) -> None:
    if "top_logprobs" in members and not members.get("logprobs"):
        raise RefusedError("top_logprobs needs logprobs: true", "top_logprobs")
    if members.get("continue_final_message") and members.get("add_generation_prompt"):
        raise RefusedError(
            "continue_final_message and add_generation_prompt exclude each other", "continue_final_message"
        )
    choice = members.get("tool_choice")
    tools = members.get("tools") or []
    if not tools:
        members.pop("tools", None)
        if choice not in (None, "none"):
            raise RefusedError("tool_choice needs tools", "tool_choice")
        members.pop("tool_choice", None)
        members.pop("parallel_tool_calls", None)
    if isinstance(choice, dict):
        wanted = choice["function"]["name"]
        if wanted not in [tool["function"]["name"] for tool in tools]:
            raise RefusedError(f"tool_choice names {wanted!r}, which is not among tools", "tool_choice")


def _check_completions(members: dict[str, Any]) -> None:
    n = members.get("n", 1)
    best_of = members.pop("best_of", n)
    if best_of != n:
        raise RefusedError("best_of can only be as many as n: answers are not ranked here", "best_of")
    prompt = members["prompt"]
    count = len(prompt) if isinstance(prompt, list) and not isinstance(prompt[0], int) else 1
    if n * count > MAX_ANSWERS:
        raise RefusedError(
            f"{count} prompts with n={n} ask for {n * count} answers: at most {MAX_ANSWERS} are given", "n"
        )
