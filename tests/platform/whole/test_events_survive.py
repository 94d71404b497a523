"""500 events while every process of the platform is killed in turn, and `up` itself: none that was accepted is lost.

Each event goes to a plain subscriber and to a model; the model's answer goes on to a second subscriber. The producer does
what a producer must: it sends an event again until it gets 202.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from events_recorder import Producer, event, recording
from waiting_rig import until
from whole_platform import Platform

from standalone import instance

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "hack"))
import train_iris  # noqa: E402

pytestmark = [
    pytest.mark.platform,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("needs_kubectl"),
]

NAMESPACE = "events-survive"
EVENTS = 500
PROCESSES = ("eventing", "apiserver", "gateway", "node", "knative", "controller")
MODEL = {"ref": {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "iris"}}


def manifests(recorder_url: str) -> str:
    """A Broker and three Triggers."""
    documents = [made("Broker", "default", {})]
    for name, type_, subscriber in (
        ("record", "measured", {"uri": f"{recorder_url}/record"}),
        ("predict", "measured", MODEL),
        ("result", "io.kserve.inference.response", {"uri": f"{recorder_url}/result"}),
    ):
        spec = {"broker": "default", "filter": {"attributes": {"type": type_}}, "subscriber": subscriber}
        documents.append(made("Trigger", name, spec))
    return str(yaml.safe_dump_all(documents))


def made(kind: str, name: str, spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "eventing.knative.dev/v1", "kind": kind, "metadata": metadata, "spec": spec}


def set_up(platform: Platform, recorder_url: str) -> None:
    train_iris.train(platform.layout.volumes / NAMESPACE / "models")
    text = (ROOT / "config/samples/iris.yaml").read_text().replace("iris-demo", NAMESPACE)
    platform.kubectl("apply", "-f", "-", text=text.replace("minReplicas: 0", "minReplicas: 1"))
    platform.kubectl("apply", "-f", "-", text=manifests(recorder_url))
    ready = "--for=condition=Ready"
    platform.kubectl("wait", "isvc/iris", "-n", NAMESPACE, ready, "--timeout=60s")
    platform.kubectl("wait", "trigger", "--all", "-n", NAMESPACE, ready, "--timeout=30s")


async def stream(producer: Producer) -> None:
    """About 40 events a second, each insisted on."""
    body = json.dumps({"instances": [[5.1, 3.5, 1.4, 0.2]]}).encode()
    async with asyncio.TaskGroup() as group:
        for number in range(EVENTS):
            headers = event(f"e{number}", "measured", content_type="application/json")
            group.create_task(producer.insist(headers, body))
            await asyncio.sleep(0.025)


async def kill_all(platform: Platform) -> None:
    """Each process in turn, then `up`; the next one only when the last is back."""
    for name in PROCESSES:
        record = instance.read(platform.layout)
        assert record is not None
        victim = record.processes[name]
        os.kill(victim.pid, signal.SIGKILL)

        def is_back(name: str = name, victim: instance.ProcessId = victim) -> bool:
            found = instance.read(platform.layout)
            return found is not None and found.processes.get(name, victim) != victim

        await until(is_back, 20, lambda name=name: f"{name} did not come back")  # type: ignore[misc]
        await asyncio.sleep(0.6)
    await asyncio.to_thread(platform.stop, signal.SIGKILL)
    await asyncio.to_thread(platform.start)


async def test_no_accepted_event_is_lost(platform: Platform) -> None:
    async with recording() as recorder, aiohttp.ClientSession() as session:
        await asyncio.to_thread(set_up, platform, recorder.url)
        host = "broker-ingress.knative-eventing.localhost"
        url = f"http://127.0.0.1:{platform.ports[0]}/{NAMESPACE}/default"
        session.headers["Host"] = host
        producer = Producer(session, url)
        await asyncio.gather(stream(producer), kill_all(platform))
        expected = {f"e{number}" for number in range(EVENTS)}

        def missing() -> tuple[list[str], list[str]]:
            recorded = recorder.ids("/record")
            answered = recorder.ids("/result", "ce-causationid")
            return sorted(expected - set(recorded)), sorted(expected - set(answered))

        await until(lambda: missing() == ([], []), 60, missing)
        twice = sum(recorder.ids("/record").values()) - EVENTS
        replies = sum(recorder.ids("/result", "ce-causationid").values()) - EVENTS
        print(
            f"\n{EVENTS} events, 0 lost, {twice} twice, replies twice {replies}, refused {producer.refusals}"
        )
        assert set(recorder.ids("/record")) == expected
        assert twice + replies < EVENTS, "more duplicates than kills can explain"
    await asyncio.to_thread(platform.kubectl, "delete", "namespace", NAMESPACE, "--wait=false")
