"""Measure the model server beside KServe's and MLServer's: requests a second, latency, CPU a request, start, memory.

    hack/bench serving [--peers=kserve,mlserver,floor|none] [--rounds=3] [--seconds=2] [--only=WORD]

One SVC on iris (2 rows a request) and an echo model, the same files for all, each server on one core, the load on the
other, rounds alternating between servers so that all see the same noise of the machine. ``floor`` is a server without
a model: the ceiling of the load generator and the memory-copy limit of large tensors. ``load`` is how
busy the generator's core was: near 100 %, it is the limit. The last column is the ratio to KServe and the goal
(issue 5). Peers come from PyPI: `hack/env kserve`, `hack/env mlserver`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

import joblib
import uvloop
from sklearn.datasets import load_iris
from sklearn.svm import SVC

from benchmarks import _serving_grpc, _serving_load
from benchmarks._serving_peers import LOAD_CORE, ROOT, Peer, peers
from benchmarks._serving_requests import Case, cases

PACED_SHARE = 0.7
"""Of the slowest server's rate, for latency at equal load."""
PACED_ROUNDS = 7


class Figures:
    """What was measured of one case: server name to rounds."""

    def __init__(self) -> None:
        self.rates: dict[str, list[float]] = defaultdict(list)
        self.latencies_s: dict[str, list[float]] = defaultdict(list)
        self.cpu_us: dict[str, list[float]] = defaultdict(list)
        self.busy: dict[str, list[float]] = defaultdict(list)

    def rate(self, name: str) -> float:
        return statistics.median(self.rates[name]) if self.rates[name] else 0.0

    def at(self, name: str, share: float) -> float:
        return percentile_ms(self.latencies_s[name], share)


def percentile_ms(latencies_s: list[float], share: float) -> float:
    """Infinite where no answer came within the rounds."""
    times = sorted(latencies_s)
    return times[min(len(times) - 1, int(len(times) * share))] * 1000 if times else float("inf")


def of_case(case: Case, servers: list[Peer], rounds: int, seconds: float) -> Figures:
    """Alternating rounds of one case."""
    found = Figures()
    for server in servers:  # what is done for the first time is not measured
        _saturate(case, server, 0.3)
    for _ in range(rounds):
        for server in servers:
            cpu_s = server.cpu_s()
            round_ = _saturate(case, server, seconds)
            found.rates[server.name].append(round_.rate)
            found.latencies_s[server.name] += round_.latencies_s
            found.busy[server.name].append(round_.busy)
            found.cpu_us[server.name].append((server.cpu_s() - cpu_s) / max(1, len(round_.latencies_s)) * 1e6)
    return found


def _saturate(case: Case, server: Peer, seconds: float) -> _serving_load.Round:
    if case.is_grpc:
        port = server.grpc_port or server.port
        return uvloop.run(_serving_grpc.saturate(port, case.message, case.connections, seconds))
    return _serving_load.saturate(server.port, case.message, case.connections, seconds)


def show(case: Case, figures: Figures, servers: list[Peer]) -> None:
    print(f"\n{case.name}")
    kserve = figures.rate("kserve")
    for server in servers:
        name = server.name
        rate, rates = figures.rate(name), figures.rates[name]
        cpu = statistics.median(figures.cpu_us[name])
        line = (
            f"  {name:9} {rate:9.0f}/s  ({min(rates):.0f} to {max(rates):.0f})  CPU {cpu:6.0f} us"
            f"  p50 {figures.at(name, 0.5):8.2f} ms  p99 {figures.at(name, 0.99):8.2f} ms"
            f"  load {statistics.median(figures.busy[name]):4.0%}"
        )
        if name == "wakeful" and kserve:
            goal = f"  goal {case.goal:g}x" if case.goal else ""
            cpu_ratio = statistics.median(figures.cpu_us["kserve"]) / cpu
            line += f"  {rate / kserve:6.1f}x kserve (by CPU {cpu_ratio:.1f}x){goal}"
        print(line, flush=True)


def at_equal_load(case: Case, figures: Figures, servers: list[Peer], seconds: float) -> None:
    """Latency while every server gets the same number of requests a second; the floor's is the machine's own.

    In alternating rounds, like the rates: a kernel thread that keeps the core for 17 ms makes a dozen answers late,
    which is more than half of the late one in a hundred of a round. The median says what the server does, the slowest
    round and the p99 of all answers what callers saw on this machine.
    """
    slowest = min(figures.rate(server.name) for server in servers if server.name != "floor")
    rate = slowest * PACED_SHARE
    rounds: dict[str, list[list[float]]] = defaultdict(list)
    for _ in range(PACED_ROUNDS):
        for server in servers:
            round_ = _serving_load.pace(server.port, case.message, case.connections, seconds, rate)
            rounds[server.name].append(round_.latencies_s)
    print(f"  at {rate:.0f}/s each, {PACED_ROUNDS} rounds; goal: p99 below kserve's p50")
    for name, latencies_s in rounds.items():
        p50, p99 = ([percentile_ms(times, share) for times in latencies_s] for share in (0.5, 0.99))
        pooled = percentile_ms([time_s for times in latencies_s for time_s in times], 0.99)
        print(
            f"    {name:9} p50 {statistics.median(p50):6.2f} ms  p99 {statistics.median(p99):6.2f} ms"
            f" ({min(p99):.2f} to {max(p99):.2f}; of all answers {pooled:.2f})",
            flush=True,
        )


def measure(model: str, names: list[str], folder: Path, options: argparse.Namespace) -> None:
    chosen = [case for case in cases() if case.model == model and options.only in case.name]
    if not chosen:
        return
    servers = peers(names, model, folder)
    try:
        for server in servers:
            server.start()
            print(
                f"{server.name}, {model}: ready after {server.ready_s:.2f} s with {server.ready_rss_mib} MiB"
            )
        for case in chosen:
            able = [server for server in servers if server.name not in case.without]
            figures = of_case(case, able, options.rounds, options.seconds)
            show(case, figures, able)
            if case.connections == 16 and "2 rows" in case.name and len(able) > 1 and not case.is_grpc:
                at_equal_load(case, figures, able, options.seconds)
        print()
        for server in servers:
            print(f"{server.name}, {model}: {server.rss_mib()} MiB after all rounds")
    finally:
        for server in servers:
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", default="kserve,mlserver,floor")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    names = [name for name in options.peers.split(",") if name not in ("", "none")]
    for name in ("kserve", "mlserver"):
        if name in names:
            subprocess.run([ROOT / "hack" / "env", name], check=True)
    os.sched_setaffinity(0, {LOAD_CORE})
    print(f"load average {os.getloadavg()[0]:.1f} before; server on core 0, load on core {LOAD_CORE}")
    with tempfile.TemporaryDirectory() as name:
        features, classes = load_iris(return_X_y=True)
        joblib.dump(SVC().fit(features, classes), Path(name) / "model.joblib")
        for model in ("iris", "echo"):
            measure(model, ["wakeful", *names], Path(name), options)
    print(f"load average {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
