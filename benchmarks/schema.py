"""``python -m benchmarks.schema``: what the API server computes for one write, without I/O, and its goal.

A write of an InferenceService is pruned, defaulted, validated and its managed fields recorded; a Pod's besides decoded
and checked. Prints p50 and p99 of each, with conditions, and exits 1 when the goal of issue 3's schema room (150 µs at
p50 for a small InferenceService) is missed. Invariant: every round works on a fresh copy made outside the clock.
"""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from standalone.apiserver import kinds_crd
from standalone.apiserver.apply import managed
from standalone.apiserver.kinds_core import CORE
from standalone.apiserver.schema import core, core_checks, core_defaults, decoding, structural

ROOT = Path(__file__).resolve().parents[1]
GOAL_US = 150.0
ROUNDS = 3000
AUTHOR = managed.Author("kubectl", "v1", "2026-01-01T00:00:00Z")
Obj = dict[str, Any]
POD: Obj = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"a": "b"}},
    "spec": {
        "containers": [
            {
                "name": "a",
                "image": "i:1",
                "env": [{"name": f"E{number}", "value": "x"} for number in range(5)],
                "ports": [{"containerPort": 8080}],
                "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
                "readinessProbe": {"httpGet": {"port": 8080}},
            }
        ]
    },
}


def measure(name: str, sample: Obj, work: Callable[[Obj], object], goal_us: float = 0.0) -> bool:
    """Print one line; whether the goal was met."""
    times = []
    for _ in range(ROUNDS):
        obj = copy.deepcopy(sample)
        begun = time.perf_counter()
        work(obj)
        times.append((time.perf_counter() - begun) * 1e6)
    times.sort()
    p50, p99 = times[ROUNDS // 2], times[ROUNDS * 99 // 100]
    is_good = not goal_us or p50 <= goal_us
    goal = f", goal <= {goal_us:.0f}" if goal_us else ""
    print(
        f"{'ok  ' if is_good else 'MISS'} {name}: p50 {p50:.1f} us, p99 {p99:.1f} us{goal} [{ROUNDS} rounds]"
    )
    return is_good


def main() -> int:
    """Run all; the exit status."""
    documents = yaml.safe_load_all((ROOT / "config/samples/iris.yaml").read_text())
    isvc = next(one for one in documents if one and one["kind"] == "InferenceService")
    definition = yaml.safe_load((ROOT / "config/crd/inferenceservices.yaml").read_text())
    schema = kinds_crd.build_kinds(definition)[0].schema or {}
    pod_kind = next(kind for kind in CORE if kind.kind == "Pod")
    pod_schema = core.core_schema("", "v1", "Pod") or {}

    def write_custom(obj: Obj) -> None:
        decoding.mistyped(schema, obj, metadata_only=True)
        structural.prune(schema, obj)
        structural.apply_defaults(schema, obj)
        assert not structural.validate(schema, obj)
        managed.track_write(None, obj, AUTHOR, schema)

    def write_pod(obj: Obj) -> None:
        decoding.mistyped(pod_schema, obj)
        structural.prune(pod_schema, obj)
        core_defaults.default_core(pod_kind, obj)
        assert not structural.validate(pod_schema, obj) and not core_checks.check_core(pod_kind, obj)
        managed.track_write(None, obj, AUTHOR, pod_schema)

    def apply_custom(_: Obj) -> None:
        managed.server_side_apply(None, isvc, AUTHOR, force=False, schema=schema)

    is_good = measure("write an InferenceService", isvc, write_custom, GOAL_US)
    measure("apply an InferenceService server-side", isvc, apply_custom)
    measure("write a Pod", POD, write_pod)
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
