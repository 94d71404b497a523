r"""Guards of what an engine compiles into an automaton: JSON schemas, regular expressions, choices, grammars.

Called for ``response_format``, ``structured_outputs`` and the ``parameters`` of tools. Engines unroll repetitions: a
pattern such as ``((a{1,999}){1,999}){1,999}`` of 26 characters asks for a thousand million states, and a wrong ``type``
or ``pattern`` in a tool has crashed them (CVE-2025-48944). Worked number: ``\d{3}-\d{4}`` unrolls to 8 steps; the
bound is 10,000. Left out: whether an engine supports a keyword (it says so itself, with 400).

Invariant: what passes has bounded depth, size and unrolled length, and every ``type`` is one that JSON has.
"""

from __future__ import annotations

import re
import warnings
from re import _constants as opcodes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from wakeful.core.protocol.openai_errors import RefusedError
from wakeful.core.protocol.openai_fields import list_of, members, refuse, text, whole
from wakeful.core.protocol.problem import shown, type_name

MAX_DEPTH = 32
MAX_NODES = 4096
MAX_UNROLLED = 10_000
MAX_PATTERN_CHARACTERS = 1024
MAX_GRAMMAR_CHARACTERS = 16 * 1024
MAX_CHOICES = 1024
MAX_COUNT = 10_000
TYPES = frozenset({"string", "number", "integer", "boolean", "object", "array", "null"})
COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
LITERAL = frozenset({"enum", "const", "default", "examples", "example"})
"""Members whose values are data, not schemas."""


def schema(value: Any, path: str) -> Any:
    """A JSON schema within the bounds (an object, ``true`` or ``false``). Raises ``RefusedError`` with the place."""
    if not isinstance(value, dict | bool):
        raise refuse(path, "a JSON schema (an object)", value)
    budget = [MAX_NODES]
    _walk(value, path, 0, budget, is_schema=True)
    return value


def _walk(value: Any, path: str, depth: int, budget: list[int], is_schema: bool) -> None:
    budget[0] -= 1
    if budget[0] < 0:
        raise RefusedError(f"{path} is part of a schema of more than {MAX_NODES} values", path)
    if depth > MAX_DEPTH:
        raise RefusedError(f"{path[:200]} is nested more than {MAX_DEPTH} levels deep", path[:200])
    match value:
        case dict():
            for key, entry in value.items():
                place = f"{path}.{key[:64]}"
                if is_schema:
                    _keyword(key, entry, place)
                names_schemas = is_schema and key in NAMED
                inner = is_schema and key not in LITERAL
                if names_schemas and isinstance(entry, dict):
                    for name, below in entry.items():
                        _walk(below, f"{place}.{name[:64]}", depth + 1, budget, is_schema=True)
                else:
                    _walk(entry, place, depth + 1, budget, inner)
        case list():
            for index, entry in enumerate(value):
                _walk(entry, f"{path}[{index}]", depth + 1, budget, is_schema)
        case _:
            pass


def _keyword(key: str, value: Any, path: str) -> None:
    if key == "type":
        for name in value if isinstance(value, list) else [value]:
            if not isinstance(name, str) or name not in TYPES:
                raise RefusedError(f"{path} is {shown(name)}: JSON has {', '.join(sorted(TYPES))}", path)
    elif key == "pattern":
        pattern(value, path)
    elif key == "patternProperties" and isinstance(value, dict):
        for name in value:
            pattern(name, path)
    elif key == "$ref" and not (isinstance(value, str) and value.startswith("#")):
        raise RefusedError(f"{path} must point into this schema (#/$defs/NAME): nothing is fetched", path)
    elif key in COUNTS:
        whole(0, MAX_COUNT)(value, path)


def pattern(value: Any, path: str) -> str:
    """A regular expression whose unrolled length is bounded. Raises ``RefusedError``."""
    checked: str = text(MAX_PATTERN_CHARACTERS)(value, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about spellings whose meaning Python may change: not ours to run
            parsed = parser.parse(checked)
        steps = _unrolled(parsed, path)
    except (re.error, OverflowError, RecursionError) as error:
        raise RefusedError(f"{path} is no regular expression: {error}", path) from error
    if steps > MAX_UNROLLED:
        raise RefusedError(
            f"{path} repeats to {steps} steps: at most {MAX_UNROLLED} are allowed (repeat less often)", path
        )
    return checked


def _unrolled(parsed: Any, path: str) -> int:
    """How many steps ``parsed`` has when every counted repetition is written out."""
    total = 0
    for opcode, argument in parsed:
        if opcode in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT, opcodes.POSSESSIVE_REPEAT):
            low, high, inner = argument
            times = max(low, 1) if high is opcodes.MAXREPEAT else high
            total += max(times, 1) * max(_unrolled(inner, path), 1)
        elif opcode is opcodes.SUBPATTERN:
            total += _unrolled(argument[-1], path)
        elif opcode is opcodes.ATOMIC_GROUP:
            total += _unrolled(argument, path)
        elif opcode is opcodes.BRANCH:
            total += sum(_unrolled(branch, path) for branch in argument[1])
        elif opcode in (opcodes.ASSERT, opcodes.ASSERT_NOT, opcodes.GROUPREF, opcodes.GROUPREF_EXISTS):
            raise RefusedError(f"{path} looks around or back, which no engine can guide by", path)
        else:
            total += 1
    return total


def response_format(value: Any, path: str) -> dict[str, Any]:
    """``{"type": "text" | "json_object" | "json_schema", "json_schema": {"name", "schema", "strict"}}``."""
    entries = members(value, path, 8)
    kind = entries.get("type")
    match kind:
        case "text" | "json_object":
            return {"type": kind}
        case "json_schema":
            given = members(entries.get("json_schema"), f"{path}.json_schema", 8)
            name = text(64)(given.get("name", "schema"), f"{path}.json_schema.name")
            if "schema" not in given:
                raise RefusedError(f"{path}.json_schema.schema is missing", f"{path}.json_schema.schema")
            checked = schema(given["schema"], f"{path}.json_schema.schema")
            return {"type": kind, "json_schema": {**given, "name": name, "schema": checked}}
        case _:
            raise refuse(f"{path}.type", "one of text, json_object, json_schema", kind)


def structured_outputs(value: Any, path: str) -> dict[str, Any]:
    """vLLM's own form: exactly one of ``json``, ``regex``, ``choice``, ``grammar``, ``json_object``."""
    entries = {key: entry for key, entry in members(value, path, 8).items() if entry is not None}
    if len(entries) != 1:
        raise RefusedError(f"{path} takes exactly one of json, regex, choice, grammar, json_object", path)
    ((key, entry),) = entries.items()
    place = f"{path}.{key[:64]}"
    match key:
        case "json":
            return {key: schema(entry, place)}
        case "regex":
            return {key: pattern(entry, place)}
        case "choice":
            return {key: list_of(text(1024), MAX_CHOICES)(entry, place)}
        case "grammar":
            return {key: text(MAX_GRAMMAR_CHARACTERS)(entry, place)}
        case "json_object":
            if entry is not True:
                raise refuse(place, "true", entry)
            return {key: True}
        case _:
            raise RefusedError(f"{place} is not known: {type_name(entry)}", place)
