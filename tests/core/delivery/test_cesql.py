"""CESQL: precedence, casts, errors, functions (reference section 5.5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.delivery import cesql
from wakeful.core.protocol.cloudevents import Event

EVENT = Event(
    "id-1",
    "/source",
    "com.example.x",
    subject="50% off_",
    extensions={"sequence": "10", "flag": True, "n": 7, "a": "true", "b": "false", "c": "false"},
)


@pytest.mark.parametrize(
    ("expression", "value", "errors"),
    [
        ("type = 'com.example.x'", True, []),
        ('type = "com.example.x"', True, []),
        ("type LIKE 'com.%'", True, []),
        ("type LIKE 'COM.%'", False, []),
        ("type NOT LIKE 'com.%'", False, []),
        ("NOT type LIKE 'x%'", False, ["cast"]),
        (r"subject LIKE '50\% off\_'", True, []),
        (r"subject LIKE '50_ o%'", True, []),
        (r"'50x' LIKE '50\%'", False, []),
        ("a OR b AND c", False, []),
        ("a OR (b AND c)", True, []),
        ("TRUE XOR TRUE", False, []),
        ("FALSE AND missing", False, []),
        ("true or missing", True, []),
        ("TRUE AND missing", False, ["missingAttribute"]),
        ("sequence = 10", True, []),
        ("sequence + 5 = 15", True, []),
        ("10 = sequence", True, []),
        ('TRUE = "TRUE"', False, []),
        ('TRUE = "true"', True, []),
        ("2 + 3 * 4", 14, []),
        ("(2 + 3) * 4", 20, []),
        ("-7 / 2", -3, []),
        ("-7 % 2", -1, []),
        ("7 % -2", 1, []),
        ("1 / 0", 0, ["math"]),
        ("1 % 0", 0, ["math"]),
        ("2147483647 + 1", -2147483648, ["math"]),
        ("ABS(-2147483648)", 2147483647, ["math"]),
        ("EXISTS subject", True, []),
        ("EXISTS nothing", False, []),
        ("NOT EXISTS nothing", True, []),
        ("n IN ('7', 8)", True, []),
        ("n NOT IN (1, 2)", True, []),
        ("flag", True, []),
        ("missing", False, ["missingAttribute"]),
        ("missing + 1", 1, ["missingAttribute"]),
        ("LENGTH(missing)", 0, ["missingAttribute"]),
        ("'x' < 1", True, ["cast"]),
        ("LENGTH('é😀')", 2, []),
        ("CONCAT('a', 1, TRUE)", "a1true", []),
        ("CONCAT()", "", []),
        ("CONCAT_WS(',', 'a', 'b')", "a,b", []),
        ("lower('A')", "a", []),
        ("TRIM(' a ')", "a", []),
        ("LEFT('abc', 2)", "ab", []),
        ("RIGHT('abc', 2)", "bc", []),
        ("RIGHT('abc', 9)", "abc", []),
        ("LEFT('abc', -1)", "abc", ["functionEvaluation"]),
        ("SUBSTRING('abcd', 2)", "bcd", []),
        ("SUBSTRING('abcd', -2)", "cd", []),
        ("SUBSTRING('abcd', 2, 2)", "bc", []),
        ("SUBSTRING('abcd', 0)", "", []),
        ("SUBSTRING('abcd', 9)", "", ["functionEvaluation"]),
        ("INT('x')", 0, ["cast"]),
        ("INT('-5')", -5, []),
        ("BOOL('TRUE')", True, []),
        ("STRING(TRUE)", "true", []),
        ("IS_INT('5')", True, []),
        ("IS_BOOL('5')", False, []),
        ("NOPE(1)", False, ["missingFunction"]),
        ("LENGTH('a', 'b')", False, ["missingFunction"]),
        ("-n", -7, []),
        ("5 - 3 - 1", 1, []),
    ],
)
def test_evaluation(expression: str, value: object, errors: list[str]) -> None:
    assert cesql.parse(expression).evaluate(EVENT) == (value, errors)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "a =",
        "type LIKE subject",
        "Type = 'x'",
        "'open",
        "1 2",
        "a NOT b",
        "EXISTS 'x'",
        "f(",
        "a IN ()",
        "2147483648",
        "x;y",
        "()",
        "(" * 500,
        "NOT " * 500 + "a",
        "a" * 5000,
        " AND ".join(["a"] * 500),
    ],
)
def test_parse_errors(expression: str) -> None:
    with pytest.raises(cesql.ParseError):
        cesql.parse(expression)


def test_like_is_not_catastrophic() -> None:
    event = Event("1", "/s", "t", subject="a" * 5_000)
    assert cesql.parse("subject LIKE '" + "%a" * 100 + "%b'").evaluate(event) == (False, [])


@given(st.text(alphabet="abANDOR NOT()'=1%-<", max_size=30))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        value, errors = cesql.parse(text).evaluate(EVENT)
    except cesql.ParseError as error:
        assert str(error)
    else:
        assert isinstance(value, str | int | bool)
        assert set(errors) <= {"math", "cast", "missingFunction", "functionEvaluation", "missingAttribute"}


@pytest.mark.parametrize(
    ("text", "at"), [("XOR", 1), ("id = AND", 6), ("TRUE AND OR FALSE", 10), ("(id", 4), ("a.b", 2)]
)
def test_a_refusal_names_the_character(text: str, at: int) -> None:
    with pytest.raises(cesql.ParseError, match=rf"at character {at}\Z"):
        cesql.parse(text)
