"""The services every gRPC server has: health (``grpc.health.v1``) and reflection (v1 and v1alpha).

Health follows readiness, as a whole (service ``""``), for the inference service, and for each model by its name.
Reflection answers with our own proto files, so that grpcurl works without any; it tells nothing about models.

Invariant: health is NOT_SERVING from the moment the server drains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError

from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol.oip_messages import POOL, message
from wakeful.serving.grpc_call import UnaryCall
from wakeful.serving.grpc_edge import SERVICE
from wakeful.serving.grpc_messages import Buffer
from wakeful.serving.grpc_server import GrpcServer
from wakeful.serving.grpc_status import Status
from wakeful.serving.grpc_stream_call import StreamCall
from wakeful.serving.registry import Registry, State

HEALTH = "grpc.health.v1.Health"
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
WATCH_S = 0.5
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


class Health:
    """``Check`` and ``Watch``."""

    def __init__(self, server: GrpcServer, registry: Registry, is_draining: Callable[[], bool]) -> None:
        self._registry = registry
        self._is_draining = is_draining
        self._request = message("grpc.health.v1.HealthCheckRequest")
        self._response = message("grpc.health.v1.HealthCheckResponse")
        server.add(HEALTH, {"Check": self._check})
        server.add(HEALTH, {"Watch": self._watch}, streams=True)

    def _check(self, call: UnaryCall) -> None:
        status = self._status(_read(self._request, call.message).service)
        if status == SERVICE_UNKNOWN:
            raise FailureError(FailureKind.NOT_FOUND, "there is no such service or model here")
        call.reply([self._response(status=status).SerializeToString()])

    async def _watch(self, call: StreamCall) -> None:
        first = await call.receive()
        service = _read(self._request, first or b"").service
        told = 0
        while not (told == NOT_SERVING and self._is_draining()):
            status = self._status(service)
            if status != told:
                told = status
                await call.send([self._response(status=status).SerializeToString()])
            await asyncio.sleep(WATCH_S)

    def _status(self, service: str) -> int:
        registry = self._registry
        if service in ("", SERVICE, HEALTH):
            is_ready = registry.is_ready()
        elif service in registry.names():
            is_ready = registry.entry(service).state is State.READY
        else:
            return SERVICE_UNKNOWN
        return SERVING if is_ready and not self._is_draining() else NOT_SERVING


class Reflection:
    """Both versions, whose messages are the same."""

    def __init__(self, server: GrpcServer) -> None:
        self._server = server
        for service in REFLECTION:
            package = service.rpartition(".")[0]
            server.add(service, {"ServerReflectionInfo": partial(self._answer, package)}, streams=True)

    async def _answer(self, package: str, call: StreamCall) -> None:
        request_class = message(f"{package}.ServerReflectionRequest")
        response_class = message(f"{package}.ServerReflectionResponse")
        while (content := await call.receive()) is not None:
            request = _read(request_class, content)
            answer = self._told(request)
            response = response_class(valid_host=request.host, original_request=request, **answer)
            await call.send([response.SerializeToString()])

    def _told(self, request: Any) -> dict[str, Any]:
        kind = request.WhichOneof("message_request")
        try:
            match kind:
                case "list_services":
                    names = [{"name": name} for name in self._server.services]
                    return {"list_services_response": {"service": names}}
                case "file_by_filename":
                    return _file(POOL.FindFileByName(request.file_by_filename))
                case "file_containing_symbol":
                    return _file(POOL.FindFileContainingSymbol(request.file_containing_symbol))
                case "all_extension_numbers_of_type":
                    name = request.all_extension_numbers_of_type
                    POOL.FindMessageTypeByName(name)
                    return {"all_extension_numbers_response": {"base_type_name": name}}
        except (KeyError, TypeError):
            return _unknown(Status.NOT_FOUND, "there is no such file or symbol here")
        return _unknown(Status.NOT_FOUND, f"nothing is known about {kind or 'an empty question'}")


def _file(file: Any) -> dict[str, Any]:
    return {"file_descriptor_response": {"file_descriptor_proto": [file.serialized_pb]}}


def _unknown(status: Status, text: str) -> dict[str, Any]:
    return {"error_response": {"error_code": int(status), "error_message": text}}


def _read(kind: Any, content: Buffer) -> Any:
    try:
        return kind.FromString(content)
    except DecodeError as error:
        raise InvalidError(f"the message is no {kind.DESCRIPTOR.name}") from error
