"""From zero to one and back: a request that waits for a sleeping model is answered, fifty at once too."""

from __future__ import annotations

import pytest

from e2e import iris, manifests, normal
from e2e.dumps import Dumps
from e2e.homes.port import Access, Home
from e2e.kube import Kube, Obj
from e2e.test_iris import names_of
from e2e.waiting import until
from e2e.web import Answer, Ingress

SLEEP_LIMIT_S = 120
"""A window of 6 s, a grace of up to 30 s, and on a cluster 40 s until a drained pod is gone."""
PODS = {"serving.kserve.io/inferenceservice": "iris"}
MOST_PODS = 3


@pytest.fixture(scope="module")
def sleeper(kube: Kube, home: tuple[Home, Access], namespace: str, trained: iris.Trained) -> Obj:
    """An iris model that may sleep and may have at most three pods."""
    iris.fill_claim(kube, home, namespace, trained)
    model = {
        "modelFormat": {"name": "sklearn"},
        "storageUri": "pvc://models/iris-v1",
        "resources": manifests.SMALL,
    }
    predictor = {"minReplicas": 0, "maxReplicas": MOST_PODS, "model": model}
    kube.apply(manifests.inference_service(namespace, "iris", predictor, annotations=manifests.SLEEPS_SOON))
    return kube.until_ready("InferenceService", namespace, "iris")


def fall_asleep(kube: Kube, namespace: str) -> None:
    until(lambda: kube.pods(namespace, PODS), SLEEP_LIMIT_S, "the model to sleep", lambda left: left == [])


def predict(ingress: Ingress, isvc: Obj, trained: iris.Trained) -> Answer:
    return ingress.call(isvc["status"]["url"] + "/v1/models/iris:predict", {"instances": trained.rows})


def test_a_held_request_wakes_the_model(
    kube: Kube,
    ingress: Ingress,
    sleeper: Obj,
    trained: iris.Trained,
    namespace: str,
    dumps: Dumps,
    access: Access,
) -> None:
    fall_asleep(kube, namespace)
    asleep = kube.get("InferenceService", namespace, "iris")
    until(
        lambda: kube.get("InferenceService", namespace, "iris")["status"]["modelStatus"],
        30,
        "the status to say that the model sleeps",
        lambda seen: seen["states"]["activeModelState"] == "Standby",
    )
    asleep = kube.get("InferenceService", namespace, "iris")
    assert kube.condition("InferenceService", namespace, "iris").status == "True", asleep["status"]
    dumps.add("InferenceService asleep", asleep["status"], names_of(sleeper, namespace))
    answer = predict(ingress, sleeper, trained)
    assert (answer.status, answer.json()) == (200, {"predictions": trained.classes})
    assert len(kube.pods(namespace, PODS)) == 1


def test_fifty_at_once_onto_a_sleeping_model(
    kube: Kube, ingress: Ingress, sleeper: Obj, trained: iris.Trained, namespace: str
) -> None:
    fall_asleep(kube, namespace)
    answers = ingress.together(50, lambda: predict(ingress, sleeper, trained))
    wrong = [answer for answer in answers if answer.status != 200]
    assert wrong == []
    assert all(answer.json() == {"predictions": trained.classes} for answer in answers)
    assert 1 <= len(kube.pods(namespace, PODS)) <= MOST_PODS
    fall_asleep(kube, namespace)


def test_zero_is_told_by_knative_too(
    kube: Kube, sleeper: Obj, namespace: str, dumps: Dumps, access: Access
) -> None:
    names = names_of(sleeper, namespace)
    fall_asleep(kube, namespace)
    until(
        lambda: kube.condition("Revision", namespace, "iris-predictor-00001", "Active").reason,
        30,
        "the Revision to be inactive",
        lambda reason: reason == "NoTraffic",
    )
    until(
        lambda: kube.get("Revision", namespace, "iris-predictor-00001")["status"].get("actualReplicas", 0),
        SLEEP_LIMIT_S,
        "the drained pods to be counted out",
        lambda count: count == 0,
    )
    dumps.add("Revision asleep", kube.get("Revision", namespace, "iris-predictor-00001")["status"], names)
    said = kube.kubectl("get", "revision", "-n", namespace)
    dumps.add("columns of a sleeping revision", normal.columns(said, names), names)
