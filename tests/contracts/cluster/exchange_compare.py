"""What two answers to the same request have different: names, times and versions made equal, then path by path.

Used by the contract cases and by ``hack/api-diff``. Invariant: ``normalise`` is idempotent, so a recorded answer is
compared as it is.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from exchange_steps import parts_of

Obj = dict[str, Any]
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TIME = re.compile(r"20[2-9]\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_VERSION = re.compile(r"""(resourceVersion\\*["']?:\s*\\*["']?)\d+""")
"""A version within a text: an object quoted in a message, or YAML."""
_AGE = re.compile(r"(\d+d)?(\d+h)?(\d+m)?\d+s|(\d+y)?\d+d")
_OWN = {"resourceVersion": "<version>", "continue": "<token>", "uid": "<uid>"}
MISSING = "<missing>"


def normalise(value: Any, words: dict[str, str], scrub: tuple[str, ...] = ()) -> Any:
    """A copy of an answer without what differs from run to run."""
    if isinstance(value, dict):
        found = {_text(key, words, scrub): normalise(one, words, scrub) for key, one in value.items()}
        for key, shown in _OWN.items():
            if isinstance(found.get(key), str) and found[key]:
                found[key] = shown
        return found
    if isinstance(value, list):
        return [normalise(one, words, scrub) for one in value]
    return _text(value, words, scrub) if isinstance(value, str) else value


def _text(text: str, words: dict[str, str], scrub: tuple[str, ...]) -> str:
    if text[:2] in ('{"', "[{") and text.rstrip().endswith(("}", "]")):
        with contextlib.suppress(
            ValueError
        ):  # an object in an annotation: the order of its fields says nothing
            text = json.dumps(normalise(json.loads(text), words, scrub), sort_keys=True)
    for name, value in words.items():
        if value:
            text = text.replace(value, f"<{name}>")
    text = _TIME.sub("<time>", _UID.sub("<uid>", text))
    text = _VERSION.sub(r"\1<version>", text)
    for pattern in scrub:
        text = re.sub(pattern, "<scrubbed>", text)
    return "<age>" if _AGE.fullmatch(text) else text


def flatten(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves by path. An empty object or list is a leaf."""
    if isinstance(value, dict) and value:
        for key, one in value.items():
            name = key if re.fullmatch(r"[\w-]+", key) else f'["{key}"]'
            yield from flatten(one, f"{path}.{name}" if path and name == key else f"{path}{name}")
    elif isinstance(value, list) and value:
        for index, one in enumerate(value):
            yield from flatten(one, f"{path}[{index}]")
    else:
        yield path, value


def pick(value: Any, path: str) -> Any:
    """The value at a path, or ``MISSING``."""
    for part in parts_of(path):
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return MISSING
    return value


def _manager(entry: Obj) -> tuple[str, ...]:
    return tuple(str(entry.get(key, "")) for key in ("manager", "operation", "subresource", "apiVersion"))


def _ordered(answer: Obj) -> Obj:
    """Resources by name; the complaints of a 422 in one order and once each, its message without their list."""
    out = answer.get("out")
    if isinstance(out, list) and any(str(line).strip() == "managedFields:" for line in out):
        return {**answer, "out": sorted(map(str, out))}
    body = answer.get("body")
    metadata = body.get("metadata") if isinstance(body, dict) else None
    if isinstance(metadata, dict) and isinstance(metadata.get("managedFields"), list):
        # The server sorts by second first: which of two managers comes first depends on when the test ran.
        managers = sorted(metadata["managedFields"], key=_manager)
        body = {**answer["body"], "metadata": {**metadata, "managedFields": managers}}
        answer = {**answer, "body": body}
    if isinstance(body, dict) and isinstance(body.get("resources"), list):
        named = {item["name"]: item for item in body["resources"]}
        return {**answer, "body": {**body, "resources": named}}
    details = body.get("details") if isinstance(body, dict) else None
    causes = details.get("causes") if isinstance(details, dict) else None
    if not causes:
        return answer
    once = {json.dumps(cause, sort_keys=True): cause for cause in causes}
    ordered = [once[key] for key in sorted(once)]
    message = body["message"]
    if len(ordered) > 1 and "is invalid: " in message:
        message = message.partition("is invalid: ")[0] + "is invalid"
    return {**answer, "body": {**body, "message": message, "details": {**details, "causes": ordered}}}


def differences(real: Obj, ours: Obj) -> dict[str, tuple[Any, Any]]:
    """(real, ours) by path."""
    left, right = dict(flatten(_ordered(real))), dict(flatten(_ordered(ours)))
    return {
        path: (left.get(path, MISSING), right.get(path, MISSING))
        for path in sorted(left.keys() | right.keys())
        if left.get(path, MISSING) != right.get(path, MISSING)
        or type(left.get(path)) is not type(right.get(path))
    }


def split(
    found: dict[str, tuple[Any, Any]], places: set[str], everywhere: Iterable[re.Pattern[str]] = ()
) -> tuple[dict[str, tuple[Any, Any]], set[str]]:
    """The differences that are not accepted, and the accepted places in which nothing differs any more.

    An accepted place covers what is below it; ``""`` covers the whole answer.
    """
    stale, left = set(places), {}
    for path, pair in found.items():
        covering = {
            one for one in places if not one or path == one or path.startswith((f"{one}.", f"{one}["))
        }
        stale -= covering
        if not covering and not any(pattern.fullmatch(path) for pattern in everywhere):
            left[path] = pair
    return left, stale
