"""The gRPC edge put together: server, inference, streams, health, reflection. Called by ``server`` once, when needed.

Imported with the first gRPC request, because protobuf costs 70 ms and some MiB that a server without gRPC does not need.
"""

from __future__ import annotations

from wakeful.kit.http2.connection import Opener
from wakeful.serving import grpc_services, grpc_stream
from wakeful.serving.grpc_edge import InferenceService
from wakeful.serving.grpc_server import GrpcServer, Limits
from wakeful.serving.http_body import Budget
from wakeful.serving.http_edge import Edge
from wakeful.serving.http_meta import Meta
from wakeful.serving.startup import Startup


def opener(edge: Edge, meta: Meta, startup: Startup, budget: Budget, limits: Limits) -> Opener:
    """What makes the owner of each gRPC request."""
    plane = edge.plane
    server = GrpcServer(limits, budget, edge.flights, plane.metrics)
    service = InferenceService(plane, meta, server)
    grpc_stream.StreamInfer(service)
    grpc_services.Health(server, plane.registry, lambda: startup.is_draining)
    grpc_services.Reflection(server)
    return server.open
