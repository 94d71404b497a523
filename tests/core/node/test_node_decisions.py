"""Restarts, probes, image matching, port names, QoS and pod status: the pure rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from standalone.node import addresses, images, launch, pod_status, probe_state, restart
from standalone.node.pod_status import ContainerState, PodView
from standalone.node.probe_state import Kind
from standalone.node.restart import BackOff, Role


def test_back_off_is_at_once_then_doubles_to_its_maximum() -> None:
    state, waits = BackOff(), []
    for _ in range(8):
        state = state.after_run(1)
        waits.append(state.wait_s)
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]
    assert state.after_run(601).wait_s == 0


@pytest.mark.parametrize(
    ("policy", "role", "code", "again"),
    [
        *[
            ("Always", Role.MAIN, 0, True),
            ("OnFailure", Role.MAIN, 0, False),
            ("OnFailure", Role.MAIN, 1, True),
        ],
        *[("Never", Role.MAIN, 1, False), ("Never", Role.INIT, 1, False), ("Always", Role.INIT, 1, True)],
        *[("Always", Role.INIT, 0, False), ("Never", Role.SIDECAR, 0, True)],
    ],
)
def test_restart_policy(policy: str, role: Role, code: int, again: bool) -> None:
    assert restart.decide(policy, role, code) is again


@given(
    st.lists(st.booleans(), max_size=40), st.integers(1, 4), st.integers(1, 4), st.sampled_from(list(Kind))
)
def test_probe_verdicts_need_their_thresholds(results: list[bool], good: int, bad: int, kind: Kind) -> None:
    spec = {"successThreshold": good, "failureThreshold": bad, "periodSeconds": 2}
    timing = probe_state.parse_timing(kind, spec)
    state, now = probe_state.begin(timing, 100.0), 100.0
    for is_good in results:
        before = state
        now = state.due_at
        state, _ = probe_state.step(state, is_good, now)
        assert now < state.due_at <= now + timing.period_s
        if state.verdict != before.verdict:
            assert (state.good if state.verdict else state.bad) >= (good if state.verdict else bad)


def test_first_readiness_is_quick_and_failures_count_only_on_ticks() -> None:
    state = probe_state.begin(probe_state.parse_timing(Kind.READINESS, {"periodSeconds": 10}), 0.0)
    counted, attempts = 0, 0
    while state.due_at < 11.0:
        state, is_failure = probe_state.step(state, False, state.due_at)
        counted, attempts = counted + is_failure, attempts + 1
    assert counted == 1 and attempts > 15
    state, _ = probe_state.step(state, True, state.due_at)
    assert state.verdict is True


def test_liveness_is_not_eager() -> None:
    state = probe_state.begin(probe_state.parse_timing(Kind.LIVENESS, {"initialDelaySeconds": 3}), 0.0)
    assert state.due_at == 3.0
    assert probe_state.step(state, False, 3.0)[0].due_at == 13.0


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        *[("kserve/sklearnserver:v0.15", "kserve/sklearnserver:*", True), ("a/b", "a/b:*", True)],
        *[
            ("docker.io/a/b:1", "a/b:*", True),
            ("python:3.11", "python:*", True),
            ("a/b@sha256:ff", "a/b:*", True),
        ],
        *[
            ("docker.io/library/python", "python:*", True),
            ("a/bc:1", "a/b:*", False),
            ("x.io/a/b:1", "a/b:*", False),
        ],
        *[
            ("localhost:5000/a:2", "localhost:5000/*", True),
            ("a/b:2", "a/b:1", False),
            ("any/thing:9", "*", True),
        ],
    ],
)
def test_image_patterns(name: str, pattern: str, fits: bool) -> None:
    assert (images.match([images.Image(pattern)], name) is not None) is fits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: 3", "must be a mapping"),
        ("- a", "must be a mapping"),
        ("images: [3]", r"images\[0\]: must be"),
        ("images: [{argv: [a]}]", r"images\[0\].pattern"),
        ("images: [{pattern: x, argv: a}]", r"images\[0\].argv: must be a list"),
        ("images: [{pattern: x, extra: 1}]", "unknown field 'extra'"),
        ("images: [{pattern: x, env: [1]}]", r"\.env"),
        ("{", "not YAML"),
    ],
)
def test_bad_tables_are_refused_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(images.ImageTableError, match=message):
        images.parse(text, "FILE")


def test_shipped_table_parses_and_fills() -> None:
    table = images.parse(images.SHIPPED.read_text(), "shipped")
    entry = images.match(table, "kserve/sklearnserver:v0.16.0")
    assert entry is not None and entry.container_ports() == {8080}
    assert images.fill(entry.append[0], "py", {8080: 20001}) == "--http_port=20001"
    assert images.match(table, "nobody/nothing:1") is None


@pytest.mark.parametrize(
    ("folders", "wanted"), [((), "/mnt"), ((Path("/data/a"), Path("/b c")), "/mnt:/data/a:/b c")]
)
@pytest.mark.parametrize("name", ["wakeful/storage-initializer:0.1.0", "kserve/storage-initializer:v0.16.0"])
def test_the_initializer_may_read_the_folders_of_wakeful_up(
    name: str, folders: tuple[Path, ...], wanted: str
) -> None:
    entry = images.match(images.parse(images.SHIPPED.read_text(), "shipped"), name)
    assert entry is not None
    host = launch.Host("", {}, local_models=folders)
    assert {key: host.fill(value, {}) for key, value in entry.env.items()} == {"STORAGE_LOCAL_ROOTS": wanted}


def test_wanted_ports_and_names() -> None:
    container = {
        "ports": [{"name": "h", "containerPort": 8080}],
        "readinessProbe": {"httpGet": {"port": 9001}},
        "livenessProbe": {"tcpSocket": {"port": "h"}},
        "env": [{"name": "PORT", "value": "7000"}],
    }
    assert addresses.wanted(container) == {8080, 9001, 7000}
    assert addresses.resolve(container, {8080: 20000}, "h") == 20000
    assert addresses.resolve(container, {8080: 20000}, 0) == 20000
    with pytest.raises(ValueError, match="no port named"):
        addresses.resolve(container, {}, "other")


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
    ],
)
def test_qos(resources: dict[str, Any], wanted: str) -> None:
    assert pod_status.qos_class({"containers": [{"resources": resources}]}) == wanted


RUN = {"running": {}}
WAIT = {"waiting": {"reason": "X"}}


def ended(code: int) -> dict[str, Any]:
    return {"terminated": {"exitCode": code}}


@pytest.mark.parametrize(
    ("states", "initialized", "done", "phase"),
    [
        ([WAIT], False, False, "Pending"),
        ([WAIT], True, False, "Pending"),
        ([RUN, WAIT], True, False, "Pending"),
        ([RUN, RUN], True, False, "Running"),
        ([RUN, ended(1)], True, False, "Running"),
        ([ended(0)], True, True, "Succeeded"),
        ([ended(0), ended(2)], True, True, "Failed"),
    ],
)
def test_phases(states: list[dict[str, Any]], initialized: bool, done: bool, phase: str) -> None:
    mains = [ContainerState(f"c{i}", "i", Role.MAIN, state) for i, state in enumerate(states)]
    view = PodView({"spec": {"containers": [{}]}}, mains, initialized, done, 0.0)
    assert pod_status.build(view, 0.0)["phase"] == phase


def test_ready_needs_gates_and_foreign_conditions_stay() -> None:
    foreign = {"type": "gate", "status": "False"}
    pod = {"spec": {"containers": [{}], "readinessGates": [{"conditionType": "gate"}]}}
    pod["status"] = {"conditions": [foreign]}  # type: ignore[assignment]
    state = ContainerState("c", "i", Role.MAIN, RUN, is_ready=True)
    conditions = pod_status.build(PodView(pod, [state], True, False, 0.0), 5.0)["conditions"]
    by_type = {c["type"]: c for c in conditions}
    assert by_type["ContainersReady"]["status"] == "True"
    assert by_type["Ready"]["reason"] == "ReadinessGatesNotReady"
    assert by_type["gate"] == foreign
