"""The protobuf messages of the gRPC services, from our own proto files (``proto/*.proto``), in a pool of their own.

A pool of its own, because a model's code may import KServe's or Triton's client, whose files define the same package
``inference``: in protobuf's default pool the second one fails. Used by ``oip_proto`` and the model server's gRPC edge.

Invariant: importing this module registers nothing anywhere else.
"""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from wakeful.core.protocol.oip_descriptors import FILES

POOL = descriptor_pool.DescriptorPool()
for _text in FILES.values():
    POOL.Add(descriptor_pb2.FileDescriptorProto.FromString(base64.b64decode(_text)))


def message(name: str) -> Any:
    """The class of a message by its full name, such as ``inference.ModelInferRequest``."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


ModelInferRequest = message("inference.ModelInferRequest")
ModelInferResponse = message("inference.ModelInferResponse")
ModelStreamInferResponse = message("inference.ModelStreamInferResponse")
