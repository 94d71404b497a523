"""Label and field selectors of list, watch and deletecollection: text to predicate, as Kubernetes reads them.

Called by the list and watch handlers. Labels: ``a=b``, ``a==b``, ``a!=b``, ``a in (b,c)``, ``a notin (b,c)``, ``a``,
``!a``, ``a>1``, ``a<1``, joined by commas. Fields: ``path=value`` and ``path!=value``, with ``\\,`` ``\\=`` ``\\\\``
escapes. Which fields a kind supports is in ``supported_fields``; a custom resource adds its ``selectableFields``.

Invariant: a parsed selector is a pure predicate and text that Kubernetes refuses is refused with ``SelectorError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Obj = dict[str, Any]
Labels = dict[str, str]
_Test = Callable[[Labels], bool]

_TOKEN = re.compile(r"\s*(==|=|!=|!|>|<|\(|\)|,|[^\s=!<>(),]+)")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")
_OPERATORS = "=!<>(),"


class SelectorError(Exception):
    """A selector that Kubernetes would refuse with 400."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@lru_cache(maxsize=1024)
def parse_labels(text: str) -> Callable[[Labels], bool]:
    """The predicate of a label selector on a label map. Empty text matches everything. ``SelectorError``."""
    tests = _LabelParser(text).parse()
    if not tests:
        return lambda labels: True
    if len(tests) == 1:
        return tests[0]
    return lambda labels: all(test(labels) for test in tests)


class _LabelParser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokenise(text)
        self._at = 0

    def parse(self) -> list[_Test]:
        tests: list[_Test] = []
        while self._peek():
            tests.append(self._requirement())
            token = self._next()
            if token == "":
                break
            if token != ",":
                raise SelectorError(f"found '{token}', expected: ',' or 'end of string'")
            if self._peek() in ("", ","):
                raise SelectorError(f"found '{self._peek()}', expected: identifier after ','")
        return tests

    def _requirement(self) -> _Test:
        token = self._next()
        if token == "!":
            key = self._key(self._next())
            return lambda labels: key not in labels
        key = self._key(token)
        operator = self._peek()
        if operator in ("", ","):
            return lambda labels: key in labels
        self._at += 1
        if operator in ("in", "notin"):
            return _membership(key, self._values(key), operator == "in")
        if operator in ("=", "==", "!="):
            value = self._exact_value(key)
            return _membership(key, frozenset((value,)), operator != "!=")
        if operator in (">", "<"):
            return _comparison(key, operator, self._next())
        raise self._found(operator, "in, notin, =, ==, !=, gt, lt")

    def _values(self, key: str) -> frozenset[str]:
        if (token := self._next()) != "(":
            raise SelectorError(f"unable to parse requirement: found '{token}' expected: '('")
        values = set()
        while True:
            token = self._peek()
            if token in (",", ")"):
                values.add("")
            else:
                values.add(_checked_value(key, self._identifier()))
            token = self._next()
            if token == ")":
                return frozenset(values)
            if token != ",":
                raise self._found(token, "',' or ')'")

    def _exact_value(self, key: str) -> str:
        if self._peek() in ("", ","):
            return ""
        return _checked_value(key, self._identifier())

    def _identifier(self) -> str:
        token = self._next()
        if token == "" or token[0] in _OPERATORS:
            raise self._found(token, "identifier")
        return token

    def _key(self, token: str) -> str:
        if token == "" or token[0] in _OPERATORS:
            raise SelectorError(f"found '{token}', expected: !, identifier, or 'end of string'")
        problem = label_key_problem(token)
        if problem:
            raise SelectorError(
                f"unable to parse requirement: <nil>: Invalid value: {_quote(token)}: {problem}"
            )
        return token

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        self._at += 1
        return token

    def _found(self, token: str, expected: str) -> SelectorError:
        return SelectorError(f"unable to parse requirement: found '{token}', expected: {expected}")


def _tokenise(text: str) -> list[str]:
    tokens, at, end = [], 0, len(text.rstrip())
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            raise SelectorError(f"unable to parse requirement: {_quote(text)} at {at}")
        tokens.append(match.group(1))
        at = match.end()
    return tokens


def _membership(key: str, values: frozenset[str], is_in: bool) -> _Test:
    if is_in:
        return lambda labels: key in labels and labels[key] in values
    return lambda labels: key not in labels or labels[key] not in values


def _comparison(key: str, operator: str, text: str) -> _Test:
    if not _INTEGER.fullmatch(text):
        raise SelectorError(
            f"unable to parse requirement: values[0]: Invalid value: {_quote(text)}: "
            "for 'Gt', 'Lt' operators, the value must be an integer"
        )
    limit = int(text)

    def test(labels: Labels) -> bool:
        found = labels.get(key)
        if found is None or not _INTEGER.fullmatch(found):
            return False
        return int(found) > limit if operator == ">" else int(found) < limit

    return test


def label_key_problem(key: str) -> str:
    """Why ``key`` is not a label key (``[prefix/]name``), or empty."""
    if key.count("/") > 1:
        return f"a qualified name {_NAME_RULE} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
    prefix, slash, name = key.rpartition("/")
    if slash and not prefix:
        return "prefix part must be non-empty"
    if len(prefix) > 253:
        return "prefix part must be no more than 253 characters"
    if slash and not _PREFIX.fullmatch(prefix):
        return f"prefix part {_PREFIX_RULE}"
    if not name:
        return f"name part must be non-empty, name part {_NAME_RULE}" if slash else f"name part {_NAME_RULE}"
    if len(name) > 63:
        return "name part must be no more than 63 characters"
    return "" if _NAME.fullmatch(name) else f"name part {_NAME_RULE}"


_NAME_RULE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_PREFIX_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def label_value_problem(value: str) -> str:
    """Why ``value`` is not a label value, or empty."""
    if len(value) > 63:
        return "must be no more than 63 characters"
    if value and not _NAME.fullmatch(value):
        return (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for "
            "validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        )
    return ""


def _checked_value(key: str, value: str) -> str:
    problem = label_value_problem(value)
    if problem:
        raise SelectorError(
            f"unable to parse requirement: values[0][{key}]: Invalid value: {_quote(value)}: {problem}"
        )
    return value


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One ``path=value`` (or ``!=`` when not ``is_equal``)."""

    path: str
    value: str
    is_equal: bool

    def matches(self, obj: Obj) -> bool:
        return (field_text(obj, self.path) == self.value) is self.is_equal


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """A parsed field selector; call it with an object."""

    terms: tuple[FieldTerm, ...]

    def __call__(self, obj: Obj) -> bool:
        return all(term.matches(obj) for term in self.terms)


def parse_fields(
    text: str, supported: Collection[str] | None = None, *, is_plain: bool = False
) -> FieldSelector:
    """The predicate of a field selector. With ``supported``, another path is refused as Kubernetes does.

    ``is_plain``: of a kind that has no fields of its own, whose refusal is worded differently.
    """
    terms = tuple(_field_term(part) for part in _split_fields(text))
    for term in terms:
        if supported is not None and term.path not in supported:
            if is_plain:
                known = ", ".join(f'"{path}"' for path in _EVERY)
                raise SelectorError(f'"{term.path}" is not a known field selector: only {known}')
            raise SelectorError(f"field label not supported: {term.path}")
    return FieldSelector(terms)


def _split_fields(text: str) -> list[str]:
    parts = re.findall(r"(?:\\.|[^,\\]|\\$)+", text)
    return [part for part in parts if part]


def _field_term(part: str) -> FieldTerm:
    match = re.search(r"(?<!\\)(!=|==|=)", part)
    if match is None:
        raise SelectorError(f"invalid selector: '{part}'; can't understand '{part}'")
    path, value = part[: match.start()].strip(), part[match.end() :]
    if re.search(r"(?<!\\)(?:\\\\)*=", value):
        raise SelectorError(f"invalid field selector: unescaped '=' in value {_quote(value)}")
    return FieldTerm(path, _unescape(value), match.group(1) != "!=")


def _unescape(value: str) -> str:
    def one(match: re.Match[str]) -> str:
        if match.group(1) not in ("\\", ",", "="):
            raise SelectorError(f"invalid field selector: invalid escape sequence: {match.group(0)}")
        return match.group(1)

    return re.sub(r"\\(.?)", one, value, flags=re.DOTALL)


def field_text(obj: Obj, path: str) -> str:
    """The value at a dotted path as field selectors compare it: absent is empty, booleans are true and false."""
    value: Any = obj
    for key in path.removeprefix(".").split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict):  # an Event's "source" selects by its component
        value = value.get("component")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


_EVERY = ("metadata.name", "metadata.namespace")
_EVENT = ("apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid")
_CORE: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Pod"): (
        *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName"),
        *("spec.hostNetwork", "status.phase", "status.podIP", "status.nominatedNodeName"),
    ),
    ("", "Event"): (
        *(f"involvedObject.{name}" for name in _EVENT),
        *("reason", "reportingComponent", "source", "type"),
    ),
    ("events.k8s.io", "Event"): (
        *(f"regarding.{name}" for name in _EVENT),
        *("reason", "reportingController", "type"),
    ),
    ("", "Namespace"): ("status.phase",),
    ("", "Node"): ("spec.unschedulable",),
    ("", "Secret"): ("type",),
    ("", "Service"): ("spec.clusterIP", "spec.type"),
    ("", "ReplicationController"): ("status.replicas",),
    ("apps", "ReplicaSet"): ("status.replicas",),
    ("batch", "Job"): ("status.successful",),
}


def has_own_fields(group: str, kind: str) -> bool:
    """Whether a built-in kind can be selected by more than name and namespace."""
    return (group, kind) in _CORE


def supported_fields(group: str, kind: str, selectable: Collection[str] = ()) -> frozenset[str]:
    """The paths a field selector of this kind may name; ``selectable`` are a CRD's ``selectableFields`` paths."""
    return frozenset(
        (*_EVERY, *_CORE.get((group, kind), ()), *(path.removeprefix(".") for path in selectable))
    )
