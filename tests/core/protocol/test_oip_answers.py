"""A model's V2 answer as a whole: what no protocol could say is one failure that names it, whatever protocol asks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol import json_values, oip_answers
from wakeful.core.protocol.oip import InferResponse, Tensor

NAN = float("nan")
A_DICT = {"name": "y", "shape": [1], "datatype": "FP32", "data": [1.0]}


def y(name: str = "y", parameters: Any = None) -> Tensor:
    return Tensor(name, (1,), "FP32", [1.0], parameters)


def cyclic() -> dict[str, Any]:
    found: dict[str, Any] = {}
    found["a"] = found
    return found


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (InferResponse(None), "answered without a list of outputs: InferResponse.outputs is NoneType"),  # type: ignore[arg-type]
        (InferResponse("ab"), "InferResponse.outputs is str"),  # type: ignore[arg-type]
        (InferResponse([1]), "outputs[0] that is no tensor: it needs name, shape (a list), datatype and data; it is int"),  # type: ignore[list-item]
        (InferResponse([y(), y("z"), y()]), "several outputs called 'y'"),
        (InferResponse([y("\ud800")]), r"output '\ud800', whose name is no UTF-8"),
        (InferResponse([y()], id=5), "id 5 (int): return text"),  # type: ignore[arg-type]
        (InferResponse([y()], id="\ud800"), r"id '\ud800' (str): return text"),
        (InferResponse([y()], model_version=5), "model_version 5 (int): return text"),  # type: ignore[arg-type]
        (InferResponse([y()], parameters=[1]), "list as parameters of the answer: return a dict"),  # type: ignore[arg-type]
        (InferResponse([y()], parameters={NAN: 1}), "parameter of the answer called nan (float): names are text"),  # type: ignore[dict-item]
        (InferResponse([y()], parameters={"\ud800": 1}), r"called '\ud800' (str)"),
        (InferResponse([y()], parameters={"a": {1}}), "parameter 'a' of the answer as set: return text, a boolean or a number"),
        (InferResponse([y()], parameters={"a": b"x"}), "as bytes: return text"),
        (InferResponse([y()], parameters={"a": 2**64}), "as int, more than 64 bits"),
        (InferResponse([y()], parameters={"a": "\ud800"}), "as str, no UTF-8"),
        (InferResponse([y()], parameters={"a": [{1}]}), "as list: set is not JSON serializable"),
        (InferResponse([y()], parameters=cyclic()), "as dict: Recursion limit reached"),
        (InferResponse([y(parameters={"a": {1}})]), "parameter 'a' of output 'y' as set"),
        (InferResponse([y(parameters=[1])]), "list as parameters of output 'y'"),
        (InferResponse([{**A_DICT, "parameters": {"a": b""}}]), "parameter 'a' of output 'y' as bytes"),  # type: ignore[list-item]
        (InferResponse([Tensor("y", (2,), "BYTES", ["a", "\udcff"])]), r"'\udcff' as element 1, half of a surrogate pair"),
        (InferResponse([Tensor("y", (1,), "BYTES", np.array(["\ud800"]))]), r"'\ud800' as element 0"),
    ],
)  # fmt: skip
def test_what_no_protocol_could_say_is_named(answer: InferResponse, words: str) -> None:
    with pytest.raises(FailureError) as caught:
        oip_answers.whole(answer, "model m")
    assert caught.value.kind is FailureKind.INTERNAL
    assert str(caught.value).startswith("model m answered ") and words in str(caught.value).replace(
        "\\\\", "\\"
    )


def test_what_they_can_say_stays() -> None:
    parameters = {"a": NAN, "b": 2**64 - 1, "c": None, "d": True, "e": "ü", "f": [1], "g": -(2**63)}
    answer = InferResponse([y(parameters={"a": 1}), A_DICT | {"name": "z"}], "m", "id", "1", parameters)  # type: ignore[list-item]
    found = oip_answers.whole(answer)
    assert (found.id, found.model_version, found.parameters) == ("id", "1", parameters)
    assert [(tensor.name, tensor.parameters) for tensor in found.outputs] == [("y", {"a": 1}), ("z", {})]
    text = Tensor("y", (2,), "BYTES", ["ü", b"\xff"])
    assert oip_answers.whole(InferResponse([text])).outputs[0].data == ["ü", b"\xff"]


def test_numpys_scalars_are_plain_parameters() -> None:
    given = {"a": np.float32(1.5), "b": np.int8(2), "c": np.bool_(True), "d": np.array(3)}
    found = oip_answers.whole(InferResponse([y()], parameters=given)).parameters
    assert found == {"a": 1.5, "b": 2, "c": True, "d": 3} and type(found["b"]) is int
    wide = np.longdouble(1)  # Python has no such number: as JSON carries it
    assert oip_answers.whole(InferResponse([y()], parameters={"a": wide})).parameters == {"a": wide}


def test_text_that_is_no_utf8_is_named_and_the_rest_sent() -> None:
    assert json_values.text("ü") == "ü".encode() and json_values.is_utf8("ü")
    with pytest.raises(FailureError, match=r"no UTF-8 \('\\+ud800' at character 2\): return bytes"):
        json_values.text("ab\ud800")
