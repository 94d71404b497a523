"""Merge what is applied into what is there, by schema: the first half of server-side apply.

Scalars and atomic parts are replaced, granular maps merge by key, keyed lists and sets by item. Items that only the
live object has keep their place among the applied ones. Called by ``managed``.

Invariant: the arguments are not changed; the result shares parts with both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from standalone.apiserver.apply import walk
from standalone.apiserver.schema.node import ANY, Node


def merge(node: Node, live: Any, applied: Any, path: str = "") -> Any:
    """The live value with the applied one laid over it. ``walk.KeyMissingError`` for an item without keys."""
    if walk.is_granular_map(node, applied) and walk.is_granular_map(node, live):
        merged = dict(live)
        for key, value in applied.items():
            where = f"{path}.{key}" if path else key
            merged[key] = merge(walk.sub_node(node, key), live[key], value, where) if key in live else value
        return merged
    if walk.is_keyed_list(node, applied) and walk.is_keyed_list(node, live):
        return _merge_list(node, live, applied, path)
    return applied


def _merge_list(node: Node, live: list[Any], applied: list[Any], path: str) -> list[Any]:
    theirs = [walk.item_key(node, item, path) for item in live]
    ours = [walk.item_key(node, item, path) for item in applied]
    by_key = dict(zip(theirs, live, strict=True))
    named = set(ours)
    if len(named) < len(ours):
        twice = next(key for n, key in enumerate(ours) if key in ours[:n])
        raise DuplicateItemError(f"{path}: duplicate entries for key {twice[2:]}: list each item once")
    merged: list[Any] = []
    for place, at in _places(theirs, ours):
        if place == "live":
            merged.append(live[at])
        else:
            key, item = ours[at], applied[at]
            merged.append(merge(node.items or ANY, by_key[key], item, path) if key in by_key else item)
    return merged


def _places(theirs: list[str], ours: list[str]) -> Iterator[tuple[str, int]]:
    """The order of a merged list: where each item comes from.

    Applied items keep their order. An item that only the live list has stays behind the shared item it followed; a
    shared live item met out of turn is passed over, and comes when the applied list reaches it.
    """
    live_keys, named = set(theirs), set(ours)
    shared = [key for key in ours if key in live_keys]
    next_shared = left = right = 0
    placed: set[str] = set()
    while left < len(theirs) or right < len(ours):
        if left < len(theirs):
            key = theirs[left]
            if key not in named:
                yield "live", left
                left += 1
                continue
            is_expected = next_shared < len(shared) and shared[next_shared] == key
            if key in placed or (right < len(ours) and key != ours[right] and not is_expected):
                left += 1
                continue
        yield "applied", right
        placed.add(ours[right])
        next_shared += next_shared < len(shared) and shared[next_shared] == ours[right]
        right += 1


class DuplicateItemError(ValueError):
    """An applied keyed list names one item twice."""
