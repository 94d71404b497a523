"""Requests of a user's model joined row by row, and KServe's batcher flags over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import numpy as np
import pytest
from batching_rig import INTERNAL, ask, plane_of

from wakeful.core.protocol import arrays
from wakeful.serving import InferRequest, InferResponse, Tensor, joining
from wakeful.serving.model import Context, Model
from wakeful.serving.parts import Joining
from wakeful.serving.registry import Stage
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings


class Sums(Model):
    """The sum of each row; remembers how many rows each call had. ``[13]`` fails, ``{"odd": true}`` answers too little."""

    batching: Any = Joining(max_batch_size=64)

    def __init__(self) -> None:
        super().__init__("m")
        self.calls: list[int] = []

    def predict(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, InferRequest):
            array = arrays.to_array(payload.inputs[0])
            self.calls.append(len(array))
            return InferResponse(
                [arrays.from_array("sum", array.sum(axis=1)), arrays.from_array("same", array)]
            )
        rows = payload["instances"]
        self.calls.append(len(rows))
        if [13] in rows:
            raise ValueError("bad luck")
        context.response_headers["X-Rows"] = str(len(rows))
        if payload.get("odd"):
            return {"predictions": [0]}
        return {"predictions": [sum(row) for row in rows], "scale": payload.get("scale")}


class AsyncSums(Sums):
    async def predict(self, payload: Any, context: Context) -> Any:  # type: ignore[override]
        await asyncio.sleep(0)
        return Sums.predict(self, payload, context)


def v1(*rows: Any, **others: Any) -> dict[str, Any]:
    return {"instances": list(rows), **others}


def v2(data: Any, datatype: str = "FP64", name: str = "x") -> InferRequest:
    array = np.array(data, arrays.DTYPES[datatype])
    return InferRequest([arrays.from_array(name, array, datatype)])


@pytest.mark.parametrize("model", [Sums(), AsyncSums()], ids=["sync", "async"])
async def test_rows_are_joined_and_shared_out(model: Sums) -> None:
    plane = plane_of(model)
    answers = await asyncio.gather(
        ask(plane, v1([1, 2])), ask(plane, v1([3, 4], [5, 6])), ask(plane, v1([7, 8]))
    )
    assert answers == [{"predictions": p, "scale": None} for p in ([3], [7, 11], [15])]
    assert model.calls == [4]
    plane.close()


@pytest.mark.parametrize("model", [Sums(), AsyncSums()], ids=["sync", "async"])
async def test_an_error_goes_to_its_request_alone(model: Sums) -> None:
    plane = plane_of(model)
    answers = await asyncio.gather(ask(plane, v1([1])), ask(plane, v1([13])), ask(plane, v1([2])))
    assert answers[1] == (INTERNAL, "ValueError : bad luck")
    assert [a["predictions"] for a in answers[::2]] == [[1], [2]]
    plane.close()


@pytest.mark.parametrize(
    "other",
    [
        v1([1.0, 2.0]), v1([1, 2, 3]), v1([True, 2]), v1([1, 2], scale=2), v1([[1], [2]][0] * 2, scale=2),
        v2([[1, 2]]), {"instances": []}, v1([1, 2], [3]),
    ],
    ids=["floats", "width", "boolean", "member", "member and width", "protocol", "empty", "ragged"],
)  # fmt: skip
async def test_what_differs_never_joins(other: Any) -> None:
    model = Sums()
    plane = plane_of(model)
    await asyncio.gather(ask(plane, v1([1, 2])), ask(plane, other), ask(plane, v1([3, 4])))
    assert sorted(model.calls)[-1] == 2 and len(model.calls) == 2
    plane.close()


@pytest.mark.parametrize("datatype", sorted(set(arrays.DTYPES) - {"BYTES", "BOOL", "BF16"}))
async def test_tensors_are_joined_by_rows(datatype: str) -> None:
    model = Sums()
    plane = plane_of(model)
    answers = await asyncio.gather(*(ask(plane, v2([[n, 1], [n, 2]], datatype)) for n in range(5)))
    for n, answer in enumerate(answers):
        assert arrays.to_array(answer.outputs[0]).tolist() == [n + 1, n + 2]
        same = answer.outputs[1]
        assert (same.shape, same.datatype) == ((2, 2), datatype)
        assert arrays.to_array(same).tolist() == [[n, 1], [n, 2]]
    assert model.calls == [10]
    plane.close()


@pytest.mark.parametrize(
    "other", [v2([[1, 2]], "FP32"), v2([[1, 2, 3]]), v2([[1, 2]], name="y")], ids=["type", "shape", "name"]
)
async def test_tensors_that_differ_never_join(other: InferRequest) -> None:
    model = Sums()
    plane = plane_of(model)
    await asyncio.gather(ask(plane, v2([[1, 2]])), ask(plane, other), ask(plane, v2([[1, 2]])))
    assert sorted(model.calls) == [1, 2]
    plane.close()


class Same(Model):
    """V2 outputs are the inputs, in the form they came."""

    batching = Joining(max_batch_size=64)

    def predict(self, payload: Any, context: Context) -> Any:
        return InferResponse([Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs])


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("BYTES", ["a", "b"]),
        ("BYTES", [b"\xff", b""]),
        ("BOOL", [True, False]),
        ("BF16", memoryview(b"\x80\x3f\0\xc0")),
        ("FP32", memoryview(b"\0\0\x80\x3f\0\0\0\x40")),
    ],
    ids=["text", "bytes", "bool", "bf16", "raw"],
)
async def test_every_form_of_data_comes_back(datatype: str, data: Any) -> None:
    plane = plane_of(Same("m"))
    requests = [InferRequest([Tensor("x", (2, 1), datatype, data)]) for _ in range(3)]
    for answer in await asyncio.gather(*(ask(plane, request) for request in requests)):
        (tensor,) = answer.outputs
        assert (tensor.shape, tensor.datatype) == ((2, 1), datatype)
        assert arrays.raw(tensor) == arrays.raw(requests[0].inputs[0])
    plane.close()


@pytest.mark.parametrize("row", [{}, [], 1.0, {"a": 1}])
def test_many_rows_go_alone_whatever_they_hold(row: Any) -> None:
    """The event loop looks at no more than so many, not even at empty ones."""
    batching = joining.joined_payloads(Stage("predict", Sums().predict, is_async=False), 64, 0.0)
    assert batching.part(v1(*[row] * (joining.MAX_ELEMENTS + 1)), Context({})) is None


async def test_a_model_that_answers_too_little_is_asked_one_by_one() -> None:
    model = Sums()
    plane = plane_of(model)
    for _ in range(4):
        answers = await asyncio.gather(*(ask(plane, v1([n], odd=True)) for n in range(2)))
        assert answers == [{"predictions": [0]}] * 2
    assert model.calls[-2:] == [1, 1]
    plane.close()


class Plain(Sums):
    batching = None


async def test_flags_of_kserves_batcher() -> None:
    model = Plain()
    options = {"http_port": 0, "http_address": "127.0.0.1", "drain_quiet_s": 0.0}
    server = Server([model], Settings(**options, max_batchsize=4, max_latency=50.0), {})  # type: ignore[arg-type]
    await server.load()
    await server.listen()
    base = f"http://127.0.0.1:{server.port}"
    async with aiohttp.ClientSession(base) as session:

        async def post(path: str, body: Any) -> Any:
            async with session.post(path, json=body) as response:
                return response.status, await response.json()

        rows = [post("/v1/models/m:predict", v1([n, n])) for n in range(4)]
        answers = await asyncio.gather(*rows)
        assert [list(body) for _, body in answers] == [["message", "batchId", "predictions"]] * 4
        assert [body["predictions"] for _, body in answers] == [[0], [2], [4], [6]]
        assert len({body["batchId"] for _, body in answers}) == 1 and model.calls == [4]
        status, body = await post("/v1/models/m:predict", v1([13]))
        assert (status, body) == (500, {"error": "ValueError : bad luck"})
        tensor = {"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}
        status, body = await post("/v2/models/m/infer", {"inputs": [tensor]})
        assert (status, body["outputs"][0]["data"]) == (200, [3.0])
    await server.drain()
