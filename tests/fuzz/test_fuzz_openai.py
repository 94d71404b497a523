"""OpenAI requests of any shape: a call or a refusal, never anything else; and a refusal is short."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from wakeful.core.errors import FailureError
from wakeful.core.protocol import openai, openai_errors
from wakeful.core.protocol.openai import TABLES, Task

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATTERNS = st.text("ab(){}[]|*+?\\^$1,9.:=!<>P", max_size=30)


@settings(max_examples=300)
@given(st.sampled_from(list(Task)), st.data())
def test_any_members_are_a_call_or_a_refusal(task: Task, data: st.DataObject) -> None:
    names = st.sampled_from(sorted(TABLES[task]))
    body: dict[str, Any] = data.draw(st.dictionaries(names, VALUES, max_size=6))
    try:
        openai.parse(task, json.dumps(body).encode())
    except FailureError as error:
        problem = openai_errors.render(error)
        assert problem.status == 400
        assert len(json.dumps(problem.body)) < 4000


@settings(max_examples=300)
@given(PATTERNS)
def test_any_pattern_is_taken_or_refused(pattern: str) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "structured_outputs": {"regex": pattern}}
    try:
        call = openai.parse(Task.CHAT, json.dumps(body).encode())
    except openai_errors.RefusedError as error:
        assert error.param == "structured_outputs.regex"
    else:
        assert call.get("structured_outputs") == {"regex": pattern}
