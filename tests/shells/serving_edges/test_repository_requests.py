"""Loading and unloading by request: what REST and gRPC are asked beside the name is done or refused, never ignored."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest

from wakeful.core.protocol.oip_messages import message


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("load", "{", "the request body is not valid JSON"),
        ("load", "[]", "the request body is an array"),
        ("load", '{"parameters":{"config":"{}"}}', "parameters 'config' of load are not supported here"),
        ("load", '{"config":"{}"}', "the request body has 'config'"),
        ("unload", '{"parameters":{"unload_dependents":"yes"}}', "parameters.unload_dependents is 'yes'"),
        ("index", '{"ready":"yes"}', "ready is 'yes'"),
    ],
)
async def test_a_wrong_body_changes_nothing(start: Any, verb: str, body: str, words: str) -> None:
    client = await start(enable_repository=True)
    path = "index" if verb == "index" else f"models/m/{verb}"
    status, found, _ = await client.ask("POST", f"/v2/repository/{path}", data=body)
    assert (status, words in found["error"]) == (400, True), found
    assert (await client.ask("GET", "/v2/models/m/ready"))[0] == 200


@pytest.mark.parametrize("body", [None, "{}", '{"parameters":{}}'], ids=["none", "empty", "no-parameters"])
async def test_a_body_that_asks_for_nothing_is_fine(start: Any, body: str | None) -> None:
    client = await start(enable_repository=True)
    for verb in ("unload", "load"):
        answer = await client.ask("POST", f"/v2/repository/models/m/{verb}", data=body)
        assert answer[:2] == (200, {"name": "m", verb: True})


async def test_triton_clients_say_that_dependents_stay_and_list_what_is_ready(start: Any) -> None:
    client = await start(enable_repository=True)
    body = {"parameters": {"unload_dependents": False}}
    assert (await client.ask("POST", "/v2/repository/models/m/unload", json=body))[0] == 200
    listed = await client.ask("POST", "/v2/repository/index", json={"ready": True})
    assert listed[:2] == (200, [])
    assert (await client.ask("POST", "/v2/repository/index"))[1] == [{"name": "m", "state": "UNAVAILABLE"}]


async def test_grpc_reads_the_same_parameters(start: Any) -> None:
    client = await start(enable_repository=True)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{client.server.port}") as channel:

        async def ask(verb: str, **parameters: dict[str, Any]) -> Any:
            request = message(f"inference.RepositoryModel{verb}Request")(
                model_name="m", parameters=parameters
            )
            call = channel.unary_unary(f"/inference.GRPCInferenceService/RepositoryModel{verb}")
            return await call(request.SerializeToString(), timeout=10)

        assert await ask("Unload", unload_dependents={"bool_param": False})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask("Load", config={"string_param": "{}"}, **{"file:1/m": {"bytes_param": b"a"}})
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "'config'" in str(caught.value.details()) and "'file:1/m'" in str(caught.value.details())
        assert (await client.ask("GET", "/v2/models/m/ready"))[0] == 503
        assert await ask("Load")
