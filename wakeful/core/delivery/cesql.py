"""CloudEvents SQL 1.0: one expression on the attributes of one event, to a value and a list of errors.

Called by the filters and by admission (``parse`` alone). Source: the CESQL 1.0 specification (reference section 5.5).
Evaluation does not stop at errors: a missing attribute counts as the zero value of the type wanted there. The right
operand's type picks the overload of ``=`` and ``!=``, and the left is cast to it. AND and OR stop early, XOR does not.
Worked example: ``sequence = 10`` on ``sequence: "10"`` casts the string and is true; ``TRUE = "TRUE"`` is false.
Invariant: evaluation never raises and takes time bounded by the expression's size and the attributes' lengths.
"""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.core.delivery import cesql_parser, cesql_values
from wakeful.core.delivery.cesql_parser import (
    Attribute,
    Binary,
    Call,
    Exists,
    In,
    Like,
    Literal,
    Node,
    ParseError,
    Unary,
)
from wakeful.core.delivery.cesql_values import Kind, Result, Value, cast
from wakeful.core.protocol.cloudevents import Event

__all__ = ["Expression", "ParseError", "parse"]

_COMPARE = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression."""

    root: Node

    def evaluate(self, event: Event) -> Result:
        """(value, names of errors) for ``event``."""
        return _evaluate(self.root, event.attributes(), None)


def parse(text: str) -> Expression:
    """The expression in ``text``. Raises ``ParseError`` with one sentence."""
    return Expression(cesql_parser.parse(text))


def _evaluate(node: Node, event: dict[str, Value], want: Kind | None) -> Result:
    match node:
        case Literal():
            return node.value, []
        case Attribute():
            if node.name in event:
                return event[node.name], []
            return cesql_values.ZERO[want or bool], ["missingAttribute"]
        case Exists():
            return node.name in event, []
        case Unary():
            return _unary(node, event)
        case Like():
            text, errors = _as(node.operand, event, str)
            return cesql_values.is_like(str(text), node.pattern), errors
        case In():
            return _in(node, event)
        case Call():
            return _call(node, event)
        case Binary():
            return _binary(node, event)


def _as(node: Node, event: dict[str, Value], kind: Kind) -> Result:
    value, errors = _evaluate(node, event, kind)
    result, more = cast(value, kind)
    return result, errors + more


def _unary(node: Unary, event: dict[str, Value]) -> Result:
    if node.operator == "NOT":
        value, errors = _as(node.operand, event, bool)
        return not value, errors
    number, errors = _as(node.operand, event, int)
    result, more = cesql_values.fit(-int(number))
    return result, errors + more


def _in(node: In, event: dict[str, Value]) -> Result:
    left, errors = _evaluate(node.operand, event, None)
    found = False
    for item in node.items:
        value, more = _as(item, event, cesql_values.kind_of(left))
        errors = errors + more
        found = found or value == left
    return found, errors


def _call(node: Call, event: dict[str, Value]) -> Result:
    known = cesql_values.FUNCTIONS.get((node.name, len(node.arguments)))
    kinds = known[0] if known else (str,) * len(node.arguments)
    values: list[Value] = []
    errors: list[str] = []
    for argument, kind in zip(node.arguments, kinds, strict=True):
        value, more = _as(argument, event, kind) if kind else _evaluate(argument, event, None)
        values.append(value)
        errors += more
    if known:
        result, more = known[1](*values)
        return result, errors + more
    text = cesql_values.concat(node.name, [str(value) for value in values])
    return (False, ["missingFunction"]) if text is None else (text, errors)


def _binary(node: Binary, event: dict[str, Value]) -> Result:
    if node.operator in ("AND", "OR", "XOR"):
        return _logic(node, event)
    if node.operator in ("=", "!=", "<>"):
        right, errors = _evaluate(node.right, event, None)
        left, more = _as(node.left, event, cesql_values.kind_of(right))
        return (left == right) is (node.operator == "="), more + errors
    left, errors = _as(node.left, event, int)
    right, more = _as(node.right, event, int)
    if node.operator in _COMPARE:
        return _COMPARE[node.operator](int(left), int(right)), errors + more
    result, last = cesql_values.arithmetic(node.operator, int(left), int(right))
    return result, errors + more + last


def _logic(node: Binary, event: dict[str, Value]) -> Result:
    left, errors = _as(node.left, event, bool)
    if (node.operator == "AND" and not left) or (node.operator == "OR" and left):
        return left, errors
    right, more = _as(node.right, event, bool)
    return (left != right if node.operator == "XOR" else right), errors + more
