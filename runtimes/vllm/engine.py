"""vLLM as an ``Engine`` and as a ``Model``: start it, pass calls on, watch it, stop it.

The engine fronts vLLM's own server instead of embedding it (docs/decisions/0113): its templates, tool parsers and
formats are used as they are, its version is the image's, and its end is seen as the end of a process. What the front
closes: routes for development and media, draining, tools without ``strict``.

Invariant: once vLLM has ended unexpectedly nothing is answered any more but failures, and the process ends (status 1)
with vLLM's last words.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from typing import Any

from runtimes.vllm import flags, process
from runtimes.vllm.stream import EventStream
from runtimes.vllm.upstream import Upstream
from wakeful.core.errors import FailureError, FailureKind
from wakeful.core.protocol.openai import Call, Task
from wakeful.kit import logs
from wakeful.serving.model import LoadError
from wakeful.serving.openai_engine import OpenAIModel

PATHS = {task: f"/v1/{task.value}" for task in Task}
POLL_S = 0.25
WATCH_S = 5.0
SICK_TIMES = 3
"""How often in a row /health says 503 (the engine behind it is dead) before it is ended."""

log = logs.get("vllm")


class VllmEngine:
    """Calls to one vLLM server."""

    def __init__(self, upstream: Upstream, model_name: str, tasks: frozenset[Task]) -> None:
        self._upstream = upstream
        self._model_name = model_name
        self.tasks = tasks
        self.death = ""
        """How vLLM ended, where it has."""

    async def answer(self, call: Call) -> bytes:
        """vLLM's body."""
        self._check(call)
        return await self._upstream.answer(PATHS[call.task], self._body(call))

    def stream(self, call: Call) -> EventStream:
        """vLLM's events."""
        self._check(call)
        body = self._body(call) | {"stream": True}
        if call.wants_usage:
            body["stream_options"] = {
                "include_usage": True,
                "continuous_usage_stats": call.wants_running_usage,
            }
        return self._upstream.stream(PATHS[call.task], body)

    def _check(self, call: Call) -> None:
        if self.death:
            raise FailureError(FailureKind.UNAVAILABLE, "the engine has ended; the server restarts")
        if call.is_stream and call.task not in (Task.CHAT, Task.COMPLETIONS):
            raise FailureError(FailureKind.UNSUPPORTED, f"{call.task} cannot be streamed")

    def _body(self, call: Call) -> dict[str, Any]:
        body = {**call.members, "model": call.model or self._model_name}
        choice = body.get("tool_choice")
        if choice == "required" or isinstance(choice, dict):
            body["tools"] = [_strict(tool) for tool in body["tools"]]
        return body


def _strict(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool that has to be called gets arguments that fit its schema: without ``strict`` vLLM only hopes for them."""
    function = tool["function"]
    return {**tool, "function": {"parameters": {"type": "object"}, "strict": True, **function}}


class VllmModel(OpenAIModel):
    """The model that vLLM serves."""

    def __init__(self, parsed: flags.Flags, environ: Mapping[str, str]) -> None:
        super().__init__(parsed.settings.model_name, parsed.aliases)
        self._flags = parsed
        self._environ = environ
        self._process: process.VllmProcess | None = None
        self._upstream: Upstream | None = None
        self._watching: asyncio.Task[None] | None = None
        self.death = ""
        self.end: Callable[[], object] = lambda: signal.raise_signal(signal.SIGTERM)
        """How the whole server is told to end when vLLM has."""

    async def load(self) -> None:
        """Start vLLM and wait until it answers. Raises ``LoadError`` with its last words."""
        if self._process is not None:  # two at once would need twice the memory
            raise LoadError("vLLM is not loaded anew while it runs: unload the model first")
        options = self._flags.settings
        program = process.program(options.vllm_command, self._environ)
        self._process = process.VllmProcess()
        self._upstream = Upstream(self._process.socket)
        try:
            argv = flags.command(self._flags, program, self._process.socket)
            await self._process.start(argv, process.environment(self._environ, options.model_dir))
            await self._wait_until_up(options.load_timeout_s)
            tasks = _tasks(await self._upstream.routes())
        except BaseException:
            await self.unload()
            raise
        engine = VllmEngine(self._upstream, self.name, tasks)
        self.engine = engine
        self._watching = asyncio.create_task(self._watch(self._process, engine))
        log.info("vLLM is up", tasks=sorted(tasks))

    async def _wait_until_up(self, timeout_s: float) -> None:
        assert self._process is not None and self._upstream is not None
        ended = asyncio.create_task(self._process.ended())
        try:
            async with asyncio.timeout(timeout_s):
                while await self._upstream.health() != 200:
                    done, _ = await asyncio.wait((ended,), timeout=POLL_S)
                    if done:
                        raise LoadError(ended.result())
        except TimeoutError as error:
            raise LoadError(
                f"vLLM did not answer within --load_timeout_s={timeout_s:g}: {self._process.cause()}"
            ) from error
        finally:
            ended.cancel()

    async def _watch(self, child: process.VllmProcess, engine: VllmEngine) -> None:
        """Until vLLM ends: then nothing can be answered, and whoever runs this server starts it anew."""
        assert self._upstream is not None
        ended = asyncio.create_task(child.ended())
        sick = 0
        try:
            while not (await asyncio.wait((ended,), timeout=WATCH_S))[0]:
                sick = sick + 1 if await self._upstream.health() == 503 else 0
                if sick >= SICK_TIMES:
                    self.death = "vLLM's engine is dead: " + child.cause()
                    break
            else:
                self.death = ended.result()
        finally:
            ended.cancel()
        engine.death = self.death
        log.error("vLLM has ended", cause=self.death)
        self.end()

    async def unload(self) -> None:
        """Stop watching, then vLLM."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._upstream is not None:
            await self._upstream.close()
            self._upstream = None
        if self._process is not None:
            await self._process.stop()
            self._process = None

    async def metrics_text(self) -> str:
        """vLLM's metrics, for ``/metrics``."""
        return "" if self._upstream is None else await self._upstream.metrics()

    def platform(self) -> str:
        return "vllm"


def _tasks(routes: list[str]) -> frozenset[Task]:
    """What this vLLM does, by the routes it has. Raises ``LoadError`` where that is nothing we know."""
    tasks = frozenset(task for task, path in PATHS.items() if path in routes)
    if not tasks:
        raise LoadError("this vLLM has none of the routes " + ", ".join(PATHS.values()))
    return tasks
