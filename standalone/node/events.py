"""Events as a kubelet writes them: one object per (pod, container, reason, message), counted, at most every 10 s.

Called by api. ``emit`` puts into a bounded queue and never waits; ``run`` writes. Invariant: memory is bounded
(``QUEUE`` waiting, ``REMEMBERED`` known); when the API is away the oldest waiting Events are dropped, not the newest.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from wakeful.core.api import instants
from wakeful.kit import logs
from wakeful.kit.kube import EVENTS, ApiError, KubeClient

Obj = dict[str, Any]
QUEUE = 512
REMEMBERED = 4096
REPEAT_S = 10.0
LAG_S = 0.25
"""Events wait this long before they are written: a starting pod, and who waits for it, needs the API server first."""
MESSAGE_LIMIT = 1024
_NUMBERS = itertools.count(time.time_ns())
SOURCE = {"component": "kubelet", "host": "wakeful"}


@dataclass(slots=True)
class _Series:
    """One Event that was written."""

    name: str
    count: int
    written_at: float


class Recorder:
    """The Events of one node."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._waiting: deque[tuple[tuple[str, ...], Obj]] = deque(maxlen=QUEUE)
        self._filled = asyncio.Event()
        self._log = logs.get("node.events")
        self._series: OrderedDict[tuple[str, ...], _Series] = OrderedDict()

    def emit(self, pod: Obj, event_type: str, reason: str, message: str, container: str = "") -> None:
        """Record; repeats within ``REPEAT_S`` are counted and written with the next one."""
        metadata = pod["metadata"]
        key = (metadata["uid"], container, reason, message[:MESSAGE_LIMIT])
        series = self._series.get(key)
        if series is not None:
            series.count += 1
            if time.monotonic() - series.written_at < REPEAT_S:
                return
        event = _event(pod, event_type, reason, key[3], container)
        if series is None:
            self._remember(key, _Series(event["metadata"]["name"], 1, time.monotonic()))
        else:
            series.written_at = time.monotonic()
        self._waiting.append((key, event))
        self._filled.set()

    async def run(self) -> None:
        """Write what is waiting, for ever."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(LAG_S)
            while self._waiting:
                key, event = self._waiting.popleft()
                try:
                    await self._write(key, event)
                except ApiError:
                    continue
                except (aiohttp.ClientError, OSError, TimeoutError):
                    self._waiting.appendleft((key, event))
                    await asyncio.sleep(1.0)
                except Exception as error:  # one Event that cannot be written must not silence the others
                    self._log.error("event not written", reason=event["reason"], error=repr(error))
            self._filled.clear()

    async def flush(self, deadline_s: float) -> None:
        """Wait until nothing is waiting, at most ``deadline_s`` seconds."""
        until = time.monotonic() + deadline_s
        while self._waiting and time.monotonic() < until:  # noqa: ASYNC110  a bounded wait at the end of the node
            await asyncio.sleep(0.02)

    async def _write(self, key: tuple[str, ...], event: Obj) -> None:
        series = self._series.get(key)
        namespace = event["metadata"]["namespace"]
        if series is None or series.name == event["metadata"]["name"]:
            await self._client.create(EVENTS, namespace, event)
            return
        body = {"count": series.count, "lastTimestamp": event["lastTimestamp"]}
        try:
            await self._client.patch(EVENTS, namespace, series.name, body)
        except ApiError as error:
            if error.code != 404:
                raise
            series.name = event["metadata"]["name"]
            await self._client.create(EVENTS, namespace, {**event, "count": series.count})

    def _remember(self, key: tuple[str, ...], series: _Series) -> None:
        self._series[key] = series
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)


def _event(pod: Obj, event_type: str, reason: str, message: str, container: str) -> Obj:
    metadata = pod["metadata"]
    involved = {
        "kind": "Pod",
        "apiVersion": "v1",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    if container:
        involved["fieldPath"] = f"{_list_of(pod, container)}{{{container}}}"
    now = instants.render(datetime.now(UTC))
    # Listed in the order of their names, they are listed in the order they happened: times have whole seconds only.
    name = f"{metadata['name'][:230]}.{next(_NUMBERS):x}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": metadata["namespace"], "name": name},
        "involvedObject": involved,
        "type": event_type,
        "reason": reason,
        "message": message,
        "source": SOURCE,
        "reportingComponent": "kubelet",
        "reportingInstance": "wakeful",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def _list_of(pod: Obj, container: str) -> str:
    names = [c["name"] for c in pod["spec"].get("initContainers") or []]
    return "spec.initContainers" if container in names else "spec.containers"
