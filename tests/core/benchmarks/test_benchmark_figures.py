"""What the benchmarks say of what they measured: phases that add up, goals that can be missed, counters that subtract."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # benchmarks is no installed package

from benchmarks import _cluster_objects as objects  # noqa: E402
from benchmarks import _scale_measure as measure  # noqa: E402
from benchmarks import _scale_world as world  # noqa: E402


def test_phases_of_a_wake_add_up_to_what_the_client_waited() -> None:
    moments = objects.Moments(
        10.0, 12.0, created=10.2, scheduled=10.3, began=11.0, imported=11.6, loaded=11.7
    )
    found = objects.phases_of(moments)
    assert {name: round(value) for name, value in found.items()} == {
        "decide": 200,
        "schedule": 100,
        "create+start": 700,
        "import": 600,
        "load": 100,
        "probe+answer": 300,
    }


@pytest.mark.parametrize(
    "moments",
    [
        objects.Moments(10.0, 12.0),
        objects.Moments(10.0, 12.0, created=9.0, scheduled=13.0),
        objects.Moments(10.0, 12.0, created=11.0, scheduled=10.5, loaded=11.5),
    ],
    ids=["nothing was seen", "seen too early and too late", "seen out of order"],
)
def test_moments_that_are_missing_or_out_of_order_open_no_phase(moments: objects.Moments) -> None:
    found = objects.phases_of(moments)
    assert min(found.values()) >= 0
    assert sum(found.values()) == pytest.approx(2000)


def test_percentiles() -> None:
    values = [float(number) for number in range(1, 21)]
    assert objects.p50_p95(values) == (10.5, 20.0)
    assert objects.percentile([3.0], 99) == 3.0


def test_each_goal_is_met_or_missed_by_its_own_figures() -> None:
    good = objects.judge(
        {"wakeful": 2.0, "bare": 1.5, "kserve": 6.0}, {"wakeful direct": 1.0, "kserve direct": 2.0}
    )
    bad = objects.judge(
        {"wakeful": 3.0, "bare": 1.5, "kserve": 6.0}, {"wakeful direct": 1.9, "kserve direct": 2.0}
    )
    assert [line[:4] for line in good] == ["ok  "] * 3
    assert [line[:4] for line in bad] == ["MISS"] * 3
    assert objects.judge({"wakeful": 2.0}, {}) == []


def test_ready_is_of_the_generation_that_is_there() -> None:
    ready = {"type": "Ready", "status": "True"}
    for observed, wanted in ((2, True), (1, False)):
        status = {"observedGeneration": observed, "conditions": [ready]}
        assert objects.is_ready({"metadata": {"generation": 2}, "status": status}) is wanted
    assert not objects.is_ready({"metadata": {"generation": 1}})


def ksvc(**status: object) -> world.Obj:
    template = {"metadata": {"labels": {"l": "1"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    metadata = {"name": "m", "namespace": "n", "generation": 1, "labels": {world.ISVC_LABEL: "m"}}
    return {"metadata": metadata, "spec": {"template": template}, "status": status}


def test_the_fake_knative_is_seeded_and_ends_ready() -> None:
    first, second = (world.plan_service(ksvc(), Random(7), with_pod=True) for _ in range(2))
    assert first == second
    assert first != world.plan_service(ksvc(), Random(8), with_pod=True)
    last = [step for step in first if step.action == "status"][-1]
    assert objects.is_ready({"metadata": {"generation": 1}, "status": last.body})
    assert {step.action for step in first} == {
        "status",
        "pod",
        "pod-status",
        "pod-gone",
        "ingress",
        "ingress-status",
    }


def test_a_second_generation_makes_no_second_route() -> None:
    steps = world.plan_service(ksvc(latestReadyRevisionName="m-00001"), Random(7), with_pod=False)
    assert {step.action for step in steps} == {"status"}


def snapshot(version: int, cpu_s: float, *answers: tuple[str, str, str]) -> measure.Snapshot:
    process = measure.Process(1.0, 2.0, cpu_s)
    return measure.Snapshot(0.0, process, process, version, Counter(answers), len(answers))


GET, PUT, REFUSED = ("GET", "a", "200"), ("PUT", "b/status", "200"), ("PUT", "b/status", "409")


def test_a_span_counts_what_came_between_two_snapshots() -> None:
    span = measure.between(snapshot(5, 1.0, GET, PUT), snapshot(9, 3.0, GET, PUT, PUT, REFUSED))
    assert (span.stored, span.reconciles, span.controller_cpu_s) == (4, 2, 2.0)
    assert span.writes == {"PUT b/status": 2}
    assert span.refused == {"409 PUT b/status": 1}


def test_after_a_restart_the_controllers_own_counters_begin_at_nothing() -> None:
    span = measure.between(snapshot(5, 9.0, PUT, PUT, PUT), snapshot(5, 1.0, GET), is_restarted=True)
    assert (span.stored, span.writes, span.controller_cpu_s) == (0, {}, 1.0)


def test_metrics_pages_are_read() -> None:
    page = (
        "# TYPE wakeful_api_requests counter\n"
        'wakeful_api_requests_total{method="PUT",resource="b/status",code="200"} 3.0\n'
        "# TYPE wakeful_reconcile counter\n"
        'wakeful_reconcile_total{outcome="done"} 4.0\nwakeful_reconcile_total{outcome="error"} 1.0\n'
    )
    assert measure.parse_requests(page) == (Counter({("PUT", "b/status", "200"): 3}), 5)
    assert measure.parse_version("# HELP x\napiserver_resource_version 42\n") == 42
