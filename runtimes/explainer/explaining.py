"""What both explainers share: one explanation at a time, in a thread, stopped when nobody waits for it any more.

``model`` and ``gradients`` derive from ``Explainer`` and say what to do with rows. One at a time, because the libraries keep
state between calls (numpy's global generator, a network's threads) and two take as long side by side; a few more
wait, the next one hears 503. The server's loop stays free: probes and ``:predict`` are answered meanwhile.
Left out: deadlines, which the data plane keeps: it cancels ``explain``, and says in its 504 what ``Course`` left there.

Invariant: after its request has ended (an answer, a deadline, a caller that went) an explanation takes no further step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from functools import partial
from typing import Any

from runtimes.explainer import parameters
from runtimes.explainer.parameters import Parameters
from runtimes.explainer.settings import ExplainerSettings
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import v1
from wakeful.serving.model import Context, Model
from wakeful.serving.pool import Pool


class Course:
    """How far one explanation has come. Its thread takes steps; ``stop`` comes from the loop."""

    def __init__(self, context: Context, advice: str) -> None:
        self.context = context
        self.calls = 0
        self.rows = 0
        self._advice = advice
        self._loop = asyncio.get_running_loop()
        self._is_stopped = False
        self._waiting: Future[Any] | None = None

    def step(self, what: str, rows: int) -> None:
        """Say that ``what`` (the predictor was asked) is about to happen for ``rows``. Raises ``FailureError`` once stopped."""
        if self._is_stopped:
            raise FailureError(FailureKind.CANCELLED, "nobody waits for this explanation any more")
        self.calls += 1
        self.rows += rows
        self.context.progress = f"{what} {self.calls} times, for {self.rows} rows in all; {self._advice}"

    def wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        """What ``work`` gives on the loop. Raises ``FailureError`` once stopped, ``work`` cancelled."""
        self._waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        if self._is_stopped:  # between the two: stop has not seen it
            self._waiting.cancel()
        try:
            return self._waiting.result()
        except CancelledError as error:
            raise FailureError(FailureKind.CANCELLED, "nobody waits for this explanation any more") from error
        except FailureError as error:
            if error.kind is not FailureKind.DEADLINE:
                raise
            raise FailureError(error.kind, f"{error}: {self.context.progress}") from error

    def stop(self) -> None:
        """Take no further step."""
        self._is_stopped = True
        if self._waiting is not None:
            self._waiting.cancel()


class Explainer(Model):
    """A model that explains, by ``explained``."""

    takes_parameters: tuple[str, ...] = ()
    """What a request's ``parameters`` may name."""

    def __init__(self, settings: ExplainerSettings) -> None:
        super().__init__(settings.model_name)
        self.settings = settings
        self.fewest_samples = 1
        """With fewer than this an explanation would be chance."""
        self._turns = self._new_turns()

    def explained(self, rows: list[Any], wanted: Parameters, course: Course) -> list[dict[str, Any]]:
        """One explanation a row. In a thread, one call at a time."""
        raise NotImplementedError

    async def explain(self, payload: Any, context: Context) -> Any:
        if not isinstance(payload, dict):
            raise InvalidError('an explanation is asked for by {"instances": [...]}')
        rows, limit = v1.rows(payload), self.settings.max_explained_rows
        if len(rows) > limit:
            raise InvalidError(
                f"{len(rows)} rows: one request may ask for the explanation of at most {limit}"
            )
        wanted = parameters.of(payload, self.takes_parameters, self.settings, self.fewest_samples)
        context.progress = f"{self._turns.calls} explanations were before it, one is computed at a time"
        advice = f'ask for fewer rows (now {len(rows)}) or fewer "samples" (now {wanted.samples})'
        course = Course(context, advice)
        try:
            found = await self._turns.run(partial(self.explained, rows, wanted, course))
        finally:
            course.stop()
        return {"explanations": found, "method": self.settings.method}

    def unload(self) -> Any:
        self._turns.close()
        self._turns = self._new_turns()  # it may be loaded again

    def _new_turns(self) -> Pool:
        return Pool(1, self.settings.max_waiting, "explanation")
