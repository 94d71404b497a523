"""What a caller may say beside the name of a model to load or unload: Triton's model repository extension, as far as it is there.

Called by ``serving.http_meta`` for REST and gRPC alike. Source: Triton's ``extension_model_repository``: a JSON object whose only
member is ``parameters`` (``ready`` for the index). ``config`` and ``file:...`` of a load would replace the model's
configuration and files by the caller's: a model here is what its server was started with, so they are refused, not ignored.
``unload_dependents`` of an unload is taken either way: no model of a server depends on another.

Invariant: what is neither refused nor named here has no effect, because it is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wakeful.core.errors import InvalidError
from wakeful.core.protocol.problem import parse_json, shown, type_name

DEPENDENTS = "unload_dependents"
NAMED = 8
"""Names that an error text lists at most."""


def members(body: bytes, member: str) -> Mapping[str, Any]:
    """The object in a request's body, which has ``member`` or nothing; an empty body has nothing. Raises ``InvalidError``."""
    if not body:
        return {}
    found = parse_json(body, "the request body")
    if not isinstance(found, dict):
        raise InvalidError(f"the request body is {type_name(found)}: send an object, or nothing")
    odd = [name for name in found if name != member]
    if odd:
        raise InvalidError(f"the request body has {_listed(odd)}: its only member may be {member!r}")
    return found


def check_parameters(verb: str, parameters: Any) -> None:
    """Refuse what a ``load`` or ``unload`` here does not do. Raises ``InvalidError`` with the parameters' names."""
    if parameters is None:
        return
    if not isinstance(parameters, Mapping):
        raise InvalidError(f"parameters is {type_name(parameters)}: send an object")
    odd = [name for name in parameters if not (verb == "unload" and name == DEPENDENTS)]
    if odd:
        advice = f"unload takes {DEPENDENTS!r} only"
        if verb == "load":
            advice = "a model is loaded from the files its server was started with: change those, and load it without parameters"
        raise InvalidError(f"parameters {_listed(odd)} of {verb} are not supported here: {advice}")
    value = parameters.get(DEPENDENTS, False)
    if not isinstance(value, bool):
        raise InvalidError(f"parameters.{DEPENDENTS} is {shown(value)}: send true or false")


def is_ready_only(asked: Mapping[str, Any]) -> bool:
    """Whether the index is asked for models that are ready alone. Raises ``InvalidError``."""
    value = asked.get("ready")
    if not (value is None or isinstance(value, bool)):
        raise InvalidError(f"ready is {shown(value)}: send true or false")
    return bool(value)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(map(shown, names[:NAMED])) + more
