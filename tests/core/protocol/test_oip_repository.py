"""What a request to load, unload or list models may say: nothing, or what is done here; anything else is refused by its name."""

from __future__ import annotations

from typing import Any

import pytest

from wakeful.core.errors import InvalidError
from wakeful.core.protocol import oip_repository


@pytest.mark.parametrize("body", [b"", b"{}", b'{"parameters":{}}', b'{"parameters":null}'])
@pytest.mark.parametrize("verb", ["load", "unload"])
def test_nothing_asked_for_is_fine(verb: str, body: bytes) -> None:
    oip_repository.check_parameters(verb, oip_repository.members(body, "parameters").get("parameters"))


@pytest.mark.parametrize("value", [True, False])
def test_dependents_are_unloaded_or_not_where_there_are_none(value: bool) -> None:
    oip_repository.check_parameters("unload", {"unload_dependents": value})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "is not valid JSON: unexpected end of data: line 1 column 2"),
        (b"[]", "the request body is an array: send an object, or nothing"),
        (b'{"parameter":{}}', "has 'parameter': its only member may be 'parameters'"),
        (b'{%b}' % b",".join(b'"m%d":1' % n for n in range(10)), "'m7' and 2 more: its only"),
    ],
    ids=["cut-off", "list", "unknown", "many"],
)  # fmt: skip
def test_a_body_that_is_none_is_refused_with_its_place(body: bytes, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        oip_repository.members(body, "parameters")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("verb", "parameters", "words"),
    [
        ("load", {"config": "{}", "file:1/model.onnx": b""}, "parameters 'config', 'file:1/model.onnx' of load are not supp"),
        ("load", {"unload_dependents": False}, "change those, and load it without parameters"),
        ("load", [], "parameters is an array: send an object"),
        ("unload", {"force": True}, "'force' of unload are not supported here: unload takes 'unload_dependents' only"),
        ("unload", {"unload_dependents": "no"}, "parameters.unload_dependents is 'no': send true or false"),
        ("unload", {"unload_dependents": None}, "is None: send true or false"),
    ],
    ids=["load", "dependents", "list", "unload", "text", "null"],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_its_name(verb: str, parameters: Any, words: str) -> None:
    with pytest.raises(InvalidError) as caught:
        oip_repository.check_parameters(verb, parameters)
    assert words in str(caught.value)


def test_the_index_lists_all_or_those_that_are_ready() -> None:
    assert [oip_repository.is_ready_only(asked) for asked in ({}, {"ready": False}, {"ready": True})] == [
        False,
        False,
        True,
    ]
    with pytest.raises(InvalidError, match="ready is 1: send true or false"):
        oip_repository.is_ready_only({"ready": 1})
