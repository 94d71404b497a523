"""Parts of the platform end without warning under healthy traffic: nothing is lost, nothing is left over."""

from __future__ import annotations

import collections
import contextlib
from collections.abc import Iterator

import pytest

from e2e import manifests
from e2e.homes.port import Access, Home, Part
from e2e.kube import Kube, Obj
from e2e.waiting import stays, until
from e2e.web import Ingress

CHILDREN = (
    "KnativeService",
    "Configuration",
    "Revision",
    "Route",
    "Ingress",
    "PodAutoscaler",
    "Deployment",
    "Service",
    "Pod",
)
SETTLE_S = 90
BACK_S = 150
"""After a power cut: a node's pods are all made again at the same time."""
POWER_LIMIT_S = 480
FEW = 20
"""Requests that there must have been at least, for zero failed ones to mean anything."""


class Healthy:
    """The InferenceService ``steady``, whose pods answer one word."""

    def __init__(self, kube: Kube, home: tuple[Home, Access], ingress: Ingress, namespace: str) -> None:
        self.kube, self.ingress, self.namespace = kube, ingress, namespace
        self.home, self.access = home

    def apply(self, word: str, name: str = "steady") -> None:
        container = manifests.container(self.access.python_image, "says", WORD=word)
        predictor: Obj = {"minReplicas": 1, "containers": [container]}
        soon = {"autoscaling.knative.dev/window": "6s"}  # pods of an old revision go in seconds
        self.kube.apply(manifests.inference_service(self.namespace, name, predictor, annotations=soon))

    def url(self, limit_s: float = SETTLE_S) -> str:
        isvc = self.kube.until_ready("InferenceService", self.namespace, "steady", limit_s)
        found: str = isvc["status"]["url"]
        return found

    def until_only(self, word: str, limit_s: float = SETTLE_S) -> None:
        url = self.url(limit_s)
        until(
            lambda: self.ingress.count(url, 20), limit_s, f"only {word!r}", lambda seen: set(seen) == {word}
        )

    def left(self, name: str = "steady") -> list[str]:
        """Objects of one InferenceService that exist."""
        return [
            f"{kind}/{item['metadata']['name']}"
            for kind in CHILDREN
            for item in self.kube.items(kind, self.namespace)
            if item["metadata"]["name"].startswith(name)
        ]

    @contextlib.contextmanager
    def unharmed(self) -> Iterator[collections.Counter[str]]:
        """Traffic for the time of the block, of which no request may fail."""
        with self.ingress.traffic(self.url()) as seen:
            yield seen
        failed = {word: count for word, count in seen.items() if word.startswith("HTTP ")}
        assert not failed, seen
        assert seen.total() >= FEW, seen


@pytest.fixture(scope="module")
def healthy(kube: Kube, home: tuple[Home, Access], ingress: Ingress, namespace: str) -> Healthy:
    made = Healthy(kube, home, ingress, namespace)
    made.apply("one")
    made.until_only("one")
    return made


def can_kill(healthy: Healthy, part: Part) -> None:
    if part not in healthy.home.parts:
        pytest.skip(f"the {part} of a cluster given by --kubeconfig is not ours to kill")


def test_controller_killed_in_the_middle_of_a_rollout(healthy: Healthy, kube: Kube, namespace: str) -> None:
    with healthy.unharmed():
        healthy.apply("two")
        until(
            lambda: kube.items("Revision", namespace), 30, "the new revision", lambda found: len(found) == 2
        )
        healthy.home.kill(Part.CONTROLLER)
        healthy.until_only("two")
    status = kube.get("InferenceService", namespace, "steady")["status"]
    assert status["components"]["predictor"]["latestReadyRevision"] == "steady-predictor-00002"
    assert len(kube.items("KnativeService", namespace)) == 1
    until(
        lambda: kube.pods(namespace, {"serving.knative.dev/revision": "steady-predictor-00001"}),
        SETTLE_S,
        "the old revision's pods to go",
        lambda pods: pods == [],
    )


def test_two_controllers_agree(healthy: Healthy, kube: Kube, namespace: str) -> None:
    names = [f"twin-{number}" for number in range(4)]
    with healthy.home.second_controller(), healthy.unharmed():
        for name in names:
            healthy.apply("twin", name)
        for name in names:
            kube.until_ready("InferenceService", namespace, name)

        def versions() -> list[tuple[str, int]]:
            return [
                (
                    kube.get("InferenceService", namespace, name)["metadata"]["resourceVersion"],
                    kube.get("KnativeService", namespace, f"{name}-predictor")["metadata"]["generation"],
                )
                for name in names
            ]

        until(lambda: (versions(), versions()), 30, "the writes to end", lambda pair: pair[0] == pair[1])
        before = versions()
        stays(lambda: versions() == before, 3.0, "an object that nobody changes is not written again")
        assert [generation for _, generation in before] == [1] * len(names)
    kube.kubectl("delete", "isvc", "-n", namespace, *names)
    until(lambda: healthy.left("twin"), SETTLE_S, "what belonged to them to go", lambda left: left == [])


def test_api_server_restarted(healthy: Healthy, kube: Kube, namespace: str) -> None:
    can_kill(healthy, Part.API_SERVER)
    pods = kube.pods(namespace, {"serving.kserve.io/inferenceservice": "steady"})
    with healthy.unharmed():
        healthy.home.kill(Part.API_SERVER)
        until(lambda: kube.find("InferenceService", namespace, "steady"), 60, "the API to answer")
        assert kube.pods(namespace, {"serving.kserve.io/inferenceservice": "steady"}) == pods
        healthy.apply("three")
        healthy.until_only("three")


def test_node_agent_restarted(healthy: Healthy, kube: Kube, namespace: str) -> None:
    can_kill(healthy, Part.NODE)
    labels = {"serving.kserve.io/inferenceservice": "steady"}
    healthy.until_only(word := next(iter(healthy.ingress.count(healthy.url(), 1))))
    with healthy.unharmed():
        healthy.home.kill(Part.NODE)
        healthy.apply(word + "+")
        healthy.until_only(word + "+")
    (name,) = until(lambda: kube.pods(namespace, labels), SETTLE_S, "one pod", lambda found: len(found) == 1)
    kube.kubectl("delete", "pod", name, "-n", namespace, "--wait=false")
    until(
        lambda: kube.pods(namespace, labels),
        SETTLE_S,
        "a pod in its place",
        lambda found: len(found) == 1 and found != [name],
    )
    healthy.until_only(word + "+")


def test_pod_deleted_while_its_program_starts(healthy: Healthy, kube: Kube, namespace: str) -> None:
    """It goes at once, not after Knative's grace of five minutes, although its program handles no signal yet."""
    container = manifests.container(healthy.access.python_image, "starts")
    kube.apply(manifests.inference_service(namespace, "slow", {"minReplicas": 1, "containers": [container]}))

    def started() -> list[str]:
        pods = kube.items("Pod", namespace, "serving.kserve.io/inferenceservice=slow")
        return [
            pod["metadata"]["name"]
            for pod in pods
            for one in pod.get("status", {}).get("containerStatuses", [])
            if one["name"] == "kserve-container" and "running" in one["state"]
        ]

    name = until(started, SETTLE_S, "its container to run")[0]
    kube.kubectl("delete", "pod", name, "-n", namespace, "--wait=false")
    until(lambda: kube.find("Pod", namespace, name) is None, SETTLE_S, "the pod to go")
    kube.kubectl("delete", "isvc", "slow", "-n", namespace)
    until(lambda: healthy.left("slow"), SETTLE_S, "what belonged to it to go", lambda left: left == [])


@pytest.mark.timeout(POWER_LIMIT_S, func_only=True)
def test_power_cut(healthy: Healthy, kube: Kube, namespace: str) -> None:
    """Every process dies at once: what was acknowledged a moment before holds, what was going goes."""
    can_kill(healthy, Part.EVERYTHING)
    healthy.apply("gone", "going")
    kube.until_ready("InferenceService", namespace, "going")
    kube.kubectl("delete", "isvc", "going", "-n", namespace, "--wait=false")
    healthy.apply("powered")
    generation = kube.get("InferenceService", namespace, "steady")["metadata"]["generation"]
    healthy.home.kill(Part.EVERYTHING)
    healthy.until_only("powered", BACK_S)
    assert kube.get("InferenceService", namespace, "steady")["metadata"]["generation"] == generation
    until(lambda: healthy.left("going"), BACK_S, "what was going to be gone", lambda left: left == [])
    labels = {"serving.kserve.io/inferenceservice": "steady"}
    until(lambda: kube.pods(namespace, labels), SETTLE_S, "one pod", lambda found: len(found) == 1)
    assert len(kube.items("KnativeService", namespace)) == 1
    healthy.apply("working", "made-after")
    kube.until_ready("InferenceService", namespace, "made-after")
    kube.kubectl("delete", "isvc", "made-after", "-n", namespace)


def test_nothing_is_left_of_a_deleted_model(healthy: Healthy, kube: Kube, namespace: str) -> None:
    """Last of this file: after all that was killed, a deletion still takes everything with it."""
    url = healthy.url()
    kube.kubectl("delete", "isvc", "steady", "-n", namespace, "--timeout=60s")
    until(healthy.left, SETTLE_S, "what belonged to it to go", lambda left: left == [])
    assert healthy.ingress.call(url).status == 404
