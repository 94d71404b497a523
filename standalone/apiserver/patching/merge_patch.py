"""JSON merge patch (RFC 7396): ``null`` deletes a key, an object merges, anything else replaces.

Called by the PATCH handler for ``application/merge-patch+json``; it is what kubectl sends for custom resources.
Invariant: the arguments are not changed; the result shares the unchanged parts of the document.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.patching.failure import NESTED_TOO_DEEPLY, PatchError


def apply(document: dict[str, Any], patch: Any) -> dict[str, Any]:
    """The document after ``patch``. ``PatchError`` (malformed) when the patch is not a JSON object."""
    if not isinstance(patch, dict):
        raise PatchError(
            f"a merge patch must be a JSON object, not {type(patch).__name__}: send only the fields to change",
            is_malformed=True,
        )
    try:
        return _merge(document, patch)
    except RecursionError:
        raise PatchError(NESTED_TOO_DEEPLY, is_malformed=True) from None


def _merge(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key), value)
        else:
            merged[key] = value
    return merged


def build(old: Any, new: Any) -> Any:
    """The merge patch that turns ``old`` into ``new``; ``new`` must hold no ``null`` (RFC 7396 cannot say one)."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            patch[key] = value
        elif not equal(old[key], value):
            patch[key] = build(old[key], value)
    return patch


def equal(a: Any, b: Any) -> bool:
    """JSON equality: numbers by value, but ``true`` is not 1 (as Python would have it)."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(v, b[k]) for k, v in a.items())
    if isinstance(a, list):
        return (
            isinstance(b, list) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
        )
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    return bool(a == b)
