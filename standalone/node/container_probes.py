"""The probes of a running container: startup first, then readiness and liveness side by side.

Called by container for each start; cancelled when the container ends. What results mean is decided by probe_state.
Invariant: a container without a readiness probe is ready as soon as it has started; one with a probe is ready only
while the probe says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from standalone.node import probe_state
from standalone.node.context import Node
from standalone.node.probe_state import Kind
from standalone.node.probing import Target

Obj = dict[str, Any]


class Watched(Protocol):
    """The container that probes report to."""

    spec: Obj

    def set_ready(self, is_ready: bool) -> None: ...

    def set_started(self) -> None: ...

    def unhealthy(self, message: str) -> None: ...

    async def kill(self, message: str) -> None: ...


async def run(node: Node, target: Target, watched: Watched) -> None:
    """Probe until cancelled. What a probe cannot handle is raised, and no loop goes on then."""
    spec = watched.spec
    if (startup := spec.get("startupProbe")) is not None and not await _startup(
        node, target, watched, startup
    ):
        return
    watched.set_started()
    readiness, liveness = spec.get("readinessProbe"), spec.get("livenessProbe")
    if readiness is None:
        watched.set_ready(True)
    async with asyncio.TaskGroup() as loops:
        if readiness is not None:
            loops.create_task(_loop(node, target, watched, Kind.READINESS, readiness, watched.set_ready))
        if liveness is not None:
            loops.create_task(_liveness(node, target, watched, liveness))


async def _startup(node: Node, target: Target, watched: Watched, probe: Obj) -> bool:
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    def decided(verdict: bool) -> None:
        if not outcome.done():
            outcome.set_result(verdict)

    loop = asyncio.ensure_future(_loop(node, target, watched, Kind.STARTUP, probe, decided))
    try:
        either: set[asyncio.Future[Any]] = {outcome, loop}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not outcome.done():
            await loop  # it ended without a verdict: raise what it met
        is_started = outcome.result()
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
    if not is_started:
        await watched.kill(f"Container {watched.spec['name']} failed startup probe, will be restarted")
    return is_started


async def _liveness(node: Node, target: Target, watched: Watched, probe: Obj) -> None:
    def verdict(is_alive: bool) -> None:
        if not is_alive:
            raise _DeadError

    try:
        await _loop(node, target, watched, Kind.LIVENESS, probe, verdict)
    except _DeadError:
        watched.set_ready(False)
        await watched.kill(f"Container {watched.spec['name']} failed liveness probe, will be restarted")


class _DeadError(Exception):
    """The liveness probe failed for good; never leaves this module."""


async def _loop(
    node: Node,
    target: Target,
    watched: Watched,
    kind: Kind,
    probe: Obj,
    report: Callable[[bool], None],
) -> None:
    clock = asyncio.get_running_loop().time
    state = probe_state.begin(probe_state.parse_timing(kind, probe), clock())
    while True:
        await asyncio.sleep(max(0.0, state.due_at - clock()))
        result = await node.prober.attempt(probe, target, state.timing.timeout_s)
        before = state.verdict
        state, is_failure = probe_state.step(state, result.is_good, clock())
        if is_failure:
            watched.unhealthy(f"{kind} probe failed: {result.message}")
        if state.verdict is not None and state.verdict != before:
            report(state.verdict)
