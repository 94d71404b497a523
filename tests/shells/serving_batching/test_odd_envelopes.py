"""What users' models answer around their tensors: each protocol gives the same failure, which names it, never "internal error"."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from test_odd_answers import by_grpc, by_rest, serving

from wakeful import kserve
from wakeful.serving import InferRequest, InferResponse, Model, Tensor

NAN = float("nan")


def y(**parameters: Any) -> Tensor:
    return Tensor("y", (1,), "FP32", [1.0], parameters)


def cyclic() -> dict[str, Any]:
    found: list[Any] = []
    found.append(found)
    return {"predictions": found}


CASES: dict[str, tuple[Any, str]] = {
    "none": (InferResponse(None), "InferResponse.outputs is NoneType"),  # type: ignore[arg-type]
    "number": (InferResponse([1]), "outputs[0] that is no tensor"),  # type: ignore[list-item]
    "id": (InferResponse([y()], id=5), "id 5 (int): return text"),  # type: ignore[arg-type]
    "twins": (InferResponse([y(), y()]), "several outputs called 'y'"),
    "set": (InferResponse([y()], parameters={"a": {1}}), "parameter 'a' of the answer as set"),
    "bytes": (InferResponse([y(a=b"x")]), "parameter 'a' of output 'y' as bytes"),
    "nan-name": (InferResponse([y()], parameters={NAN: 1}), "called nan (float): names are text"),  # type: ignore[dict-item]
    "huge": (InferResponse([y()], parameters={"a": 2**70}), "as int, more than 64 bits"),
    "surrogate": (InferResponse([Tensor("y", (1,), "BYTES", ["\ud800"])]), "half of a surrogate pair"),
    "rows-surrogate": ({"predictions": ["\ud800"]}, "the model's answer has no JSON form: str is not valid UTF-8"),
    "rows-tuple": ({"predictions": [{("a", "b"): 1}]}, "the model's answer has no JSON form: Dict key"),
    "rows-huge": ({"predictions": [2**70]}, "the model's answer has no JSON form: Integer exceeds 64-bit"),
    "cyclic": (cyclic(), "the model's answer has no JSON form: Recursion limit"),
}  # fmt: skip


def case_of(payload: Any) -> str:
    asked = payload.parameters if hasattr(payload, "parameters") else payload
    return str(asked["case"])


class Says(Model):
    async def predict(self, payload: Any, context: Any) -> Any:
        return CASES[case_of(payload)][0]


@pytest.mark.parametrize("case", CASES)
async def test_every_protocol_names_the_same(case: str) -> None:
    async with serving(Says("m")) as port:
        said = [*await by_rest(port, case), (await by_grpc(port, case))[1]]
    for text in said:
        assert CASES[case][1] in text, said


class KServeSays(kserve.Model):
    def load(self) -> bool:
        self.ready = True
        return True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        outputs: Any = None if case_of(payload) == "none" else [1]
        return kserve.InferResponse("1", "m", outputs)


@pytest.mark.parametrize("case", ["none", "number"])
async def test_kserves_own_answers_fare_alike(case: str) -> None:
    from wakeful.kserve.model import Served

    async with serving(Served(KServeSays("m"))) as port:
        said = [*await by_rest(port, case), (await by_grpc(port, case))[1]]
    for text in said:
        assert CASES[case][1] in text, said


class Texts(Model):
    async def predict(self, payload: Any, context: Any) -> Any:
        return "\ud800" if payload["case"] == "whole" else iter(["\ud800"])


@pytest.mark.parametrize(("case", "what"), [("whole", "the model's answer"), ("part", "a part of the mode")])
async def test_text_that_is_no_utf8_is_named(case: str, what: str) -> None:
    async with serving(Texts("m")) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/v1/models/m:predict"
        async with session.post(url, json={"case": case}) as response:
            found = (await response.json())["error"]
            assert response.status == 500 and what in found and "return bytes" in found


class Named(Model):
    """Takes text only."""

    takes = "tensors"

    def inputs(self) -> Any:
        from wakeful.serving.model import TensorSpec

        return [TensorSpec("x", "BYTES", (-1,))]

    async def predict(self, payload: InferRequest, context: Any) -> Any:
        return {"predictions": payload.inputs[0].data}


@pytest.mark.parametrize("row", [0, False, None])
async def test_no_number_is_text_to_a_model_that_takes_text(row: Any) -> None:
    async with serving(Named("m")) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/v1/models/m:predict"
        async with session.post(url, json={"instances": ["a", row]}) as response:
            assert response.status == 400 and "which is not BYTES" in (await response.json())["error"]
