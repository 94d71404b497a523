"""Requests of one model that came over HTTP, gRPC and as events wait together and are answered by one call of it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import grpc.aio
import numpy as np
import pytest
from waiting_rig import until

from wakeful import Context, InferRequest, InvalidError, Joining, Model, TensorSpec
from wakeful.core.protocol import arrays, oip, oip_proto_caller
from wakeful.core.protocol.oip_messages import ModelInferRequest, ModelInferResponse
from wakeful.serving.server import Server
from wakeful.serving.settings import Settings
from wakeful.serving.tabular import TabularModel

V1, V2 = "/v1/models/m:predict", "/v2/models/m/infer"


class Gate:
    """Holds the model up; remembers how many rows it got in each call."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.is_open = threading.Event()

    def sums(self, matrix: Any) -> Any:
        self.rows.append(len(matrix))
        self.is_open.wait(20)
        if (matrix < 0).any():
            raise InvalidError("a row is negative")
        return matrix.sum(axis=1)


class Tensors(Model):
    """Any model whose requests are joined as tensors, whatever protocol they came by."""

    takes = "tensors"
    batching = Joining(max_batch_size=64)

    def __init__(self, gate: Gate) -> None:
        super().__init__("m")
        self.gate = gate

    def inputs(self) -> list[TensorSpec]:
        return [TensorSpec("x", "FP64", (-1, 2))]

    def predict(self, payload: Any, context: Context) -> Any:
        assert isinstance(payload, InferRequest)
        sums = self.gate.sums(arrays.to_array(payload.input("x")))
        return oip.InferResponse([arrays.from_array("y", sums)])


class Table(TabularModel):
    """A model of a matrix, as the servers of scikit-learn and its like are."""

    width = 2
    output_name = "y"

    def __init__(self, gate: Gate) -> None:
        super().__init__("m")
        self.gate = gate

    def compute(self, matrix: Any) -> Any:
        return self.gate.sums(matrix)


class Callers:
    """Asks one row over each way in; an answer is the row's sum, or the failure's code."""

    def __init__(self, session: aiohttp.ClientSession, channel: grpc.aio.Channel) -> None:
        self._session = session
        self._infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=ModelInferResponse.FromString,
        )

    def each(self, start: float) -> list[Awaitable[Any]]:
        """One request by each way, with the rows [start, 0.5], [start + 1, 0.5] ..."""
        ways = [self.v1, self.v2, self.binary, self.grpc_raw, self.grpc_typed, self.event, self.structured]
        return [way([start + place, 0.5]) for place, way in enumerate(ways)]

    async def v1(self, row: list[float]) -> Any:
        return await self._predictions(V1, json={"instances": [row]})

    async def event(self, row: list[float]) -> Any:
        headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/t", "ce-type": "t"}
        return await self._predictions(V1, json={"instances": [row]}, headers=headers)

    async def structured(self, row: list[float]) -> Any:
        event = {"specversion": "1.0", "id": "2", "source": "/t", "type": "t", "data": {"instances": [row]}}
        headers = {"Content-Type": "application/cloudevents+json"}
        return await self._predictions("/", data=json.dumps(event), headers=headers)

    async def v2(self, row: list[float]) -> Any:
        async with self._session.post(V2, json={"inputs": [tensor(row, data=row)]}) as answer:
            return (await answer.json())["outputs"][0]["data"] if answer.status == 200 else answer.status

    async def binary(self, row: list[float]) -> Any:
        head = json.dumps({"inputs": [tensor(row, parameters={"binary_data_size": 16})]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        async with self._session.post(V2, data=head + np.array(row).tobytes(), headers=headers) as answer:
            return (await answer.json())["outputs"][0]["data"] if answer.status == 200 else answer.status

    async def grpc_raw(self, row: list[float]) -> Any:
        request = oip.InferRequest([arrays.from_array("x", np.array([row]))])
        return await self._called(oip_proto_caller.encode("m", request))

    async def grpc_typed(self, row: list[float]) -> Any:
        request = ModelInferRequest(model_name="m")
        request.inputs.add(name="x", datatype="FP64", shape=[1, 2]).contents.fp64_contents.extend(row)
        return await self._called(request)

    async def _predictions(self, path: str, **options: Any) -> Any:
        async with self._session.post(path, **options) as answer:
            if answer.status != 200:
                return answer.status
            body = await answer.json(content_type=None)
            return body.get("data", body)["predictions"]

    async def _called(self, request: Any) -> Any:
        try:
            return arrays.to_array(oip_proto_caller.decode(await self._infer(request)).outputs[0]).tolist()
        except grpc.aio.AioRpcError as error:
            return error.code()


def tensor(row: list[float], **more: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, len(row)], "datatype": "FP64", **more}


@asynccontextmanager
async def served(model: Model) -> AsyncIterator[tuple[Server, Callers]]:
    server = Server([model], Settings(http_port=0, http_address="127.0.0.1", drain_quiet_s=0.0), {})
    await server.load()
    await server.listen()
    place = f"127.0.0.1:{server.port}"
    options = [("grpc.enable_http_proxy", 0)]
    async with (
        aiohttp.ClientSession(f"http://{place}") as session,
        grpc.aio.insecure_channel(place, options=options) as channel,
    ):
        try:
            yield server, Callers(session, channel)
        finally:
            model.gate.is_open.set()  # type: ignore[attr-defined]
            await server.drain()


@pytest.mark.parametrize("kind", [Tensors, Table])
async def test_all_ways_in_share_one_batch_and_each_gets_its_own_rows(kind: Any) -> None:
    gate = Gate()
    async with served(kind(gate)) as (server, callers):
        first = asyncio.create_task(callers.v1([0.5, 0.5]))
        await until(lambda: gate.rows == [1])
        waiting = [asyncio.ensure_future(work) for work in callers.each(10.5)]
        await until(lambda: server.pool.calls == 8)
        gate.is_open.set()
        assert await first == [1.0]
        assert await asyncio.gather(*waiting) == [[11.0 + place] for place in range(7)]
        assert gate.rows == [1, 7]
        assert server.pool.calls == 0


@pytest.mark.parametrize("kind", [Tensors, Table])
async def test_one_at_fault_fails_alone_whatever_way_it_came(kind: Any) -> None:
    gate = Gate()
    async with served(kind(gate)) as (server, callers):
        first = asyncio.create_task(callers.v1([0.5, 0.5]))
        await until(lambda: gate.rows == [1])
        bad = [callers.grpc_raw([-9.0, 0.5]), callers.v2([-9.0, 0.5]), callers.event([-9.0, 0.5])]
        waiting = [asyncio.ensure_future(work) for work in [*callers.each(10.5), *bad]]
        await until(lambda: server.pool.calls == 11)
        gate.is_open.set()
        await first
        assert await asyncio.gather(*waiting) == [
            *([11.0 + place] for place in range(7)),
            *(grpc.StatusCode.INVALID_ARGUMENT, 400, 400),
        ]


async def test_text_of_one_protocol_never_meets_bytes_of_another() -> None:
    """JSON's BYTES are text, gRPC's are bytes: together a model would get both in one tensor."""

    class Kinds(Tensors):
        def inputs(self) -> list[TensorSpec]:
            return [TensorSpec("x", "BYTES", (-1, 1))]

        def predict(self, payload: Any, context: Context) -> Any:
            found = payload.input("x").data
            self.gate.rows.append(len(found))
            self.gate.is_open.wait(20)
            kinds = "+".join(sorted({type(value).__name__ for value in found}))
            return oip.InferResponse([oip.Tensor("y", (len(found),), "BYTES", [kinds] * len(found))])

    gate = Gate()
    async with served(Kinds(gate)) as (server, callers):
        text = {"name": "x", "shape": [1, 1], "datatype": "BYTES", "data": ["a"]}
        request = oip.InferRequest([oip.Tensor("x", (1, 1), "BYTES", [b"a"])])

        async def as_text() -> Any:
            async with callers._session.post(V2, json={"inputs": [text]}) as answer:
                return (await answer.json())["outputs"][0]["data"]

        async def as_bytes() -> Any:
            reply = oip_proto_caller.decode(await callers._infer(oip_proto_caller.encode("m", request)))
            return [value.decode() for value in reply.outputs[0].data]

        first = asyncio.create_task(as_text())
        await until(lambda: gate.rows == [1])
        waiting = [asyncio.ensure_future(ask()) for ask in (as_text, as_bytes, as_text, as_bytes)]
        await until(lambda: server.pool.calls == 5)
        gate.is_open.set()
        await first
        assert await asyncio.gather(*waiting) == [["str"], ["bytes"], ["str"], ["bytes"]]
        assert sorted(gate.rows) == [1, 2, 2]
