"""A model's whole V2 answer, checked before any protocol encodes it: outputs, id, version and parameters.

Called by ``serving.http_v2`` (REST and gRPC) and ``serving.translation`` (V1) for every answer that is not the server's own;
``oip_outputs`` does what is inside a tensor. JSON, binary form and protobuf each refuse other things, and the last two do so
with errors that name nothing: what one of them could not say is one failure for all, with its place and what to return.
Parameters are text, booleans, numbers of 64 bits; lists and objects pass, as JSON carries them (gRPC refuses those by name).

Invariant: of what ``whole`` gives, names, id and version are text that UTF-8 has, and every parameter has a JSON form.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import json_values, oip_outputs
from wakeful.core.protocol.oip import InferResponse, Tensor
from wakeful.core.protocol.problem import shown

INTEGERS = (-(2**63), 2**64)
"""From, and below: what both JSON's writer and protobuf carry."""


def whole(response: InferResponse, who: str = "the model") -> InferResponse:
    """The answer of model code as protocols need it, without its model's name. Raises ``FailureError`` (internal)."""
    given: Any = response.outputs
    if not isinstance(given, list | tuple):
        raise _failure(
            f"{who} answered without a list of outputs: InferResponse.outputs is {type(given).__name__}"
        )
    outputs = [_output(output, place, who) for place, output in enumerate(given)]
    if len(outputs) > 1 and len(names := {tensor.name for tensor in outputs}) != len(outputs):
        twice = next(name for name in names if sum(tensor.name == name for tensor in outputs) > 1)
        raise _failure(f"{who} answered several outputs called {shown(twice)}: give each a name of its own")
    for member, value in (("id", response.id), ("model_version", response.model_version)):
        if value is not None and not (isinstance(value, str) and json_values.is_utf8(value)):
            raise _failure(f"{who} answered {member} {shown(value)} ({type(value).__name__}): return text")
    parameters = _parameters(response.parameters, "the answer", who) if response.parameters else None
    return InferResponse(outputs, "", response.id, response.model_version, parameters)


def tensor_of(output: Any, place: int, who: str) -> Tensor:
    """An output that model code may have written as a dict. Raises ``FailureError`` (internal) that says what it lacks."""
    if isinstance(output, Tensor):
        return output
    try:
        name, shape, datatype, data = (output[key] for key in ("name", "shape", "datatype", "data"))
        return Tensor(name, tuple(shape), datatype, data, output.get("parameters") or {})
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise _failure(
            f"{who} answered with outputs[{place}] that is no tensor: it needs name, shape (a list), datatype and data; "
            f"it is {type(output).__name__}"
        ) from error


def _output(output: Any, place: int, who: str) -> Tensor:
    tensor = oip_outputs.settled(tensor_of(output, place, who), who)
    given = tensor.parameters
    if given == {}:
        return tensor
    found = _parameters(given, f"output {shown(tensor.name)}", who) if given else {}
    return Tensor(tensor.name, tensor.shape, tensor.datatype, tensor.data, found)


def _parameters(given: Any, where: str, who: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise _failure(f"{who} answered {type(given).__name__} as parameters of {where}: return a dict")
    return {_key(name, where, who): _value(name, value, where, who) for name, value in given.items()}


def _key(name: Any, where: str, who: str) -> str:
    if isinstance(name, str) and json_values.is_utf8(name):
        return name
    kind = type(name).__name__
    raise _failure(f"{who} answered a parameter of {where} called {shown(name)} ({kind}): names are text")


def _value(name: str, value: Any, where: str, who: str) -> Any:
    """A parameter's value; numpy's scalars as Python's own."""
    if hasattr(value, "dtype") and value.shape == () and not hasattr(plain := value.item(), "dtype"):
        value = plain
    if value is None or isinstance(value, bool | float):
        return value
    why = ""
    if isinstance(value, int):
        if INTEGERS[0] <= value < INTEGERS[1]:
            return value
        why = ", more than 64 bits"
    elif isinstance(value, str):
        if json_values.is_utf8(value):
            return value
        why = ", no UTF-8"
    else:
        try:
            json_values.dump(value)
            return value
        except TypeError as error:
            why = f": {error}" if isinstance(value, Mapping | list | tuple) else ""
    raise _failure(
        f"{who} answered parameter {shown(name)} of {where} as {type(value).__name__}{why}: return text, a boolean or a "
        "number of 64 bits"
    )


def _failure(text: str) -> FailureError:
    return FailureError(FailureKind.INTERNAL, text)
