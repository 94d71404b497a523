"""KServe's ``Model`` for users' subclasses, and how Wakeful's server calls it.

``served`` wraps each model that ``ModelServer`` was given: stages take KServe's messages and plain header dictionaries,
sync and async as the user wrote them; the server sees its own. Exceptions with a ``status_code`` (FastAPI's) keep
that status. Invariant: a stage that the user did not write is not called.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from wakeful.core.errors import FailureError, FailureKind, UpstreamError
from wakeful.core.protocol import oip
from wakeful.kserve import messages
from wakeful.serving import model as serving_model
from wakeful.serving.model import Context, LoadError, TensorSpec

_CONTEXT: contextvars.ContextVar[Context] = contextvars.ContextVar("kserve_context")


class PredictorProtocol(Enum):
    """How a predictor is spoken to."""

    REST_V1 = "v1"
    REST_V2 = "v2"
    GRPC_V2 = "grpc-v2"


@dataclass
class PredictorConfig:
    """Where the predictor of a transformer is."""

    predictor_host: str
    predictor_protocol: str = "v1"
    predictor_use_ssl: bool = False
    predictor_request_timeout_seconds: int = 600
    predictor_request_retries: int = 0
    predictor_health_check: bool = False


class Model:
    """What a user subclasses; as in KServe, ``load`` sets ``ready``."""

    predictor: serving_model.Predictor | None = None

    def __init__(
        self,
        name: str,
        predictor_config: PredictorConfig | bool | None = None,
        return_response_headers: bool = False,
    ) -> None:
        """KServe 0.21 has ``return_response_headers`` second, older ones ``predictor_config``: both are understood."""
        if isinstance(predictor_config, bool):
            return_response_headers = predictor_config
            predictor_config = None
        self.name = name
        self.ready = False
        self.required_response_headers = return_response_headers
        config = predictor_config or PredictorConfig("")
        self.predictor_host: str | None = config.predictor_host or None
        self.protocol: str = config.predictor_protocol
        self.timeout = config.predictor_request_timeout_seconds
        self.use_ssl = config.predictor_use_ssl
        self.retries = config.predictor_request_retries

    def load(self) -> Any:
        """Make the model able to answer; called by the server for a model that is not ready yet."""
        self.ready = True
        return self.ready

    def start(self) -> None:
        """Called before the server listens."""

    def stop(self) -> None:
        """Called when the server has drained."""

    async def healthy(self) -> bool:
        """Whether the model can answer."""
        return self.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """The tensors the model takes, for V2 metadata."""
        return []

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensors the model gives, for V2 metadata."""
        return []

    def validate(self, payload: Any) -> Any:
        """What ``preprocess`` gave, or raise ``InvalidInput``; before ``predict`` and ``explain``."""
        return payload

    def preprocess(self, payload: Any, headers: Any = None) -> Any:
        """Turn the request into what ``predict`` takes."""
        return payload

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """The predictor's answer, where there is a ``predictor_host``."""
        if self.predictor is None:
            raise FailureError(
                FailureKind.UNSUPPORTED, f"model {self.name} has no predict and no predictor_host"
            )
        context = _CONTEXT.get(None) or Context(headers or {})
        if isinstance(payload, messages.InferRequest):
            answer = await self.predictor.predict(messages.core_request(payload), context)
            return messages.response_of(answer)
        return await self.predictor.predict(payload, context)

    def explain(self, payload: Any, headers: Any = None) -> Any:
        """The explanation of a prediction."""
        raise FailureError(FailureKind.UNSUPPORTED, f"model {self.name} has no explain")

    def postprocess(self, result: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Turn the answer of ``predict`` or ``explain`` into what is sent."""
        return result


class Served(serving_model.Model):
    """A KServe model as Wakeful's server calls it."""

    def __init__(self, inner: Model) -> None:
        super().__init__(inner.name)
        self.inner = inner
        self._has_loaded = False
        stages = vars(self)
        stages["preprocess"] = _stage(inner, "preprocess", self._received, None)
        validated = None if type(inner).validate is Model.validate else self._validated
        stages["predict"] = _stage(inner, "predict", validated, None)
        stages["explain"] = _stage(inner, "explain", validated, None)
        stages["postprocess"] = _stage(inner, "postprocess", None, _sent)

    def load(self) -> Any:
        return self._load()

    async def _load(self) -> bool:
        inner = self.inner
        inner.predictor = self.predictor
        before = dict(vars(inner))
        try:
            if self._has_loaded:  # by request: loaded anew, in a thread, as others are served meanwhile
                inner.ready = False
                result = await asyncio.to_thread(inner.load)
            else:
                result = inner.ready or inner.load()
            if inspect.isawaitable(result):
                await result
            if not inner.ready:
                raise LoadError(f"model {self.name}: load() did not set ready to True")
        except BaseException:
            vars(inner).clear()
            vars(inner).update(before)
            raise
        inner.start()
        self._has_loaded = True
        return True

    def unload(self) -> Any:
        self.inner.stop()

    def inputs(self) -> list[TensorSpec]:
        return [_spec(item) for item in self.inner.get_input_types()]

    def outputs(self) -> list[TensorSpec]:
        return [_spec(item) for item in self.inner.get_output_types()]

    def _validated(self, payload: Any, _context: Context) -> Any:
        return self.inner.validate(payload)

    def _received(self, payload: Any, context: Context) -> Any:
        if isinstance(payload, oip.InferRequest):
            return messages.request_of(payload, self.name, context.protocol.startswith("grpc"))
        return payload


def _sent(result: Any) -> Any:
    return messages.core_response(result) if isinstance(result, messages.InferResponse) else result


def _spec(item: dict[str, Any]) -> TensorSpec:
    return TensorSpec(str(item["name"]), str(item["datatype"]), tuple(int(size) for size in item["shape"]))


def _stage(
    inner: Model,
    name: str,
    before: Callable[[Any, Context], Any] | None,
    after: Callable[[Any], Any] | None,
) -> Callable[[Any, Context], Any]:
    """One stage of ``inner`` with the server's signature, a coroutine function where the user's is one."""
    method = getattr(inner, name)
    parameters = inspect.signature(method).parameters.values()
    takes_any = any(item.kind is item.VAR_POSITIONAL for item in parameters)
    positional = sum(item.kind in (item.POSITIONAL_ONLY, item.POSITIONAL_OR_KEYWORD) for item in parameters)
    wants_response_headers = any(item.name == "response_headers" for item in parameters)

    def arguments(payload: Any, context: Context) -> tuple[tuple[Any, ...], dict[str, Any]]:
        _CONTEXT.set(context)
        value = before(payload, context) if before else payload
        extra = {"response_headers": context.response_headers} if wants_response_headers else {}
        return ((value, dict(context)) if positional > 1 or takes_any else (value,)), extra

    if inspect.iscoroutinefunction(method):

        async def call_async(payload: Any, context: Context) -> Any:
            try:
                given, extra = arguments(payload, context)
                result = await method(*given, **extra)
            except Exception as error:
                raise _with_status(error) from error
            return after(result) if after else result

        return call_async

    def call(payload: Any, context: Context) -> Any:
        try:
            given, extra = arguments(payload, context)
            result = method(*given, **extra)
        except Exception as error:
            raise _with_status(error) from error
        return after(result) if after else result

    return call


def _with_status(error: Exception) -> Exception:
    """FastAPI's and Starlette's HTTPException say a status; it is kept."""
    status = getattr(error, "status_code", None)
    if isinstance(status, int) and 400 <= status < 600 and not isinstance(error, FailureError):
        return UpstreamError(status, str(getattr(error, "detail", None) or error))
    return error
