"""The gRPC edge put together: server, inference, streams, health, reflection. Called by ``server`` once, when needed.

Imported with the first gRPC request, because protobuf costs 70 ms and some MiB that a server without gRPC does not need.
"""

from __future__ import annotations

from wakeful.kit.http2.connection import Opener
from wakeful.serving import grpc_services, grpc_stream
from wakeful.serving.grpc_edge import InferenceService
from wakeful.serving.grpc_server import GrpcServer, Limits
from wakeful.serving.http_edge import Edge
from wakeful.serving.observing import Observed
from wakeful.serving.startup import Startup
from wakeful.serving.wire.connections import Connections


def opener(edge: Edge, startup: Startup, shared: Connections, limits: Limits) -> Opener:
    """What makes the owner of each gRPC request."""
    plane = edge.plane
    observed = shared.handler if isinstance(shared.handler, Observed) else None
    server = GrpcServer(limits, shared.budget, edge.flights, plane.metrics, observed)
    service = InferenceService(plane, edge.meta, server)
    grpc_stream.StreamInfer(service)
    grpc_services.Health(server, plane.registry, lambda: startup.is_draining)
    grpc_services.Reflection(server)
    return server.open
