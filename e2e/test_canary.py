"""Rollout by canary, counted: shares, promotion, rollback, tag hosts, and a broken revision that takes no traffic."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from e2e import manifests
from e2e.dumps import Dumps
from e2e.homes.port import Access
from e2e.kube import Kube, Obj
from e2e.test_iris import names_of
from e2e.waiting import until
from e2e.web import Ingress

NAME = "word"
SETTLE_S = 60


class Rollout:
    """The InferenceService ``word``, whose pods answer one word."""

    def __init__(self, kube: Kube, ingress: Ingress, access: Access, namespace: str) -> None:
        self.kube, self.ingress, self.access, self.namespace = kube, ingress, access, namespace

    def apply(self, word: str, percent: int | None = None, **env: str) -> None:
        container = manifests.container(self.access.python_image, "says", WORD=word, **env)
        predictor: dict[str, Any] = {"minReplicas": 1, "containers": [container]}
        if percent is not None:
            predictor["canaryTrafficPercent"] = percent
        notes = {"serving.kserve.io/enable-tag-routing": "true", **manifests.SLEEPS_SOON}
        self.kube.apply(manifests.inference_service(self.namespace, NAME, predictor, annotations=notes))

    def ready(self) -> Obj:
        return self.kube.until_ready("InferenceService", self.namespace, NAME)

    @property
    def status(self) -> Obj:
        found: Obj = self.kube.get("InferenceService", self.namespace, NAME)["status"]
        return found

    def count(self, requests: int, url: str = "") -> dict[str, int]:
        return dict(self.ingress.count(url or self.status["url"], requests))

    def until_only(self, word: str) -> None:
        until(lambda: self.count(20), SETTLE_S, f"only {word!r}", lambda seen: set(seen) == {word})

    def tag_url(self, tag: str) -> str:
        traffic = self.status["components"]["predictor"]["traffic"]
        found = [target["url"] for target in traffic if target.get("tag") == tag]
        assert len(found) == 1, traffic
        return str(found[0])


@pytest.fixture(scope="module")
def rollout(kube: Kube, ingress: Ingress, access: Access, namespace: str) -> Rollout:
    made = Rollout(kube, ingress, access, namespace)
    made.apply("one")
    made.ready()
    return made


def test_a_canary_of_ten_percent(rollout: Rollout, dumps: Dumps, kube: Kube, namespace: str) -> None:
    assert rollout.count(20) == {"one": 20}
    rollout.apply("two", 10)
    isvc = rollout.ready()
    seen = rollout.count(1000)
    assert set(seen) == {"one", "two"}, seen
    assert 55 <= seen["two"] <= 150, seen  # 100 expected; 4.7 standard deviations of 9.5
    names = names_of_word(isvc, rollout)
    dumps.add("canary of 10 %: components", isvc["status"]["components"], names)
    traffic = kube.get("KnativeService", namespace, "word-predictor")
    dumps.add("canary of 10 %: spec of Knative's traffic", traffic["spec"]["traffic"], names)
    dumps.add("canary of 10 %: status of Knative's traffic", traffic["status"]["traffic"], names)


def names_of_word(isvc: Obj, rollout: Rollout) -> Any:
    return names_of(isvc, rollout.namespace, rollout.access.python_image)


def test_tags_lead_to_one_revision_each(rollout: Rollout) -> None:
    for tag, word in (("latest", "two"), ("prev", "one")):
        url = rollout.tag_url(tag)
        assert (urlsplit(url).hostname or "").startswith(f"{tag}-word-predictor.{rollout.namespace}.")
        assert rollout.count(20, url) == {word: 20}


def test_promotion_rollback_and_promotion_again(rollout: Rollout) -> None:
    rollout.apply("two")
    rollout.ready()
    rollout.until_only("two")
    rollout.apply("two", 0)
    rollout.until_only("one")
    rollout.apply("two")
    rollout.until_only("two")


def test_a_broken_revision_takes_no_traffic(rollout: Rollout, kube: Kube, dumps: Dumps) -> None:
    isvc = rollout.ready()
    with rollout.ingress.traffic(rollout.status["url"]) as seen:
        rollout.apply("three", EXIT="3")
        told = until(
            lambda: kube.condition("InferenceService", rollout.namespace, NAME),
            SETTLE_S,
            "the broken revision to be told",
            lambda found: found.status == "False",
        )
        assert rollout.count(100) == {"two": 100}
    # of a traffic change some of Envoy's workers hear a moment later: "one" may still be among the first answers
    assert set(seen) <= {"one", "two"}, seen
    assert "the weights are corrupt" in told.message, told
    until(
        lambda: rollout.status["modelStatus"]["copies"]["totalCopies"],
        SETTLE_S,
        "only the serving revision to have a ready pod",
        lambda count: count == 1,
    )
    status = rollout.status
    assert status["modelStatus"]["states"] == {
        "activeModelState": "Loaded",
        "targetModelState": "FailedToLoad",
    }
    names = names_of_word(isvc, rollout)
    dumps.add("a broken revision: modelStatus", status["modelStatus"], names)
    # what Knative itself says of a crashing container comes when it looks again: our own words are compared
    ours = [
        entry
        for entry in status["conditions"]
        if entry["type"] in ("Ready", "PredictorReady", "IngressReady")
    ]
    dumps.add("a broken revision: conditions", ours, names)
    rollout.apply("four")
    rollout.ready()
    rollout.until_only("four")
