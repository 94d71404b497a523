"""KServe's Python surface on Wakeful's model server: a KServe ``Model`` subclass runs by changing its import.

``from kserve import Model, ModelServer`` becomes ``from wakeful.kserve import Model, ModelServer``. What is here and what
is not: docs/reference/python-api.md. Names of ``kserve.protocol.infer_type`` and ``kserve.utils.utils`` are here too.
"""

from __future__ import annotations

from wakeful.kserve import errors, logging, model_server
from wakeful.kserve.errors import (
    InferenceError,
    InvalidInput,
    ModelMissingError,
    ModelNotFound,
    ModelNotReady,
    UnsupportedProtocol,
)
from wakeful.kserve.messages import (
    InferInput,
    InferOutput,
    InferRequest,
    InferResponse,
    RequestedOutput,
    generate_uuid,
    get_predict_input,
    get_predict_response,
)
from wakeful.kserve.model import Model, PredictorConfig, PredictorProtocol
from wakeful.kserve.model_server import ModelServer

__all__ = [
    "InferInput",
    "InferOutput",
    "InferRequest",
    "InferResponse",
    "InferenceError",
    "InvalidInput",
    "Model",
    "ModelMissingError",
    "ModelNotFound",
    "ModelNotReady",
    "ModelServer",
    "PredictorConfig",
    "PredictorProtocol",
    "RequestedOutput",
    "UnsupportedProtocol",
    "errors",
    "generate_uuid",
    "get_predict_input",
    "get_predict_response",
    "logging",
    "model_server",
]
