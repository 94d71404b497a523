"""Whether a server-side apply would change nothing, read from the live object alone.

Called by ``cluster`` before each apply, so that a controller that has just started, with 10,000 InferenceServices, sends
no request for what its predecessor has applied. Source: the structure of ``managedFields`` (Kubernetes, "Server-Side
Apply"): ``f:`` a field, ``k:`` a list item by its keys, ``v:`` a value of a set, ``i:`` a position, ``.`` the thing itself.
Invariant: "yes" is never wrong; where the two cannot be compared the answer is "no", and one apply more is sent.
"""

from __future__ import annotations

import json
from typing import Any

from wakeful.core.api.isvc_problem import Obj


def is_applied(live: Obj, desired: Obj) -> bool:
    """Whether ``live`` says all that ``desired`` says, and our manager owns nothing in it that ``desired`` leaves out."""
    ours = live["metadata"].get("managedFields") or []
    if len(ours) != 1 or ours[0].get("apiVersion") != desired["apiVersion"]:
        return False
    return covers(live, desired) and _wants_all(ours[0].get("fieldsV1") or {}, desired)


def covers(live: Any, desired: Any) -> bool:
    """Whether ``live`` has everything ``desired`` says; lists must have the same length."""
    if isinstance(desired, dict):
        if not isinstance(live, dict):
            return False
        return all(key in live and covers(live[key], value) for key, value in desired.items())
    if isinstance(desired, list):
        if not isinstance(live, list) or len(live) != len(desired):
            return False
        return all(covers(one, other) for one, other in zip(live, desired, strict=True))
    return bool(live == desired)


_MISSING = object()


def _wants_all(owned: Obj, desired: Any) -> bool:
    """Whether ``desired`` has every field of a set of owned fields."""
    for path, below in owned.items():
        if path == ".":
            continue
        found = _step(path, desired)
        if found is _MISSING or (below and not _wants_all(below, found)):
            return False
    return True


def _step(path: str, value: Any) -> Any:
    """What a path element leads to in ``value``."""
    kind, _, name = path.partition(":")
    if kind == "f":
        return value.get(name, _MISSING) if isinstance(value, dict) else _MISSING
    if not isinstance(value, list):
        return _MISSING
    wanted = json.loads(name)
    if kind == "k":
        same = (item for item in value if isinstance(item, dict) and wanted.items() <= item.items())
        return next(same, _MISSING)
    if kind == "v":
        return wanted if wanted in value else _MISSING
    return value[wanted] if kind == "i" and wanted < len(value) else _MISSING
