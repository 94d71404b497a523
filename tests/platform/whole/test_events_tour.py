"""The events sample on the whole platform: columns, a sleeping model woken by an event, a pod as producer, dead letters."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from events_recorder import Producer, Recorder, event, recording
from waiting_rig import until
from whole_platform import Platform

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "hack"))
import train_iris  # noqa: E402

pytestmark = [
    pytest.mark.platform,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("needs_kubectl"),
]

NAMESPACE = "events-tour"
BODY = b'{"instances": [[5.1, 3.5, 1.4, 0.2]]}'
JSON = "application/json"
SENDER = """
import urllib.request
url = "http://broker-ingress.knative-eventing.svc.cluster.local/events-tour/default"
headers = {"ce-specversion": "1.0", "ce-id": "pod", "ce-source": "/pod", "ce-type": "com.example.iris.measured",
           "content-type": "application/json"}
print(urllib.request.urlopen(urllib.request.Request(url, b'[[5.1, 3.5, 1.4, 0.2]]', headers)).status)
"""


@dataclass
class Tour:
    platform: Platform
    recorder: Recorder
    producer: Producer

    async def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return await asyncio.to_thread(self.platform.kubectl, *arguments, text=text)

    async def answer_to(self, id_: str, limit_s: float = 30.0) -> tuple[dict[str, str], Any]:
        """The model's answer to an event, at the sample's second subscriber."""

        def found() -> list[tuple[dict[str, str], bytes]]:
            return [item for _, *item in self.recorder.got if item[0].get("ce-causationid") == id_]  # type: ignore[misc]

        await until(found, limit_s, lambda: f"no answer to {id_}: {self.recorder.got}")
        headers, body = found()[0]
        return headers, json.loads(body)


@pytest.fixture
async def tour(platform: Platform) -> AsyncIterator[Tour]:
    """The samples, applied and Ready."""
    async with recording() as recorder, aiohttp.ClientSession() as session:
        await asyncio.to_thread(train_iris.train, platform.layout.volumes / NAMESPACE / "models")
        session.headers["Host"] = "broker-ingress.knative-eventing.localhost"
        url = f"http://127.0.0.1:{platform.ports[0]}/{NAMESPACE}/default"
        made = Tour(platform, recorder, Producer(session, url))
        for name in ("iris.yaml", "iris-events.yaml"):
            text = (ROOT / "config/samples" / name).read_text().replace("iris-demo", NAMESPACE)
            text = text.replace("http://127.0.0.1:8090/", f"{recorder.url}/result")
            await made.kubectl("apply", "-f", "-", text=text)
        ready = ("-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s")
        await made.kubectl("wait", "isvc/iris", *ready)
        await made.kubectl("wait", "broker,trigger", "--all", *ready)
        yield made
        await made.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")


def trigger(name: str, type_: str, dead_letter: str) -> str:
    subscriber = {
        "ref": {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "name": "iris"}
    }
    spec = {
        "broker": "default",
        "filters": [{"exact": {"type": type_}}],
        "subscriber": subscriber,
        "delivery": {"deadLetterSink": {"uri": dead_letter}},
    }
    metadata = {"name": name, "namespace": NAMESPACE}
    made = {"apiVersion": "eventing.knative.dev/v1", "kind": "Trigger", "metadata": metadata, "spec": spec}
    return str(yaml.safe_dump(made))


async def test_the_sample_from_apply_to_a_woken_model(tour: Tour) -> None:
    columns = (await tour.kubectl("get", "broker", "-n", NAMESPACE)).split()
    assert columns[:5] == ["NAME", "URL", "AGE", "READY", "REASON"]
    assert f"http://broker-ingress.knative-eventing.svc.cluster.local/{NAMESPACE}/default" in columns
    columns = (await tour.kubectl("get", "trigger", "-n", NAMESPACE)).split()
    assert columns[:6] == ["NAME", "BROKER", "SUBSCRIBER_URI", "AGE", "READY", "REASON"]
    assert f"http://iris.{NAMESPACE}.svc.cluster.local/v1/models/iris:predict" in columns

    measured = "com.example.iris.measured"
    assert await tour.producer.post(event("warm", measured, content_type=JSON), BODY) == 202
    headers, answer = await tour.answer_to("warm")
    assert (headers["ce-type"], headers["ce-source"]) == (
        "io.kserve.inference.response",
        "io.kserve.inference.iris",
    )
    assert answer == {"predictions": [0]}

    async def sleeps() -> bool:
        return "predictor" not in await tour.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name")

    await until(sleeps, 60, "the model to sleep")
    assert await tour.producer.post(event("wake", measured, content_type=JSON), BODY) == 202
    assert (await tour.answer_to("wake"))[1] == {"predictions": [0]}


async def test_a_pod_sends_to_the_brokers_own_address(tour: Tour) -> None:
    container = {"name": "c", "image": "python:3.11", "command": ["python3", "-c", SENDER]}
    spec = {"restartPolicy": "Never", "containers": [container]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "sender", "namespace": NAMESPACE},
        "spec": spec,
    }
    await tour.kubectl("apply", "-f", "-", text=yaml.safe_dump(pod))
    assert (await tour.answer_to("pod"))[1] == {"predictions": [0]}
    assert (await tour.kubectl("logs", "sender", "-n", NAMESPACE)).strip() == "202"


async def test_what_the_model_refuses_is_dead_lettered_with_its_words(tour: Tour) -> None:
    await tour.kubectl("apply", "-f", "-", text=trigger("strict", "strict", f"{tour.recorder.url}/dead"))
    await tour.kubectl("wait", "trigger/strict", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=30s")
    body = b'{"instances": [[1.0, 2.0]]}'
    await tour.producer.insist(event("bad", "strict", content_type=JSON), body)
    await until(lambda: tour.recorder.ids("/dead"), 30, lambda: tour.recorder.got)
    headers, got = next(item[1:] for item in tour.recorder.got if item[0] == "/dead")
    assert (headers["ce-id"], headers["ce-knativeerrorcode"], got) == ("bad", "400", body)
    assert headers["ce-knativeerrordest"].endswith("/v1/models/iris:predict")
    assert b"shape [1, 2]" in base64.b64decode(headers["ce-knativeerrordata"])
