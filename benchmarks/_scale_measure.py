"""Reads what the processes of the scale simulation say of themselves: /proc and the admin sockets.

Called by ``scale``. Invariant: a snapshot is values only, so that two of them can be subtracted at any time later.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

WRITES = ("POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True, slots=True)
class Process:
    """Of one process: resident memory now and at its highest (MiB), processor seconds since its start."""

    rss_mib: float
    peak_mib: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All processes and counters at one moment; ``at_s`` is monotonic."""

    at_s: float
    controller: Process
    apiserver: Process
    version: int
    """The API server's resourceVersion: one more for each stored write, whoever made it."""
    requests: Counter[tuple[str, str, str]]
    """The controller's, by method, resource and status, since its start."""
    reconciles: int


@dataclass(frozen=True, slots=True)
class Span:
    """What happened between two snapshots of the same processes."""

    seconds: float
    stored: int
    requests: Counter[tuple[str, str, str]]
    reconciles: int
    controller_cpu_s: float
    apiserver_cpu_s: float
    end: Snapshot

    @property
    def writes(self) -> Counter[str]:
        """Write requests of the controller by ``METHOD resource``."""
        found: Counter[str] = Counter()
        for (method, resource, _), count in self.requests.items():
            if method in WRITES:
                found[f"{method} {resource}"] += count
        return found

    @property
    def refused(self) -> Counter[str]:
        """Requests that were not answered with 2xx, by ``CODE METHOD resource``."""
        found: Counter[str] = Counter()
        for (method, resource, code), count in self.requests.items():
            if not code.startswith("2"):
                found[f"{code} {method} {resource}"] += count
        return found


def between(begin: Snapshot, end: Snapshot, is_restarted: bool = False) -> Span:
    """The difference. After a restart of the controller in between, its counters began again at nothing."""
    return Span(
        seconds=end.at_s - begin.at_s,
        stored=end.version - begin.version,
        requests=end.requests if is_restarted else end.requests - begin.requests,
        reconciles=end.reconciles - (0 if is_restarted else begin.reconciles),
        controller_cpu_s=end.controller.cpu_s - (0 if is_restarted else begin.controller.cpu_s),
        apiserver_cpu_s=end.apiserver.cpu_s - begin.apiserver.cpu_s,
        end=end,
    )


def since_start(now: Snapshot) -> Span:
    """All that the controller has done since it began; nothing is known of the time before."""
    nothing = Process(0.0, 0.0, 0.0)
    begin = Snapshot(now.at_s - 1e-9, nothing, now.apiserver, now.version, Counter(), 0)
    return between(begin, now)


def read_process(pid: int, root: Path = Path("/proc")) -> Process:
    """Of a running process. Raises ``OSError`` when it is gone."""
    folder = root / str(pid)
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    resident, peak = (int(status[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return Process(resident, peak, ticks / os.sysconf("SC_CLK_TCK"))


async def scrape(socket: Path) -> str:
    """The metrics page of an admin socket; "" while nobody listens."""
    try:
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket))) as http,
            http.get("http://admin/metrics") as answer,
        ):
            return await answer.text()
    except (aiohttp.ClientError, OSError):
        return ""


def parse_requests(text: str) -> tuple[Counter[tuple[str, str, str]], int]:
    """The controller's requests, and how many reconciles it has ended."""
    requests: Counter[tuple[str, str, str]] = Counter()
    reconciles = 0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "wakeful_api_requests_total":
                requests[labels["method"], labels["resource"], labels["code"]] = int(sample.value)
            elif sample.name == "wakeful_reconcile_total":
                reconciles += int(sample.value)
    return requests, reconciles


def parse_version(text: str) -> int:
    """The API server's highest resourceVersion."""
    line = next(line for line in text.splitlines() if line.startswith("apiserver_resource_version "))
    return int(float(line.split()[1]))


async def take(controller_pid: int, apiserver_pid: int, run: Path) -> Snapshot:
    """A snapshot; ``run`` is the folder of the admin sockets."""
    controller, apiserver = await asyncio.gather(
        scrape(run / "controller.sock"), scrape(run / "apiserver.sock")
    )
    requests, reconciles = parse_requests(controller)
    return Snapshot(
        time.monotonic(),
        read_process(controller_pid),
        read_process(apiserver_pid),
        parse_version(apiserver),
        requests,
        reconciles,
    )
