"""Health and reflection by their official clients, and what the server tells about itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from wakeful.core.protocol.oip_messages import message

SERVICE = "inference.GRPCInferenceService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


async def test_health_of_the_server_and_of_each_model(rig: Any) -> None:
    health = health_pb2_grpc.HealthStub(rig.channel)
    for name in ("", SERVICE, "m"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == SERVING, name
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="nope"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_watch_tells_of_changes(rig: Any) -> None:
    watch = health_pb2_grpc.HealthStub(rig.channel).Watch(health_pb2.HealthCheckRequest(service="m"))
    assert (await watch.read()).status == SERVING
    await rig.server.registry.unload("m")
    assert (await asyncio.wait_for(watch.read(), 5)).status == NOT_SERVING
    watch.cancel()


async def test_reflection_gives_every_service_and_its_messages(rig: Any) -> None:
    def ask() -> tuple[list[str], list[str]]:
        with grpc.insecure_channel(
            f"127.0.0.1:{rig.server.port}", [("grpc.enable_http_proxy", 0)]
        ) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            services = sorted(database.get_services())
            pool = DescriptorPool(database)
            found = pool.FindServiceByName(SERVICE)
            fields = pool.FindMessageTypeByName("inference.ModelInferRequest").fields_by_number
            return services, [method.name for method in found.methods] + [fields[7].name]

    services, names = await asyncio.to_thread(ask)
    assert services == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        SERVICE,
    ]
    assert {"ModelInfer", "ModelStreamInfer", "raw_input_contents"} <= set(names)


async def test_reflection_of_the_unknown_is_an_answer(rig: Any) -> None:
    for version in ("v1", "v1alpha"):
        package = f"grpc.reflection.{version}"
        request = message(f"{package}.ServerReflectionRequest")(file_containing_symbol="no.such.Thing")
        stream = rig.channel.stream_stream(f"/{package}.ServerReflection/ServerReflectionInfo")()
        await stream.write(request.SerializeToString())
        answer = message(f"{package}.ServerReflectionResponse").FromString(await stream.read())
        assert answer.error_response.error_code == 5
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF


async def test_what_the_server_tells(rig: Any) -> None:
    def request(kind: str, /, **values: Any) -> Any:
        return message(f"inference.{kind}Request")(**values)

    assert (await rig.method("ServerLive")(request("ServerLive"))).live
    assert (await rig.method("ServerReady")(request("ServerReady"))).ready
    assert (await rig.method("ModelReady")(request("ModelReady", name="m"))).ready
    assert (await rig.method("ServerMetadata")(request("ServerMetadata"))).name == "wakeful"
    assert (await rig.method("ModelMetadata")(request("ModelMetadata", name="m"))).name == "m"
    index = await rig.method("RepositoryIndex")(request("RepositoryIndex"))
    assert [(m.name, m.state) for m in index.models] == [("m", "READY")]


async def test_load_and_unload_in_the_words_of_both_clients(start: Any, infer: Any) -> None:
    rig = await start(enable_repository=True)
    load, unload = (
        message("inference.RepositoryModelLoadRequest"),
        message("inference.RepositoryModelUnloadRequest"),
    )
    assert (await rig.method("RepositoryModelUnload")(unload(first_name="m"))).isUnloaded
    ready = message("inference.ModelReadyRequest")
    assert (await rig.method("ModelReady")(ready(name="m"))).ready is False
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rig.method("ModelInfer")(infer())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert (await rig.method("RepositoryModelLoad")(load(first_name="", model_name="m"))).isLoaded
    assert await rig.method("ModelInfer")(infer())


async def test_statistics_count_good_and_bad(rig: Any, infer: Any) -> None:
    await rig.method("ModelInfer")(infer())
    with pytest.raises(grpc.aio.AioRpcError):
        await rig.method("ModelInfer")(infer(do="raise"))
    request = message("inference.ModelStatisticsRequest")(name="m")
    counted = (await rig.method("ModelStatistics")(request)).model_stats[0].inference_stats
    assert (counted.success.count, counted.fail.count) == (1, 1)


async def test_where_only_failures_are_lines_calls_that_end_well_cost_nothing_and_failures_are_there(
    start: Any, infer: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    rig = await start()
    for asked in (infer(), infer(model="nope"), infer(do="raise")):
        with contextlib.suppress(grpc.aio.AioRpcError):
            await rig.method("ModelInfer")(asked, metadata=(("x-request-id", "r1"),))
    stream = rig.stream()
    for asked in (infer(), infer(do="raise")):
        await stream.write(asked)
        await stream.read()
    stream.cancel()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"answered"' in line]
    told = [(line["status"], line["path"].rpartition("/")[2]) for line in lines]
    assert told == [(500, "ModelInfer"), (500, "ModelStreamInfer")]
    assert lines[0]["request_id"] == "r1"
    for line in lines:
        assert line["bytes_in"] > 0 and line["bytes_out"] > 0 and line["duration_ms"] > 0


async def test_observers_see_calls(start: Any, infer: Any, capfd: pytest.CaptureFixture[str]) -> None:
    rig = await start(access_log="all")
    await rig.method("ModelInfer")(infer(), metadata=(("x-request-id", "r1"),))
    with pytest.raises(grpc.aio.AioRpcError):
        await rig.method("ModelInfer")(infer(model="nope"))
    stream = rig.stream()
    await stream.write(infer())
    await stream.read()
    stream.cancel()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if '"answered"' in line]
    told = [(line["status"], line["scheme"], line["path"].rpartition("/")[2]) for line in lines]
    assert told == [
        (200, "grpc", "ModelInfer"),
        (404, "grpc", "ModelInfer"),
        (200, "grpc", "ModelStreamInfer"),
    ]
    assert lines[0]["request_id"] == "r1" and lines[0]["bytes_in"] > 0 and lines[0]["bytes_out"] > 0
