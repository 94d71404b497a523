"""The inference client for code without asyncio: the calls of ``AsyncInferenceClient``, each waiting for its answer.

All clients of a process share one thread with an event loop, so that calls of many threads use one pool of connections
a client. Used by users and notebooks. Must not be used on an event loop: a call there would block it, and is refused.

Invariant: a call returns or raises as its asynchronous twin does; after a fork the child gets a thread of its own.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Self, TypeVar

from wakeful.client.answers import Answer
from wakeful.client.asynchronous import AsyncInferenceClient
from wakeful.core.protocol import oip

T = TypeVar("T")


class _Loop:
    """The process's one event loop for blocking clients."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = 0

    def leave(self, close: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have ``close`` run, without waiting: this may be called in any thread, by the garbage collector."""
        if self._loop is not None and self._pid == os.getpid():
            asyncio.run_coroutine_threadsafe(close(), self._loop)

    def finish(self) -> None:
        """At exit: let what ``leave`` began come to its end."""
        if self._loop is not None and self._pid == os.getpid():
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(asyncio.sleep(0.01), self._loop).result(1.0)

    def get(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or self._pid != os.getpid():
                self._loop = asyncio.new_event_loop()
                self._pid = os.getpid()
                threading.Thread(target=self._loop.run_forever, name="wakeful-client", daemon=True).start()
            return self._loop


_LOOP = _Loop()
atexit.register(_LOOP.finish)


class InferenceClient:
    """Calls of one server's models. Use as ``with InferenceClient(url) as client``, or ``close`` it."""

    def __init__(self, address: str, *, binary: bool = True, **options: Any) -> None:
        self._client = AsyncInferenceClient(address, binary=binary, **options)
        weakref.finalize(self, _LOOP.leave, self._client.close)  # who forgets to close it, and at exit

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        _run(self._client.close())

    def predict(
        self,
        model: str,
        payload: dict[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """The answer to a V1 ``:predict``."""
        return _run(self._client.predict(model, payload, headers=headers, timeout_s=timeout_s))

    def explain(
        self,
        model: str,
        payload: dict[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> dict[str, Any]:
        """The answer to a V1 ``:explain``."""
        return _run(self._client.explain(model, payload, headers=headers, timeout_s=timeout_s))

    def infer(
        self,
        model: str,
        inputs: oip.InferRequest | Mapping[str, Any],
        *,
        outputs: Sequence[str] = (),
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """V2 inference: arrays (or lists) by input name in, arrays by output name out."""
        return _run(
            self._client.infer(
                model, inputs, outputs=outputs, parameters=parameters, headers=headers, timeout_s=timeout_s
            )
        )

    def is_live(self) -> bool:
        """Whether the server answers and says that it lives."""
        return _run(self._client.is_live())

    def is_ready(self, model: str | None = None) -> bool:
        """Whether the server (or that model) is ready. False also where it cannot be reached."""
        return _run(self._client.is_ready(model))

    def models(self) -> list[str]:
        """The names of the server's models."""
        return _run(self._client.models())

    def metadata(self, model: str) -> dict[str, Any]:
        """V2 metadata of a model."""
        return _run(self._client.metadata(model))


def _run(call: Coroutine[Any, Any, T]) -> T:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run_coroutine_threadsafe(call, _LOOP.get()).result()
    call.close()
    raise RuntimeError(
        "InferenceClient would block the event loop it is called on: use AsyncInferenceClient there"
    )
