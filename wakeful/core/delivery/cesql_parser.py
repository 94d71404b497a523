"""CESQL 1.0 text to a tree: lexer and precedence parser.

Called by ``cesql``. Precedence from high to low: function call; NOT; unary minus; LIKE; EXISTS; IN; * / %; + -;
comparisons; and AND, OR, XOR together on one level, so that ``a OR b AND c`` is ``(a OR b) AND c`` and
``NOT type LIKE 'x%'`` is ``(NOT type) LIKE 'x%'``. Equal precedence goes from left to right. LIKE takes a literal only.
Invariant: text is at most ``MAX_LENGTH`` characters and the tree at most ``MAX_DEPTH`` deep, so evaluation is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LENGTH = 4096
MAX_DEPTH = 64
INT32_MAX = 2**31 - 1


class ParseError(ValueError):
    """The expression is not CESQL; one sentence with the position."""


@dataclass(frozen=True, slots=True)
class Literal:
    value: str | int | bool
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Exists:
    name: str
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Unary:
    """``NOT`` or ``-``."""

    operator: str
    operand: Node
    depth: int


@dataclass(frozen=True, slots=True)
class Binary:
    operator: str
    left: Node
    right: Node
    depth: int


@dataclass(frozen=True, slots=True)
class Like:
    operand: Node
    pattern: str
    depth: int


@dataclass(frozen=True, slots=True)
class In:
    operand: Node
    items: tuple[Node, ...]
    depth: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function by upper-case name."""

    name: str
    arguments: tuple[Node, ...]
    depth: int


Node = Literal | Attribute | Exists | Unary | Binary | Like | In | Call

_TOKEN = re.compile(
    r"\s*(?:(?P<int>\d+(?![A-Za-z0-9_]))|(?P<word>[A-Za-z0-9_]+)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<op><=|>=|!=|<>|[=<>+\-*/%(),]))",
    re.DOTALL,
)
_WORD_OPERATORS = {"AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN"}
_POWER = {"AND": 10, "OR": 10, "XOR": 10}
_POWER |= dict.fromkeys(("=", "!=", "<>", "<", "<=", ">", ">="), 20)
_POWER |= {"+": 30, "-": 30, "*": 40, "/": 40, "%": 40, "IN": 50, "LIKE": 70}
_MINUS_POWER, _NOT_POWER = 80, 90


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Node:
    """The tree of an expression. Raises ``ParseError``."""
    if len(text) > MAX_LENGTH:
        raise ParseError(f"the expression has {len(text)} characters; the limit is {MAX_LENGTH}")
    parser = _Parser([*_tokens(text), _Token("end", "end of expression", len(text))])
    node = parser.expression(0, 0)
    parser.expect("end")
    return node


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    end = len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise ParseError(f"unexpected {text[at : at + 12].strip()!r} at character {at + 1}")
        kind = str(match.lastgroup)
        start, token = match.start(kind), match.group(kind)
        if kind == "word" and token.upper() in _WORD_OPERATORS:
            kind, token = "op", token.upper()
        yield _Token(kind, token, start)
        at = match.end()


class _Parser:
    """Precedence climbing over the tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def expression(self, minimum: int, nesting: int) -> Node:
        if nesting > MAX_DEPTH:
            raise ParseError(f"the expression is nested more than {MAX_DEPTH} deep")
        left = self._operand(nesting)
        while True:
            operator, negated = self._operator()
            if _POWER.get(operator, -1) <= minimum:
                return left
            self._at += 2 if negated else 1
            left = self._checked(self._infix(left, operator, nesting))
            if negated:
                left = self._checked(Unary("NOT", left, left.depth + 1))

    def expect(self, what: str) -> None:
        token = self._take()
        if what not in (token.kind, token.text):
            raise ParseError(f"expected {what!r} but found {token.text[:32]!r} at character {token.at + 1}")

    def _infix(self, left: Node, operator: str, nesting: int) -> Node:
        if operator == "LIKE":
            token = self._take()
            if token.kind != "text":
                raise ParseError(f"LIKE needs a string literal at character {token.at + 1}")
            return Like(left, _unquote(token.text), left.depth + 1)
        if operator == "IN":
            self.expect("(")
            items = self._list(nesting)
            return In(left, items, max(left.depth, *(item.depth for item in items)) + 1)
        right = self.expression(_POWER[operator], nesting + 1)
        return Binary(operator, left, right, max(left.depth, right.depth) + 1)

    def _operand(self, nesting: int) -> Node:
        token = self._take()
        if token.kind == "int":
            return self._integer(token, sign=1)
        if token.kind == "text":
            return Literal(_unquote(token.text))
        if token.kind == "word":
            return self._word(token, nesting)
        if token.text == "(":
            node = self.expression(0, nesting + 1)
            self.expect(")")
            return node
        if token.text == "EXISTS":
            return Exists(self._name(self._take()))
        if token.text == "-":
            if self._peek().kind == "int":
                return self._integer(self._take(), sign=-1)
            operand = self.expression(_MINUS_POWER, nesting + 1)
            return self._checked(Unary("-", operand, operand.depth + 1))
        if token.text == "NOT":
            operand = self.expression(_NOT_POWER, nesting + 1)
            return self._checked(Unary("NOT", operand, operand.depth + 1))
        raise ParseError(f"unexpected {token.text[:32]!r} at character {token.at + 1}")

    def _word(self, token: _Token, nesting: int) -> Node:
        if self._peek().text == "(" and self._peek().kind == "op":
            self._at += 1
            arguments: tuple[Node, ...] = ()
            if self._peek().text == ")" and self._peek().kind == "op":
                self._at += 1
            else:
                arguments = self._list(nesting)
            depth = max((item.depth for item in arguments), default=0) + 1
            return self._checked(Call(token.text.upper(), arguments, depth))
        if token.text.upper() in ("TRUE", "FALSE"):
            return Literal(token.text.upper() == "TRUE")
        return Attribute(self._name(token))

    def _list(self, nesting: int) -> tuple[Node, ...]:
        items = [self.expression(0, nesting + 1)]
        while self._peek().text == "," and self._peek().kind == "op":
            self._at += 1
            items.append(self.expression(0, nesting + 1))
        self.expect(")")
        return tuple(items)

    def _name(self, token: _Token) -> str:
        if token.kind not in ("word", "int") or not re.fullmatch(r"[a-z0-9]+", token.text):
            raise ParseError(
                f"{token.text[:32]!r} at character {token.at + 1} is not an attribute name: use a-z and 0-9"
            )
        return token.text

    def _integer(self, token: _Token, sign: int) -> Literal:
        value = sign * int(token.text[:12])
        if not -INT32_MAX - 1 <= value <= INT32_MAX:
            raise ParseError(f"{token.text[:32]} at character {token.at + 1} is outside the 32-bit integers")
        return Literal(value)

    def _operator(self) -> tuple[str, bool]:
        """The infix operator that follows, and whether NOT stands before it."""
        token = self._peek()
        if token.kind != "op":
            return "", False
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if token.text == "NOT" and following.kind == "op" and following.text in ("LIKE", "IN"):
            return following.text, True
        return token.text, False

    def _checked(self, node: Node) -> Node:
        if node.depth > MAX_DEPTH:
            raise ParseError(f"the expression is nested more than {MAX_DEPTH} deep")
        return node

    def _peek(self) -> _Token:
        return self._tokens[self._at]

    def _take(self) -> _Token:
        token = self._tokens[self._at]
        if token.kind != "end":
            self._at += 1
        return token


def _unquote(text: str) -> str:
    """The content of a literal: an escaped quote loses its backslash; others stay, LIKE needs them."""
    return text[1:-1].replace("\\" + text[0], text[0])
