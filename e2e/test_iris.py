"""The README's iris model: Ready, predicts over V1 and V2 through the ingress, and looks the same in both homes."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest

from e2e import iris, manifests, normal
from e2e.dumps import Dumps
from e2e.homes.port import Access, Home
from e2e.kube import Kube, Obj
from e2e.waiting import until
from e2e.web import Ingress

COLUMNS = ("isvc", "ksvc", "configuration", "revision", "route", "broker", "trigger")


@pytest.fixture(scope="module")
def ready(kube: Kube, home: tuple[Home, Access], namespace: str, trained: iris.Trained) -> Obj:
    """The sample, applied as the README says, and Ready."""
    iris.fill_claim(kube, home, namespace, trained)
    kube.apply(manifests.sample("iris.yaml", namespace))
    return kube.until_ready("InferenceService", namespace, "iris")


def names_of(isvc: Obj, namespace: str, *images: str) -> normal.Names:
    """The domain is what follows ``iris.NAMESPACE.`` in the URL."""
    host = urlsplit(isvc["status"]["url"]).netloc
    return normal.Names(namespace, host.partition(f"{namespace}.")[2], images)


def test_url_names_the_model_and_its_namespace(ready: Obj, namespace: str) -> None:
    url = urlsplit(ready["status"]["url"])
    assert url.scheme == "http"
    assert (url.hostname or "").startswith(f"iris.{namespace}.")
    assert ready["status"]["address"]["url"].startswith(f"http://iris.{namespace}.svc.cluster.local")


def test_predicts_over_v1(ready: Obj, ingress: Ingress, trained: iris.Trained) -> None:
    answer = ingress.call(ready["status"]["url"] + "/v1/models/iris:predict", {"instances": trained.rows})
    assert (answer.status, answer.json()) == (200, {"predictions": trained.classes})


def test_predicts_over_v2(ready: Obj, ingress: Ingress, trained: iris.Trained) -> None:
    tensor = {"name": "x", "shape": [len(trained.rows), 4], "datatype": "FP64", "data": trained.rows}
    answer = ingress.call(ready["status"]["url"] + "/v2/models/iris/infer", {"inputs": [tensor]})
    assert answer.status == 200, answer
    assert answer.json()["outputs"][0]["data"] == trained.classes


def test_health_and_metadata(
    ready: Obj, ingress: Ingress, dumps: Dumps, namespace: str, access: Access
) -> None:
    names = names_of(ready, namespace)
    for path in ("/", "/v1/models/iris", "/v2/health/ready", "/v2/models/iris", "/v2"):
        answer = ingress.call(ready["status"]["url"] + path)
        assert answer.status == 200, answer
        dumps.add(f"GET {path}", answer.json(), names)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/models/iris:predict", b"{", 400),
        ("/v1/models/iris:predict", {"instances": [[1.0, 2.0]]}, 400),
        ("/v1/models/other:predict", {"instances": [[1.0]]}, 404),
        ("/v2/models/iris/infer", {"inputs": [{"name": "x"}]}, 422),
    ],
    ids=["not JSON", "wrong shape", "no such model", "incomplete tensor"],
)
def test_a_bad_request_is_the_callers_fault(
    ready: Obj, ingress: Ingress, dumps: Dumps, path: str, body: object, status: int
) -> None:
    answer = ingress.call(ready["status"]["url"] + path, body)
    assert answer.status == status, answer
    dumps.add(f"bad request {path} {body!r}", answer.json(), normal.Names("\0", "\0"))


def test_an_unknown_host_is_not_found(ready: Obj, ingress: Ingress) -> None:
    assert ingress.call(ready["status"]["url"].replace("//iris.", "//nobody.")).status == 404


def test_objects_and_columns_are_left_for_the_comparison(
    ready: Obj, kube: Kube, dumps: Dumps, namespace: str, ingress: Ingress
) -> None:
    kube.until_ready("KnativeService", namespace, "iris-predictor")

    def scale() -> int | None:
        """What Knative wants while there are requests: it forgets it between two of its looks."""
        ingress.call(ready["status"]["url"] + "/v1/models/iris")
        found: int | None = kube.get("Revision", namespace, "iris-predictor-00001")["status"].get(
            "desiredReplicas"
        )
        return found

    until(scale, 30, "the Revision to tell its scale", lambda wanted: wanted == 1)
    names = names_of(ready, namespace)
    dumps.add("InferenceService", kube.get("InferenceService", namespace, "iris"), names)
    for kind in ("KnativeService", "Configuration", "Route"):
        dumps.add(kind, kube.get(kind, namespace, "iris-predictor"), names)
    dumps.add("Revision", kube.get("Revision", namespace, "iris-predictor-00001"), names)
    autoscaler = kube.get("PodAutoscaler", namespace, "iris-predictor-00001")
    del autoscaler["metadata"]["generation"], autoscaler["status"]["observedGeneration"]
    # they count whether it was made before or after a Route named its Revision: a race in both homes
    dumps.add("PodAutoscaler", autoscaler, names)
    dumps.add("Ingress of the model", kube.get("Ingress", namespace, "iris")["spec"], names)
    for kind in COLUMNS:
        said = kube.kubectl("get", kind, "-n", namespace, check=False)
        dumps.add(f"columns of {kind}", normal.columns(said, names), names)
        said = kube.kubectl("get", kind, "-n", namespace, "-o", "wide", check=False)
        dumps.add(f"wide columns of {kind}", normal.columns(said, names), names)


def test_events_tell_the_story(ready: Obj, kube: Kube, namespace: str, dumps: Dumps, access: Access) -> None:
    names = names_of(ready, namespace)
    kinds = ("InferenceService", "Service", "Configuration", "Revision", "Route")

    def seen() -> list[str]:
        lines = {
            f"{event['involvedObject']['kind']} {event['type']} {event['reason']}: {event['message']}"
            for event in kube.items("Event", namespace)
            if event["involvedObject"]["kind"] in kinds
        }
        return sorted(lines)

    told = until(
        seen, 30, "the last Event", lambda lines: any("InferenceServiceReady" in line for line in lines)
    )
    dumps.add("events", told, names)


def test_applying_again_changes_nothing(ready: Obj, kube: Kube, namespace: str) -> None:
    before = {kind: generation(kube, kind, namespace) for kind in ("Configuration", "Route")}
    said = kube.apply(manifests.sample("iris.yaml", namespace))
    assert "inferenceservice.serving.kserve.io/iris unchanged" in said, said
    assert {kind: generation(kube, kind, namespace) for kind in before} == before
    assert json.dumps(kube.get("InferenceService", namespace, "iris")["spec"], sort_keys=True) == json.dumps(
        ready["spec"], sort_keys=True
    )


def generation(kube: Kube, kind: str, namespace: str) -> int:
    found: int = kube.get(kind, namespace, "iris-predictor")["metadata"]["generation"]
    return found
