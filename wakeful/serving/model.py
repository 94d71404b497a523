"""What a user's model is: the base class, the context of one call, and metadata of tensors.

A subclass overrides what it needs; every method may be sync (run in the bounded thread pool) or ``async`` (run on
the event loop, so it must not block). Called by ``dataplane`` only. Methods may take the payload alone or the payload
and a ``Context``, which is also a mapping of the request's headers, so that code written for KServe's
``predict(payload, headers)`` works. Left out: protocols; a payload is a V1 object (dict), an event's or other raw
``bytes``, or an ``InferRequest``. A transformer is a model that leaves ``predict`` alone: with ``--predictor_host`` the
server gives it a ``predictor``, and the inherited ``predict`` forwards to it.

Invariant: no method of a model is called before its ``load`` has returned, nor after ``unload`` has begun.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from wakeful.core.errors import FailureError, FailureKind
from wakeful.serving.parts import Batching, Joining

if TYPE_CHECKING:
    from cloudevents.core.v1.event import CloudEvent

    from wakeful.serving.http_events import Received

EVENT_STREAM = "text/event-stream"


class Context(Mapping[str, str]):
    """One call's surroundings: request headers (lower-case names), request id, and headers for the answer."""

    __slots__ = (
        "_headers",
        "batch_id",
        "deadline",
        "progress",
        "protocol",
        "received",
        "request_id",
        "response_headers",
    )

    def __init__(self, headers: Mapping[str, str], request_id: str = "", protocol: str = "v1") -> None:
        self._headers = headers
        self.request_id = request_id
        self.protocol = protocol
        self.deadline: float | None = None
        """The event loop's time after which nobody waits for the answer; None: ``--request_timeout_s`` alone."""
        self.progress = ""
        """How far a long call has come, where the model says so: told in the 504 of one that takes too long."""
        self.received: Received | None = None
        """The event that the request carried (``http_events``)."""
        self.batch_id = ""
        """Which batch answered, where the server was asked to tell (``--max_batchsize``)."""
        self.response_headers: dict[str, str] = {}

    @property
    def event(self) -> CloudEvent | None:
        """The CloudEvent that the request carried, its data as ``predict`` gets it; None for any other request."""
        if self.received is None:
            return None
        from wakeful.serving import event_types

        return event_types.given(self.received.event, self.received.payload)

    @property
    def span(self) -> Any:
        """The span of a traced call (``observing``), or None."""
        return getattr(self._headers, "span", None)

    def remaining_s(self) -> float | None:
        """Seconds left for the answer, 0 or more; None where there is no deadline."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    def wants_stream(self, payload: Any) -> bool:
        """Whether the answer is asked for in parts: by ``Accept: text/event-stream``, or ``"stream": true`` in V1."""
        if EVENT_STREAM in self._headers.get("accept", ""):
            return True
        return isinstance(payload, dict) and payload.get("stream") is True

    def __getitem__(self, name: str) -> str:
        return self._headers[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(name.lower() for name in self._headers)

    def __len__(self) -> int:
        return len(self._headers)


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor in V2 metadata; -1 in ``shape`` is a dimension of any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


class LoadError(Exception):
    """A model cannot be loaded; the text is one sentence that names the file and the cause."""


MEMORY_RETRY_S = 5.0


def out_of_memory(text: str) -> FailureError:
    """The failure of a run that found no memory, in the framework's words: it is the server's (503) and may pass."""
    return FailureError(FailureKind.UNAVAILABLE, f"the model found no memory: {text}", MEMORY_RETRY_S)


class Predictor(Protocol):
    """What a transformer or an explainer asks: another server's model (``predictor_client`` has the one there is)."""

    async def predict(self, payload: Any, context: Context) -> Any:
        """The predictor's answer to a V1 object or an ``InferRequest``. Raises ``FailureError`` with its status."""

    def predict_blocking(self, payload: Any, context: Context) -> Any:
        """The same from sync model code, which runs in a thread; never on the event loop."""

    async def is_ready(self) -> bool:
        """Whether the predictor says that its model is ready."""


class Model:
    """Base class of every model. ``name`` is what it is called in URLs."""

    predictor: Predictor | None = None
    """Set by the server where ``--predictor_host`` was given."""
    batching: Batching | Joining | None = None
    """How several requests become one call of ``predict``; None: each request is a call of its own."""

    takes: Literal["either", "rows", "tensors"] = "either"
    """What payloads ``predict`` understands: V1 objects, ``InferRequest``, or either as it came. The other is translated."""

    def __init__(self, name: str) -> None:
        self.name = name

    def load(self) -> Any:
        """Make the model able to answer. Raise (best ``LoadError``) or return False when it cannot be."""
        return True

    def preprocess(self, payload: Any, context: Context) -> Any:
        """Turn the request's payload into what ``predict`` takes."""
        return payload

    async def predict(self, payload: Any, context: Context) -> Any:
        """The answer: a dict (V1), an ``InferResponse`` (V2), str or bytes (sent as they are), or a generator of parts.

        A subclass may make it a plain method. Without one of its own a model asks its ``predictor``.
        """
        if self.predictor is None:
            raise FailureError(FailureKind.UNSUPPORTED, f"model {self.name} has no predict")
        return await self.predictor.predict(payload, context)

    def stream(self, payload: Any, context: Context) -> Any:
        """The answer to ``:predict`` in parts, where the caller asks for that: a generator, sync or async.

        Parts are str or bytes (sent as they are) or anything JSON has a form for (one server-sent event each).
        Without it the caller gets what ``predict`` answers.
        """
        raise FailureError(FailureKind.UNSUPPORTED, f"model {self.name} does not answer in parts")

    def postprocess(self, result: Any, context: Context) -> Any:
        """Turn what ``predict`` or ``explain`` returned into the answer."""
        return result

    def explain(self, payload: Any, context: Context) -> Any:
        """The explanation of a prediction, as a dict."""
        raise FailureError(
            FailureKind.UNSUPPORTED, f"model {self.name} has no explainer: it answers :predict only"
        )

    def unload(self) -> Any:
        """Give back what ``load`` took."""

    def inputs(self) -> list[TensorSpec]:
        """The tensors the model takes, for V2 metadata."""
        return []

    def outputs(self) -> list[TensorSpec]:
        """The tensors the model gives, for V2 metadata."""
        return []

    def platform(self) -> str:
        """The ``platform`` of V2 metadata, such as ``sklearn``."""
        return ""
