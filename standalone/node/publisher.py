"""Writes a pod's status to the API and to disk whenever it changed: one patch at a time, the newest state wins.

Called by worker. A patch carries the annotations ``node.wakeful.dev/ports`` and ``node.wakeful.dev/timeline`` and the
status. Invariant: after the last change the API holds the last state, however often the API was away meanwhile; what
has not changed is not written.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from standalone.node import saved
from standalone.node.ports import Cluster, ClusterError
from wakeful.kit import logs

Obj = dict[str, Any]

PORTS = "node.wakeful.dev/ports"
TIMELINE = "node.wakeful.dev/timeline"
RETRY_S = (0.05, 0.2, 1.0, 2.0, 5.0)


def render_annotations(ports: Mapping[int, int], timeline: Mapping[str, float]) -> dict[str, str]:
    """The node's annotations (docs/explanation/standalone.md)."""
    return {
        PORTS: json.dumps({str(key): value for key, value in sorted(ports.items())}),
        TIMELINE: json.dumps({key: round(value, 6) for key, value in timeline.items()}),
    }


class Publisher:
    """One pod's. ``snapshot`` gives the pod, the patch body and what to save, as they are now."""

    def __init__(
        self, cluster: Cluster, folder: Path, snapshot: Callable[[], tuple[Obj, Obj, saved.Saved]]
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._snapshot = snapshot
        self._dirty = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._saving = asyncio.Lock()
        self._may_save = True
        self._timer: asyncio.TimerHandle | None = None
        self._last: Obj | None = None
        self._last_saved: bytes = b""
        self._log = logs.get("node.publisher")

    def mark(self) -> None:
        """The state changed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._dirty.set()
        self._idle.clear()

    def mark_within(self, delay_s: float) -> None:
        """The state changed; it is written with the next change, at the latest in ``delay_s`` seconds."""
        self._idle.clear()
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay_s, self.mark)

    async def settled(self, deadline_s: float) -> bool:
        """Wait until everything is written; False after ``deadline_s`` seconds."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def stop_saving(self) -> None:
        """Write no file any more; returns when the one under way is written, so that the folder can be removed."""
        async with self._saving:
            self._may_save = False

    async def run(self) -> None:
        """Write changes, for ever."""
        failures = 0
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            pod, body, state = self._snapshot()
            try:
                if body != self._last:
                    await self._cluster.patch_status(pod, body)
                    self._last = body
                failures = 0
            except ClusterError as error:
                self._log.warning("status not written", pod=pod["metadata"]["name"], error=str(error))
                if not error.is_final:
                    self._dirty.set()
                    await asyncio.sleep(RETRY_S[min(failures, len(RETRY_S) - 1)])
                    failures += 1
            await self._save(state)
            if not self._dirty.is_set():
                self._idle.set()

    async def _save(self, state: saved.Saved) -> None:
        rendered = state.render()
        async with self._saving:
            if not self._may_save or rendered == self._last_saved or not self._folder.is_dir():
                return
            try:
                await asyncio.to_thread(saved.write, self._folder, state)
                self._last_saved = rendered
            except OSError as error:
                self._log.warning("pod state not saved", folder=str(self._folder), error=str(error))
