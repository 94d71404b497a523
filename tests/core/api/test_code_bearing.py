"""Which model files run code, and the words by which the storage initializer tells the controller."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wakeful.core.api import code_bearing
from wakeful.core.api.code_bearing import Policy


@pytest.mark.parametrize(
    ("name", "model_format", "expected"),
    [
        ("model.joblib", "sklearn", True),
        ("a/b/MODEL.PKL", "sklearn", True),
        ("model.skops", "sklearn", False),
        ("model.pkl", "xgboost", False),
        ("model.pkl", None, True),
        ("model.onnx", None, False),
        ("model.safetensors", "pytorch", False),
        ("model.pt", "pytorch", True),
        ("", "sklearn", False),
    ],
)
def test_by_extension_and_format(name: str, model_format: str | None, expected: bool) -> None:
    assert code_bearing.is_code_bearing(name, model_format) is expected


@given(st.lists(st.text(), max_size=20))
def test_the_report_says_what_it_was_given(names: list[str]) -> None:
    assert code_bearing.parse(code_bearing.render(names)) == names[: code_bearing.MOST_NAMES]


@pytest.mark.parametrize(
    "message", ["", "done", "[]", "{}", '{"codeBearing": 3}', "null", '{"codeBearing": {}}']
)
def test_other_words_are_no_report(message: str) -> None:
    assert code_bearing.parse(message) is None


def test_only_text_is_a_name() -> None:
    assert code_bearing.parse('{"codeBearing": ["a", 3, null]}') == ["a"]


def test_policies_in_any_case() -> None:
    assert [code_bearing.policy_of(word) for word in ("", "allow", "REFUSE", "maybe")] == [
        Policy.WARN,
        Policy.ALLOW,
        Policy.REFUSE,
        None,
    ]
