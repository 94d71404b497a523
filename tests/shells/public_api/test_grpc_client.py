"""The inference client over gRPC, and transformers whose predictor speaks it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from wakeful import (
    AsyncInferenceClient,
    Context,
    FailureError,
    FailureKind,
    InferRequest,
    InferResponse,
    InvalidError,
    Model,
    Tensor,
    TensorSpec,
    UpstreamError,
)

Start = Callable[..., Awaitable[str]]


class Echo(Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.seen: list[dict[str, str]] = []

    def inputs(self) -> list[TensorSpec]:
        return [TensorSpec("x", "FP32", (-1, 2))]

    async def predict(self, payload: Any, context: Context) -> Any:
        self.seen.append(dict(context))
        assert isinstance(payload, InferRequest)
        if payload.parameters.get("fail"):
            raise InvalidError("the third row is upside down")
        outputs = [Tensor(t.name, t.shape, t.datatype, t.data) for t in payload.inputs]
        return InferResponse(outputs, parameters={"n": 1})


ARRAYS = [
    np.array([[True, False]]),
    np.arange(6, dtype=np.uint8).reshape(2, 3),
    np.array([[-5, 2**62]], dtype=np.int64),
    np.array([0.5, 2.0], dtype=np.float16),
    np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 2, 2),
    np.array(["a", "größer", ""], dtype=object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: str(array.dtype))
async def test_arrays_come_back_as_they_went(start: Start, array: Any) -> None:
    base = (await start(Echo("m"))).replace("http://", "grpc://")
    async with AsyncInferenceClient(base) as client:
        back = (await client.infer("m", {"x": array, "y": array}, outputs=["x"])).only()
    if array.dtype.kind == "O":
        assert [value.decode() for value in back] == array.tolist()
    else:
        assert back.dtype == array.dtype
        np.testing.assert_array_equal(back, array)


async def test_health_metadata_and_errors(start: Start) -> None:
    base = (await start(Echo("m"))).replace("http://", "grpc://")
    async with AsyncInferenceClient(base, retries=0) as client:
        assert (await client.is_live(), await client.is_ready(), await client.is_ready("m")) == (True,) * 3
        assert not await client.is_ready("gone")
        assert (await client.metadata("m"))["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}]
        with pytest.raises(UpstreamError, match="upside down") as caught:
            await client.infer("m", {"x": np.array([1.0])}, parameters={"fail": True})
        assert caught.value.status == 400
        with pytest.raises(UpstreamError, match="does not exist") as caught:
            await client.infer("gone", {"x": np.array([1.0])})
        assert caught.value.status == 404
        with pytest.raises(FailureError, match="needs HTTP"):
            await client.predict("m", {})
        for value in ([1], 2**64, -(2**63) - 1):
            with pytest.raises(
                FailureError, match=r"'a' of the request .* 64-bit numbers and text"
            ) as refused:
                await client.infer("m", {"x": np.array([1.0])}, parameters={"a": value})
            assert refused.value.kind is FailureKind.INVALID


async def test_nobody_there_and_nobody_answering() -> None:
    async with AsyncInferenceClient("grpc://127.0.0.1:1", retries=1) as client:
        began = time.monotonic()
        with pytest.raises(FailureError, match="cannot connect") as caught:
            await client.infer("m", {"x": np.array([1.0])})
        assert caught.value.kind is FailureKind.UNAVAILABLE
        assert time.monotonic() - began < 5


async def test_a_transformer_over_grpc(start: Start) -> None:
    predictor = Echo("m")
    host = (await start(predictor)).removeprefix("http://")
    base = await start(Model("m"), predictor_host=host, predictor_protocol="grpc-v2")
    async with AsyncInferenceClient(base) as client:
        answer = await client.infer(
            "m", {"x": np.array([[1.5]])}, headers={"X-Request-Id": "r-7", "Cookie": "a"}
        )
        np.testing.assert_array_equal(answer.only(), [[1.5]])
        assert await client.predict("m", {"instances": [[1, 2]]}) == {"predictions": [[1, 2]]}
        with pytest.raises(UpstreamError, match="upside down") as caught:
            await client.infer("m", {"x": np.array([1.0])}, parameters={"fail": True})
        assert caught.value.status == 400
    assert predictor.seen[0]["x-request-id"] == "r-7"
    assert "cookie" not in predictor.seen[0]
