"""Messages and tools of a chat request: their shape, their bounds, and what is refused on purpose.

Called through the tables of ``openai_params``. Content is text, or a list of parts. Media parts are refused unless the
server takes them as ``data:`` URLs: a URL would make the engine fetch it for the caller, from inside the cluster
(CVE-2026-24779 and its kin), so none is ever passed on. Source: OpenAI's API reference, chat completions.

Invariant: what passes has known roles, names that fit ``NAME``, no URL that anybody would fetch.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.openai_fields import boolean, list_of, members, one_of, refuse, text
from wakeful.core.protocol.openai_schema import schema
from wakeful.core.protocol.problem import shown

MAX_MESSAGES = 4096
MAX_PARTS = 256
MAX_TOOLS = 128
MAX_CALLS = 128
MAX_TEXT_CHARACTERS = 16 * 1024 * 1024
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
MEMBERS = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning", "reasoning_content"}
)
WITHOUT_EFFECT = frozenset({"annotations", "audio", "function_call", "id"})
"""What clients send back of an answer they got: dropped, where it is null or empty."""
MEDIA = frozenset(
    {"image_url", "input_image", "input_audio", "audio_url", "video_url", "file", "image_embeds"}
)


def messages(value: Any, path: str) -> list[dict[str, Any]]:
    """The conversation: at least one message. Raises ``RefusedError``."""
    checked: list[dict[str, Any]] = list_of(_message, MAX_MESSAGES)(value, path)
    if not checked:
        raise RefusedError(f"{path} is empty: send at least one message", path)
    return checked


def _message(value: Any, path: str) -> dict[str, Any]:
    given = {key: entry for key, entry in members(value, path, 32).items() if entry is not None}
    role = one_of(*ROLES)(given.get("role"), f"{path}.role")
    for key, entry in list(given.items()):
        if key in WITHOUT_EFFECT:
            if entry:
                raise RefusedError(f"{path}.{key} is not supported here: leave it out", f"{path}.{key}")
            del given[key]
        elif key not in MEMBERS:
            raise RefusedError(f"{path}.{key[:64]} is not known", f"{path}.{key[:64]}")
    if "tool_calls" in given:
        if role != "assistant":
            raise RefusedError(
                f"{path}.tool_calls belongs to messages of the assistant", f"{path}.tool_calls"
            )
        given["tool_calls"] = list_of(_tool_call, MAX_CALLS)(given["tool_calls"], f"{path}.tool_calls")
    if "content" in given:
        given["content"] = _content(given["content"], f"{path}.content")
    elif role != "assistant":
        raise RefusedError(f"{path}.content is missing", f"{path}.content")
    if role == "tool" and "tool_call_id" not in given:
        raise RefusedError(f"{path}.tool_call_id is missing", f"{path}.tool_call_id")
    for key in ("name", "tool_call_id", "refusal", "reasoning", "reasoning_content"):
        if key in given:
            text(MAX_TEXT_CHARACTERS)(given[key], f"{path}.{key}")
    return given


def _content(value: Any, path: str) -> str | list[dict[str, Any]]:
    if isinstance(value, str):
        return text(MAX_TEXT_CHARACTERS)(value, path)  # type: ignore[no-any-return]
    if not isinstance(value, list):
        raise refuse(path, "a string or an array of parts", value)
    return list_of(_part, MAX_PARTS)(value, path)  # type: ignore[no-any-return]


def _part(value: Any, path: str) -> dict[str, Any]:
    part = members(value, path, 8)
    match part.get("type"):
        case "text" | "input_text" | "refusal" as kind:
            member = "refusal" if kind == "refusal" else "text"
            checked = text(MAX_TEXT_CHARACTERS)(part.get(member), f"{path}.{member}")
            return {"type": "text", "text": checked}
        case str() as kind if kind in MEDIA:
            raise RefusedError(
                f"{path} is of type {kind!r}: this server takes text only, and fetches nothing for its callers",
                path,
                "unsupported_content",
            )
        case other:
            raise RefusedError(f"{path}.type is {shown(other)}: 'text' is what this server takes", path)


def _tool_call(value: Any, path: str) -> dict[str, Any]:
    call = members(value, path, 8)
    function = members(call.get("function"), f"{path}.function", 8)
    return {
        "id": text(256)(call.get("id"), f"{path}.id"),
        "type": "function",
        "function": {
            "name": _name(function.get("name"), f"{path}.function.name"),
            "arguments": text(MAX_TEXT_CHARACTERS)(
                function.get("arguments", ""), f"{path}.function.arguments"
            ),
        },
    }


def _name(value: Any, path: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise refuse(path, "1 to 64 of letters, digits, _ and -", value)
    return value


def tools(value: Any, path: str) -> list[dict[str, Any]]:
    """The functions that the model may call; their parameters are schemas within ``openai_schema``'s bounds."""
    checked: list[dict[str, Any]] = list_of(_tool, MAX_TOOLS)(value, path)
    names = [tool["function"]["name"] for tool in checked]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise RefusedError(
                f"{path}[{place}].function.name is {name!r} a second time", f"{path}[{place}].function.name"
            )
    return checked


def _tool(value: Any, path: str) -> dict[str, Any]:
    tool = members(value, path, 8)
    if tool.get("type", "function") != "function":
        raise RefusedError(
            f"{path}.type is {shown(tool['type'])}: only functions can be called", f"{path}.type"
        )
    given = members(tool.get("function"), f"{path}.function", 8)
    function: dict[str, Any] = {"name": _name(given.get("name"), f"{path}.function.name")}
    checks: dict[str, Callable[[Any, str], Any]] = {
        "description": text(64 * 1024),
        "parameters": _parameters,
        "strict": boolean,
    }
    for key, entry in given.items():
        if key != "name" and key not in checks:
            raise RefusedError(f"{path}.function.{key[:64]} is not known", f"{path}.function.{key[:64]}")
        if key in checks and entry is not None:
            function[key] = checks[key](entry, f"{path}.function.{key}")
    return {"type": "function", "function": function}


def _parameters(value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise refuse(path, "a JSON schema (an object)", value)
    return schema(value, path)


def tool_choice(value: Any, path: str) -> str | dict[str, Any]:
    """``none``, ``auto``, ``required``, or one function by name."""
    if isinstance(value, str):
        return one_of("none", "auto", "required")(value, path)  # type: ignore[no-any-return]
    given = members(value, path, 4)
    if given.get("type", "function") != "function":
        raise refuse(f"{path}.type", "'function'", given["type"])
    function = members(given.get("function"), f"{path}.function", 4)
    return {"type": "function", "function": {"name": _name(function.get("name"), f"{path}.function.name")}}


def template_arguments(value: Any, path: str) -> dict[str, Any]:
    """``chat_template_kwargs``: switches of the model's own template, and none of the renderer's own arguments.

    ``tokenize`` among them has blocked an engine's loop (CVE-2025-62426).
    """
    entries = members(value, path, 16)
    for key, entry in entries.items():
        if key in RENDERERS_OWN or not NAME.fullmatch(key):
            raise RefusedError(f"{path}.{key[:64]} is not an argument of a template", f"{path}.{key[:64]}")
        if not isinstance(entry, bool | int | float | str):
            raise refuse(f"{path}.{key}", "true, false, a number or a string", entry)
        if isinstance(entry, str):
            text(1024)(entry, f"{path}.{key}")
    return entries


RENDERERS_OWN = frozenset(
    {
        "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents",
        "max_length", "messages", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors",
        "tokenize", "tokenizer_kwargs", "tools", "truncation",
    }
)  # fmt: skip
"""What a tokenizer's ``apply_chat_template`` takes itself."""
