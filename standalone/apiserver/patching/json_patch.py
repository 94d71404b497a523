"""JSON patch (RFC 6902) on JSON pointers (RFC 6901): a list of operations, all or nothing.

Called by the PATCH handler for ``application/json-patch+json``. The ``jsonpatch`` package is not used because its
``test`` takes ``true`` for ``1`` (docs/decisions/0020). Invariant: the document is not changed, also on failure.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

from standalone.apiserver.patching.failure import NESTED_TOO_DEEPLY, PatchError
from standalone.apiserver.patching.merge_patch import equal

MAX_OPERATIONS = 10_000
"""Kubernetes' own limit for one patch."""


def apply(document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The document after all operations. ``PatchError`` names the first operation that fails and why."""
    _check(patch)
    try:
        result: Any = copy.deepcopy(document)
        for number, operation in enumerate(patch):
            try:
                result = _OPERATIONS[operation["op"]](result, operation)
            except _PathError as error:
                described = f"operation {number} ({operation['op']} {operation['path']!r})"
                raise PatchError(f"{described}: {error}") from None
    except RecursionError:
        raise PatchError(NESTED_TOO_DEEPLY, is_malformed=True) from None
    if not isinstance(result, dict):
        raise PatchError("the patch leaves no JSON object: do not replace the whole document")
    return result


class _PathError(Exception):
    """Why an operation does not fit the document; never leaves this module."""


def _check(patch: Any) -> None:
    if not isinstance(patch, list):
        raise PatchError(
            f"a JSON patch must be a list of operations, not {type(patch).__name__}", is_malformed=True
        )
    if len(patch) > MAX_OPERATIONS:
        raise PatchError(
            f"the allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}",
            is_malformed=True,
        )
    for number, operation in enumerate(patch):
        problem = _problem(operation)
        if problem:
            raise PatchError(f"operation {number} {problem}", is_malformed=True)


def _problem(operation: Any) -> str:
    if not isinstance(operation, dict):
        return "is not a JSON object"
    name = operation.get("op")
    if not isinstance(name, str) or name not in _OPERATIONS:
        return f"has op {json.dumps(name)}: use one of {', '.join(_OPERATIONS)}"
    if not _is_pointer(operation.get("path")):
        return f"({name}) needs a path that is empty or starts with '/', with '~' only as '~0' or '~1'"
    if name in ("move", "copy") and not _is_pointer(operation.get("from")):
        return f"({name}) needs a from that is empty or starts with '/'"
    if name in ("add", "replace", "test") and "value" not in operation:
        return f"({name} {operation['path']!r}) has no value"
    return ""


def _is_pointer(text: Any) -> bool:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        return False
    return "~" not in text.replace("~0", "").replace("~1", "")


def _tokens(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _child(parent: Any, token: str) -> Any:
    if isinstance(parent, dict):
        if token not in parent:
            raise _PathError(f"{token!r} does not exist")
        return parent[token]
    if isinstance(parent, list):
        return parent[_index(token, len(parent))]
    raise _PathError(f"{token!r} is looked up in {_kind(parent)}")


def _index(token: str, size: int) -> int:
    if not (token.isascii() and token.isdigit()) or (len(token) > 1 and token[0] == "0"):
        raise _PathError(f"{token!r} is not an index of a list of {size}")
    if len(token) > 9 or int(token) >= size:
        raise _PathError(f"index {token} is out of range, the list has {size}")
    return int(token)


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}, which has no members"


def _resolve(document: Any, pointer: str) -> Any:
    for token in _tokens(pointer):
        document = _child(document, token)
    return document


def _parent(document: Any, pointer: str) -> tuple[Any, str]:
    *path, last = _tokens(pointer)
    for token in path:
        document = _child(document, token)
    return document, last


def _put(document: Any, pointer: str, value: Any) -> Any:
    if not pointer:
        return value
    parent, last = _parent(document, pointer)
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        at = len(parent) if last == "-" else _index(last, len(parent) + 1)
        parent.insert(at, value)
    else:
        raise _PathError(f"{last!r} cannot be added to {_kind(parent)}")
    return document


def _take(document: Any, pointer: str) -> Any:
    if not pointer:
        raise _PathError("the whole document cannot be removed")
    parent, last = _parent(document, pointer)
    value = _child(parent, last)
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[_index(last, len(parent))]
    return value


def _add(document: Any, operation: dict[str, Any]) -> Any:
    return _put(document, operation["path"], copy.deepcopy(operation["value"]))


def _remove(document: Any, operation: dict[str, Any]) -> Any:
    _take(document, operation["path"])
    return document


def _replace(document: Any, operation: dict[str, Any]) -> Any:
    value = copy.deepcopy(operation["value"])
    if not operation["path"]:
        return value
    parent, last = _parent(document, operation["path"])
    if not isinstance(parent, dict):  # a member that is not there yet is put there, as Kubernetes does
        _child(parent, last)
    parent[int(last) if isinstance(parent, list) else last] = value
    return document


def _move(document: Any, operation: dict[str, Any]) -> Any:
    source, target = operation["from"], operation["path"]
    if target.startswith(source + "/"):
        raise _PathError(f"{source!r} cannot be moved into its own child")
    if source == target:
        _resolve(document, source)
        return document
    return _put(document, target, _take(document, source))


def _copy(document: Any, operation: dict[str, Any]) -> Any:
    return _put(document, operation["path"], copy.deepcopy(_resolve(document, operation["from"])))


def _test(document: Any, operation: dict[str, Any]) -> Any:
    found = _resolve(document, operation["path"])
    if not equal(found, operation["value"]):
        raise _PathError(f"test failed, the value is {_short(found)}")
    return document


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 100 else text[:100] + "..."


_OPERATIONS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
