"""The members of each OpenAI request: one table a task, member to check. The protocol's reference, as data.

``openai.parse`` goes through a body with the table of its task. A member that is in no table is refused with the
nearest known name, as OpenAI's own API does ("Unrecognized request argument supplied"); null counts as absent.
``DROPPED`` are checked and then left out, because they mean something to OpenAI's service only.

Invariant: every member that an engine ever sees has a row here, and every row has bounds.
"""

from __future__ import annotations

from typing import Any

from wakeful.core.protocol import openai_fields as fields
from wakeful.core.protocol import openai_messages as chat
from wakeful.core.protocol import openai_schema as schemas
from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.openai_fields import Check, boolean, number, only, refused, text, whole

MAX_CHOICES = 128
MAX_TOKENS = 1_048_576
MAX_PROMPTS = 2048
MAX_PROMPT_CHARACTERS = 16 * 1024 * 1024
MAX_LOGPROBS = 20
INT64 = 2**63

ABOUT_TEMPLATES = "the template is part of the model; the server sets another with its own flags"
ABOUT_EMBEDS = "tensors from callers are not loaded"

MODEL: dict[str, Check] = {"model": text(1024), "user": text(1024), "priority": whole(-1024, 1024)}

SAMPLING: dict[str, Check] = {
    "temperature": number(0, 2),
    "top_p": number(1e-6, 1),
    "top_k": whole(-1, 1_000_000),
    "min_p": number(0, 1),
    "n": whole(1, MAX_CHOICES),
    "seed": whole(-INT64, INT64 - 1),
    "max_tokens": whole(1, MAX_TOKENS),
    "min_tokens": whole(0, MAX_TOKENS),
    "stop": fields.stop,
    "stop_token_ids": fields.token_ids,
    "include_stop_str_in_output": boolean,
    "ignore_eos": boolean,
    "skip_special_tokens": boolean,
    "spaces_between_special_tokens": boolean,
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "repetition_penalty": number(0.01, 10),
    "logit_bias": fields.logit_bias,
    "allowed_token_ids": fields.token_ids,
    "bad_words": fields.list_of(text(256), 64),
    "stream": boolean,
    "stream_options": fields.stream_options,
    "truncate_prompt_tokens": whole(-1, MAX_TOKENS),
    "add_special_tokens": boolean,
    "return_token_ids": boolean,
    "cache_salt": text(256),
    "response_format": schemas.response_format,
    "structured_outputs": schemas.structured_outputs,
    "use_beam_search": only(False, "beams are not searched"),
    "prompt_embeds": refused(ABOUT_EMBEDS),
    "guided_json": refused("use response_format or structured_outputs"),
    "guided_regex": refused("use structured_outputs"),
    "guided_choice": refused("use structured_outputs"),
    "guided_grammar": refused("use structured_outputs"),
}


def prompt(value: Any, path: str) -> str | list[Any]:
    """A text, token ids, or a list of one or the other, none of it empty."""
    if isinstance(value, str):
        return text(MAX_PROMPT_CHARACTERS)(value, path)  # type: ignore[no-any-return]
    if not isinstance(value, list) or not value:
        raise fields.refuse(path, "a string, token ids, or a list of one of them (not empty)", value)
    match value[0]:
        case str():
            return fields.list_of(text(MAX_PROMPT_CHARACTERS), MAX_PROMPTS)(value, path)  # type: ignore[no-any-return]
        case list():
            return fields.list_of(_ids, MAX_PROMPTS)(value, path)  # type: ignore[no-any-return]
        case _:
            return _ids(value, path)


def _ids(value: Any, path: str) -> list[int]:
    checked: list[int] = fields.list_of(fields.token_id, MAX_TOKENS)(value, path)
    if not checked:
        raise RefusedError(f"{path} has no token", path)
    return checked


def texts(value: Any, path: str) -> list[str]:
    """A text or a list of texts (or of ``{"text": ...}``), as a list; not empty."""
    given = value if isinstance(value, list) else [value]
    if not given:
        raise RefusedError(f"{path} is empty", path)
    return fields.list_of(_text, MAX_PROMPTS)(given, path)  # type: ignore[no-any-return]


def _text(value: Any, path: str) -> str:
    if isinstance(value, dict):
        if set(value) != {"text"}:
            raise RefusedError(f"{path} may be a string or an object with text and nothing else", path)
        value = value["text"]
    return text(MAX_PROMPT_CHARACTERS)(value, path)  # type: ignore[no-any-return]


def query(value: Any, path: str) -> str:
    """One text."""
    return _text(value, path)


COMPLETIONS: dict[str, Check] = {
    **MODEL,
    **SAMPLING,
    "prompt": prompt,
    "best_of": whole(1, MAX_CHOICES),
    "echo": boolean,
    "logprobs": whole(0, MAX_LOGPROBS),
    "suffix": refused("text cannot be inserted before a suffix here"),
}

CHAT: dict[str, Check] = {
    **MODEL,
    **SAMPLING,
    "messages": chat.messages,
    "max_completion_tokens": whole(1, MAX_TOKENS),
    "logprobs": boolean,
    "top_logprobs": whole(0, MAX_LOGPROBS),
    "tools": chat.tools,
    "tool_choice": chat.tool_choice,
    "parallel_tool_calls": boolean,
    "reasoning_effort": fields.one_of("none", "minimal", "low", "medium", "high", "xhigh", "max"),
    "include_reasoning": boolean,
    "add_generation_prompt": boolean,
    "continue_final_message": boolean,
    "chat_template": refused(ABOUT_TEMPLATES),
    "chat_template_kwargs": chat.template_arguments,
    "functions": refused("use tools"),
    "function_call": refused("use tool_choice"),
    "modalities": only(["text"], "answers are text"),
    "audio": refused("answers are text"),
    "web_search_options": refused("nothing is searched"),
    "mm_processor_kwargs": refused("this server takes text only"),
    "media_io_kwargs": refused("this server takes text only"),
    "documents": refused("put them into the messages"),
    "store": boolean,
    "metadata": fields.metadata,
    "service_tier": text(64),
    "safety_identifier": text(512),
    "prompt_cache_key": text(512),
    "prompt_cache_retention": text(64),
    "verbosity": fields.one_of("low", "medium", "high"),
}

EMBEDDINGS: dict[str, Check] = {
    **MODEL,
    "input": prompt,
    "encoding_format": fields.one_of("float", "base64"),
    "dimensions": whole(1, 65_536),
    "truncate_prompt_tokens": whole(-1, MAX_TOKENS),
    "add_special_tokens": boolean,
    "chat_template": refused(ABOUT_TEMPLATES),
    "messages": refused("send input"),
}

SCORE: dict[str, Check] = {
    **MODEL,
    **dict.fromkeys(("text_1", "text_2", "data_1", "data_2", "queries", "documents", "items"), texts),
    "truncate_prompt_tokens": whole(-1, MAX_TOKENS),
    "use_activation": boolean,
}

RERANK: dict[str, Check] = {
    **MODEL,
    "query": query,
    "documents": texts,
    "top_n": whole(0, MAX_PROMPTS),
    "return_documents": boolean,
    "max_tokens_per_doc": whole(0, MAX_TOKENS),
    "truncate_prompt_tokens": whole(-1, MAX_TOKENS),
    "use_activation": boolean,
}

DROPPED = frozenset(
    {
        "user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key",
        "prompt_cache_retention", "verbosity", "modalities", "use_beam_search", "priority",
    }
)  # fmt: skip
"""Checked, then left out. ``priority`` too: callers would overtake each other with it."""
