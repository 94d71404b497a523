"""How much processor and memory pods take: the node's ``/usage``, read for revisions of the HPA class.

Called by the autoscaler every ``hpa.SYNC_S`` while there is such a revision. Processor time is counted since the start
of a container, so cores are the difference of two readings over the time between them.

Invariant: what cannot be read is no measurement, never zero; memory is bounded by the containers of the last reading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import orjson

from wakeful.core.api import quantity
from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.core.scaling import hpa
from wakeful.kit.kube import Obj

TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class PodUsage:
    """One pod: cores since the last reading (None at the first), and memory now."""

    cores: float | None
    memory_bytes: float


class UsageReader(Protocol):
    """The way to the measurements."""

    async def read(self) -> Mapping[str, PodUsage]:
        """By pod uid; empty where nothing could be read."""


class NodeUsage:
    """``node.sock``."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._last: tuple[float, dict[str, float]] = (0.0, {})

    async def read(self) -> Mapping[str, PodUsage]:
        try:
            connector = aiohttp.UnixConnector(path=str(self._socket))
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.get("http://node/usage") as response,
            ):
                response.raise_for_status()
                return self._take(orjson.loads(await response.read()))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    def _take(self, answer: Any) -> dict[str, PodUsage]:
        at, containers = float(answer["at"]), dict(answer["containers"])
        before_at, before = self._last
        now = {name: float(used["cpu_s"]) for name, used in containers.items()}
        self._last = (at, now)
        found: dict[str, PodUsage] = {}
        for name, used in containers.items():
            uid = name.partition("/")[0]
            old = found.get(uid, PodUsage(0.0, 0.0))
            cores = old.cores
            if cores is not None:
                cores = cores + (now[name] - before[name]) / (at - before_at) if name in before else None
            found[uid] = PodUsage(cores, old.memory_bytes + float(used["memory_bytes"]))
        return found


def measure(pods: Sequence[Obj], read: Mapping[str, PodUsage]) -> hpa.Usage | None:
    """The mean over those of ``pods`` that were measured; None for none."""
    measured = [(pod, read[uid]) for pod in pods if (uid := pod["metadata"]["uid"]) in read]
    if not measured:
        return None
    cores = [used.cores for _, used in measured]
    requests = [_cpu_request(pod) for pod, _ in measured]
    percent = None
    if None not in cores and None not in requests and sum(filter(None, requests)) > 0:
        percent = 100.0 * sum(filter(None, cores)) / sum(filter(None, requests))
    memory = sum(used.memory_bytes for _, used in measured) / len(measured)
    return hpa.Usage(len(measured), percent, memory)


def _cpu_request(pod: Obj) -> float | None:
    """Cores that all its containers ask for; None where one does not say (a limit counts as a request)."""
    total = 0.0
    for container in mappings(pod["spec"].get("containers")):
        resources = mapping(container.get("resources"))
        given = mapping(resources.get("requests")).get("cpu") or mapping(resources.get("limits")).get("cpu")
        if given is None:
            return None
        try:
            total += float(quantity.parse(given))
        except ValueError:
            return None
    return total
