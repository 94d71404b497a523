"""Strategic merge patch: a merge patch that merges lists by key, as ``kubectl apply`` and ``kubectl patch`` send it.

Called by the PATCH handler for built-in kinds (``application/strategic-merge-patch+json``; a custom resource has none).
The schema says which lists merge and by which key (``x-kubernetes-patch-strategy``, ``x-kubernetes-patch-merge-key``).
Directives: ``$patch: replace|delete|merge``, ``$retainKeys``, ``$deleteFromPrimitiveList/FIELD``,
``$setElementOrder/FIELD``. The order of lists is in ``list_order``.

Invariant: the arguments are not changed, and no directive ever reaches the result.
"""

from __future__ import annotations

import copy
from typing import Any

from standalone.apiserver.patching import list_order
from standalone.apiserver.patching.failure import NESTED_TOO_DEEPLY, PatchError

Schema = dict[str, Any]

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"


def apply(document: dict[str, Any], patch: Any, schema: Schema | None = None) -> dict[str, Any]:
    """The document after ``patch``. Without a schema every list is replaced. ``PatchError`` says what does not fit."""
    if not isinstance(patch, dict):
        raise PatchError(
            f"a strategic merge patch must be a JSON object, not {type(patch).__name__}", is_malformed=True
        )
    try:
        merged = _merge_map(copy.deepcopy(document), copy.deepcopy(patch), schema or {}, "")
    except RecursionError:
        raise PatchError(NESTED_TOO_DEEPLY, is_malformed=True) from None
    return merged


def _merge_map(target: dict[str, Any], patch: dict[str, Any], schema: Schema, path: str) -> dict[str, Any]:
    directive = patch.pop(DIRECTIVE, None)
    if directive == "replace":
        replaced: dict[str, Any] = _clean(patch)
        return replaced
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise PatchError(f"{path or 'the patch'}: unknown $patch {directive!r}: use replace, merge or delete")
    _retain_keys(target, patch, path)
    _delete_from_lists(target, patch, path)
    orders = {key.removeprefix(SET_ORDER): patch.pop(key) for key in list(patch) if key.startswith(SET_ORDER)}
    for key, value in patch.items():
        where = f"{path}.{key}" if path else key
        if value is None:
            target.pop(key, None)
        elif key in target or not _is_deletion(value):
            original = target.get(key)
            target[key] = _merge_value(original, value, _property(schema, key), where)
            if isinstance(value, list) and key in orders:
                order = _checked_order(orders.pop(key), value, _property(schema, key), where)
                target[key] = _reorder(target[key], order, original, _property(schema, key))
    for key, order in orders.items():
        if isinstance(target.get(key), list):
            where = f"{path}.{key}" if path else key
            order = _checked_order(order, [], _property(schema, key), where)
            target[key] = _reorder(target[key], order, target[key], _property(schema, key))
    return target


def _property(schema: Schema, key: str) -> Schema:
    found = (schema.get("properties") or {}).get(key)
    if found is None and isinstance(schema.get("additionalProperties"), dict):
        found = schema["additionalProperties"]
    return found if isinstance(found, dict) else {}


def _strategies(schema: Schema) -> list[str]:
    return str(schema.get("x-kubernetes-patch-strategy") or "").split(",")


def _merge_value(original: Any, value: Any, schema: Schema, path: str) -> Any:
    if isinstance(value, dict) and isinstance(original, dict):
        if "replace" in _strategies(schema) and DIRECTIVE not in value:
            return _clean(value)
        return _merge_map(original, value, schema, path)
    if isinstance(value, list) and isinstance(original, list) and "merge" in _strategies(schema):
        return _merge_list(original, value, schema, path)
    if isinstance(value, list) and "merge" in _strategies(schema):
        return _merge_list([], value, schema, path)
    return _clean(value)


def _clean(value: Any) -> Any:
    """A patch value that meets nothing in the document: without nulls in objects and without directives."""
    if isinstance(value, dict):
        return {
            key: _clean(item)
            for key, item in value.items()
            if item is not None
            and not _is_deletion(item)
            and key not in (DIRECTIVE, RETAIN)
            and not key.startswith((SET_ORDER, DELETE_FROM))
        }
    if isinstance(value, list):
        return [_clean(item) for item in value if not _is_directive(item)]
    return value


def _is_deletion(value: Any) -> bool:
    return isinstance(value, dict) and value.get(DIRECTIVE) == "delete"


def _is_directive(item: Any) -> bool:
    return isinstance(item, dict) and item.get(DIRECTIVE) in ("delete", "replace")


def _retain_keys(target: dict[str, Any], patch: dict[str, Any], path: str) -> None:
    retained = patch.pop(RETAIN, None)
    if retained is None:
        return
    if not isinstance(retained, list):
        raise PatchError(f"{path or 'the patch'}: $retainKeys must be a list of field names")
    for key, value in patch.items():
        if value is not None and not key.startswith("$") and key not in retained:
            raise PatchError(f"{path or 'the patch'}: {key!r} is set but is not in $retainKeys {retained}")
    for key in [key for key in target if key not in retained]:
        del target[key]


def _delete_from_lists(target: dict[str, Any], patch: dict[str, Any], path: str) -> None:
    for directive in [key for key in patch if key.startswith(DELETE_FROM)]:
        removed = patch.pop(directive)
        key = directive.removeprefix(DELETE_FROM)
        if not isinstance(removed, list):
            raise PatchError(f"{path or 'the patch'}: {directive} must be a list")
        if isinstance(target.get(key), list):
            target[key] = [item for item in target[key] if item not in removed]


def _merge_list(original: list[Any], patch: list[Any], schema: Schema, path: str) -> list[Any]:
    key = schema.get("x-kubernetes-patch-merge-key")
    if not key:
        return _merge_scalars(original, patch, path)
    items = schema.get("items") or {}
    for item in patch:
        if not isinstance(item, dict):
            raise PatchError(f"{path}: items must be objects with {key!r}, got {type(item).__name__}")
    if any(item.get(DIRECTIVE) == "replace" for item in patch):
        return [_clean(item) for item in patch if not _is_directive(item)]
    merged = list(original)
    for item in [item for item in patch if item.get(DIRECTIVE) == "delete"]:
        _need_key(item, key, path)
        merged = [one for one in merged if not _has_key(one, key, item[key])]
    wanted = [item for item in patch if not _is_directive(item)]
    for item in wanted:
        _need_key(item, key, path)
        at = next((n for n, one in enumerate(merged) if _has_key(one, key, item[key])), None)
        where = f"{path}[{key}={item[key]!r}]"
        if at is None:
            merged.append(_merge_map({}, dict(item), items, where))
        else:
            merged[at] = _merge_map(merged[at], dict(item), items, where)
    return list_order.arrange(merged, [_identity(one, key) for one in wanted], original, _by(key))


def _merge_scalars(original: list[Any], patch: list[Any], path: str) -> list[Any]:
    if any(isinstance(item, dict | list) for item in patch):
        raise PatchError(f"{path}: items must be scalars")
    merged = list(original)
    merged += [item for n, item in enumerate(patch) if item not in merged and item not in patch[:n]]
    return list_order.arrange(merged, list(patch), original, _by(None))


def _need_key(item: dict[str, Any], key: str, path: str) -> None:
    if key not in item:
        raise PatchError(f"{path}: an item of the patch does not contain declared merge key: {key}")


def _has_key(item: Any, key: str, value: Any) -> bool:
    return isinstance(item, dict) and bool(item.get(key) == value)


def _identity(item: Any, key: str | None) -> Any:
    return item if key is None else item.get(key) if isinstance(item, dict) else None


def _by(key: str | None) -> list_order.Identity:
    return lambda item: _identity(item, key)


def _checked_order(order: Any, patch: list[Any], schema: Schema, path: str) -> list[Any]:
    """The identities in the order wished for; ``PatchError`` when the patch has one that is not in it, or another order."""
    key = schema.get("x-kubernetes-patch-merge-key")
    if not isinstance(order, list):
        raise PatchError(f"{path}: $setElementOrder must be a list")
    wished = [_identity(one, key) for one in order]
    if key and any(one is None for one in wished):
        raise PatchError(f"{path}: an item of $setElementOrder does not contain declared merge key: {key}")
    at = 0
    for item in patch:
        if _is_directive(item):
            continue
        try:
            at = wished.index(_identity(item, key), at) + 1
        except ValueError:
            raise PatchError(
                f"{path}: the order in patch list doesn't match $setElementOrder list {wished}"
            ) from None
    return wished


def _reorder(items: list[Any], order: list[Any], original: Any, schema: Schema) -> list[Any]:
    key = schema.get("x-kubernetes-patch-merge-key")
    return list_order.arrange(items, order, original if isinstance(original, list) else [], _by(key))
