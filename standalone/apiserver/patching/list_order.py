"""Which order a merged list gets: the patch decides among its own items, the server keeps the order of its own.

Used by ``strategic`` and ``apply.merge``. The rule is Kubernetes': items that the patch names follow the patch's
order; the others follow the order they had; the two rows are then merged like sorted lists, comparing by the old
positions where both had one, and the patch's item goes first where they cannot be compared.

Invariant: the result is a permutation of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Identity = Callable[[Any], Any]


def arrange(merged: list[Any], order: list[Any], before: list[Any], identity: Identity) -> list[Any]:
    """``merged`` in the right order: ``order`` are identities wished for, ``before`` the items as they were."""
    wished, had = _positions(order), _positions([identity(item) for item in before])
    named = [(identity(item), item) for item in merged]
    ours = sorted((pair for pair in named if _key(pair[0]) in wished), key=lambda pair: wished[_key(pair[0])])
    theirs = [pair for pair in named if _key(pair[0]) not in wished]
    theirs.sort(key=lambda pair: had.get(_key(pair[0]), len(had)))
    result = []
    while ours and theirs:
        a, b = had.get(_key(theirs[0][0])), had.get(_key(ours[0][0]))
        is_theirs_first = a is not None and b is not None and a < b
        result.append((theirs if is_theirs_first else ours).pop(0)[1])
    return result + [pair[1] for pair in (*ours, *theirs)]


def _positions(identities: list[Any]) -> dict[Any, int]:
    positions: dict[Any, int] = {}
    for number, one in enumerate(identities):
        positions.setdefault(_key(one), number)
    return positions


def _key(identity: Any) -> Any:
    """Hashable, and true is not 1."""
    return repr(identity) if isinstance(identity, dict | list | bool) else identity
