"""The node's loops for ever: what one of them meets and does not expect must not end it, nor the others in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from standalone.knative import events as knative_events
from standalone.knative.resources import REVISIONS
from standalone.node import events as node_events
from standalone.node.memory_watch import MemoryWatch

Obj = dict[str, Any]
METADATA = {"uid": "u", "name": "p", "namespace": "ns"}


async def running(loop: Awaitable[None], done: asyncio.Event) -> None:
    """Run ``loop`` until ``done``; a loop that ends before fails the test."""
    task, waiting = asyncio.ensure_future(loop), asyncio.create_task(done.wait())
    try:
        async with asyncio.timeout(5):
            await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        assert not task.done(), task
    finally:
        for each in (task, waiting):
            each.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)


async def test_the_memory_watch_goes_on_when_proc_cannot_be_read(tmp_path: Path) -> None:
    """It ended, and with it the care for every shim: no pod could start after the next one died."""
    proc, killed = tmp_path / "proc", asyncio.Event()
    watch = MemoryWatch(lambda _: killed.set(), proc)
    watch.add("a", 7, 0)
    asyncio.get_running_loop().call_later(0.05, appear, proc)
    await running(watch.run(round_s=0.01), killed)


def appear(proc: Path) -> None:
    """A ``/proc`` with process 7, of 1 page."""
    made = proc.with_name("made")
    (made / "7").mkdir(parents=True)
    (made / "7" / "stat").write_text("7 (x) S 1 7 7 0")
    (made / "7" / "statm").write_text("1 1 1 1 1 1 1")
    made.rename(proc)


class Api:
    """Refuses the first Event as a client does that cannot put it into words."""

    def __init__(self) -> None:
        self.tries = 0
        self.taken = asyncio.Event()

    async def create(self, _resource: Any, _namespace: str, event: Obj) -> Obj:
        self.tries += 1
        if self.tries == 1:
            raise TypeError("str is not valid UTF-8: surrogates not allowed")
        self.taken.set()
        return event


async def test_an_event_that_cannot_be_written_does_not_silence_the_node_s_others() -> None:
    api = Api()
    recorder = node_events.Recorder(api)  # type: ignore[arg-type]
    for reason in ("First", "Second"):
        recorder.emit({"metadata": METADATA, "spec": {}}, "Normal", reason, "text")
    await running(recorder.run(), api.taken)


async def test_an_event_that_cannot_be_written_does_not_end_serving() -> None:
    api = Api()
    recorder = knative_events.Recorder(api)  # type: ignore[arg-type]
    for reason in ("First", "Second"):
        recorder.tell(REVISIONS, {"metadata": METADATA}, "Normal", reason, "text")
    await running(recorder.run(), api.taken)
