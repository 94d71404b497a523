"""Faults of our own in the middle of a pod's life are told and got over; nothing waits for ever in silence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from node_machine import Machine, pod, python, server
from waiting_rig import until

from standalone.node import container, worker
from standalone.node.probing import GOOD, Prober, Result, Target

READY = {"httpGet": {"port": 8080, "path": "/"}, "periodSeconds": 1}
Obj = dict[str, Any]


class FlakyProber(Prober):
    """Raises at its first attempt what nobody expects."""

    def __init__(self) -> None:
        super().__init__()
        self.attempts = 0

    async def attempt(self, action: Obj, target: Target, timeout_s: float) -> Result:
        self.attempts += 1
        if self.attempts == 1:
            raise RuntimeError("no such thing")
        return GOOD


@pytest.mark.parametrize("kind", ["readinessProbe", "startupProbe", "livenessProbe"])
async def test_a_probe_that_raises_begins_anew(machine: Machine, kind: str) -> None:
    """The task ended in silence: never ready, or never watched again."""
    prober = FlakyProber()
    machine.node = replace(machine.node, prober=prober)
    started = machine.start(pod("p", server(**{kind: READY})))
    await until(lambda: "ProbeError" in machine.cluster.reasons())
    assert "no such thing" in next(
        text for _, reason, text in machine.cluster.events if reason == "ProbeError"
    )
    await machine.ready("p")
    await until(lambda: prober.attempts >= 2)
    await machine.delete(started, 1)


async def test_a_sidecar_that_never_starts_does_not_outlive_the_deadline(machine: Machine) -> None:
    """Its pod was Pending for ever, because it was still waited for after it had been stopped."""
    sidecar = {"name": "side", "image": "nowhere/to-be-found:1", "restartPolicy": "Always"}
    spec = {"initContainers": [sidecar], "activeDeadlineSeconds": 1}
    machine.start(pod("p", python("pass"), **spec))
    status = await machine.phase("p", "Failed")
    assert status["reason"] == "DeadlineExceeded"


class FailingContainer(container.Container):
    """A container whose first run meets a fault of ours."""

    faults = 0

    async def run(self, adopted: bool = False) -> None:
        if self.spec["name"] == "faulty" and FailingContainer.faults > 0:
            FailingContainer.faults -= 1
            await asyncio.sleep(0.2)
            raise RuntimeError("a fault of ours")
        await super().run(adopted)


class Worker(worker.PodWorker):
    """A worker with such containers."""

    def _make(self, spec: Obj, role: Any) -> container.Container:
        made = super()._make(spec, role)
        return FailingContainer(made._node, self, spec, made.state)


@pytest.mark.parametrize("is_sidecar", [False, True], ids=["beside a main", "a sidecar"])
async def test_a_fault_in_one_container_ends_the_whole_life(machine: Machine, is_sidecar: bool) -> None:
    """What ran beside it went on unowned, and the next worker of the pod started it once more; a sidecar hung."""
    FailingContainer.faults = 1
    faulty = server("faulty")
    spec: Obj = {"initContainers": [{**faulty, "restartPolicy": "Always"}]} if is_sidecar else {}
    made = pod("p", server("good"), *([] if is_sidecar else [faulty]), **spec)
    before = asyncio.all_tasks()
    life = asyncio.create_task(Worker(machine.node, made, None).run())
    with pytest.raises(BaseExceptionGroup) as caught:
        await asyncio.wait_for(life, 10)
    assert str(container.first_cause(caught.value)) == "a fault of ours"
    await until(lambda: asyncio.all_tasks() - before <= {asyncio.current_task()})
    (machine.layout.pods / made["metadata"]["uid"] / "state.json").unlink(missing_ok=True)
    again = machine.start(made)
    await machine.ready("p")
    await machine.delete(again, 1)


async def test_a_finished_pod_that_a_finalizer_keeps_keeps_its_status(machine: Machine) -> None:
    """Any change of its object made a worker that wrote "ContainerCreating" over how it had ended."""
    kept = pod("p", python("pass"))
    kept["status"] = {"phase": "Failed", "containerStatuses": [{"name": "main", "restartCount": 3}]}
    started = machine.start(kept)
    await machine.delete(started, 1)
    assert machine.cluster.patches == []
