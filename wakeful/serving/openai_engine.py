"""What answers OpenAI's requests: the ``Engine`` port, and the ``Model`` that carries one.

``openai_edge`` checks a request and asks the data plane for a model's answer to the ``Call``; an ``OpenAIModel`` hands
it to its engine. Adapters: ``openai_local.LocalEngine`` (an engine that speaks words, such as transformers), the runtime
``runtimes.vllm`` (an engine that speaks OpenAI itself), and the tiny one of the tests.

Invariant: an engine's stream may be closed at any part; generation then ends, and nothing of it is left running.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.openai import Call, Task
from wakeful.serving.model import Context, Model


class Engine(Protocol):
    """Answers calls, in OpenAI's own words."""

    @property
    def tasks(self) -> frozenset[Task]:
        """What it can do."""

    async def answer(self, call: Call) -> bytes:
        """The whole body. Cancelled when the caller has gone. Raises ``FailureError``."""

    def stream(self, call: Call) -> AsyncIterator[bytes]:
        """The events, each whole (``data: ...`` and an empty line), without ``[DONE]``. Raises ``FailureError``."""


class OpenAIModel(Model):
    """A model whose ``engine`` answers OpenAI's routes. V1 and V2 are refused, unless a subclass answers them."""

    engine: Engine

    def __init__(self, name: str, aliases: Sequence[str] = ()) -> None:
        super().__init__(name)
        self.aliases = tuple(aliases)
        """Further names in a request's ``model``, such as adapters of the same engine."""

    async def predict(self, payload: Any, context: Context) -> Any:
        """The body of the answer, or its events."""
        if not isinstance(payload, Call):
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"model {self.name} answers /openai/v1/{', '.join(sorted(self.engine.tasks))} only",
            )
        if payload.task not in self.engine.tasks:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"model {self.name} does not do {payload.task}; it does {', '.join(sorted(self.engine.tasks))}",
            )
        return self.engine.stream(payload) if payload.is_stream else await self.engine.answer(payload)
