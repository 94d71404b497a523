"""Models from S3 with credentials of a Secret, from a claim, and what a user is told when the source is wrong."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from e2e import iris, manifests, s3
from e2e.dumps import Dumps
from e2e.homes.port import Access
from e2e.kube import Condition, Kube, Obj
from e2e.normal import Names
from e2e.waiting import until
from e2e.web import Ingress

ACCOUNT = "reads-s3"
TOLD_LIMIT_S = 90


@pytest.fixture(scope="module")
def store(access: Access, trained: iris.Trained) -> Iterator[s3.S3]:
    with s3.serving(access.host_address) as made:
        made.put("models", "iris/v1/model.joblib", trained.files["iris-v1"])
        yield made


@pytest.fixture(scope="module")
def account(kube: Kube, namespace: str, store: s3.S3) -> str:
    """The name of an account that may read."""
    kube.apply(*with_credentials(namespace, ACCOUNT, store))
    allow_reading(kube, namespace)
    return ACCOUNT


def with_credentials(namespace: str, name: str, store: s3.S3) -> tuple[Obj, Obj]:
    """A ServiceAccount that names a Secret with KServe's annotations."""
    notes = {
        "serving.kserve.io/s3-endpoint": store.endpoint,
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"{name}-s3", "namespace": namespace, "annotations": notes},
        "stringData": {"AWS_ACCESS_KEY_ID": store.key, "AWS_SECRET_ACCESS_KEY": store.secret},
    }
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
        "secrets": [{"name": f"{name}-s3"}],
    }
    return secret, account


def allow_reading(kube: Kube, namespace: str) -> None:
    """The controller reads Secrets only where a RoleBinding lets it (docs/reference/inferenceservice.md)."""
    kube.kubectl(
        "create",
        "rolebinding",
        "wakeful-credentials",
        "-n",
        namespace,
        "--clusterrole=wakeful-credentials-reader",
        "--serviceaccount=wakeful-system:wakeful-controller",
    )


def from_source(namespace: str, name: str, uri: str, account: str = "") -> Obj:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": uri, "resources": manifests.SMALL}
    predictor: Obj = {"minReplicas": 1, "model": model}
    if account:
        predictor["serviceAccountName"] = account
    return manifests.inference_service(namespace, name, predictor)


def test_a_model_from_s3(
    kube: Kube, ingress: Ingress, namespace: str, account: str, trained: iris.Trained
) -> None:
    kube.apply(from_source(namespace, "bucket", "s3://models/iris/v1", account))
    isvc = kube.until_ready("InferenceService", namespace, "bucket")
    answer = ingress.call(isvc["status"]["url"] + "/v1/models/bucket:predict", {"instances": trained.rows})
    assert (answer.status, answer.json()) == (200, {"predictions": trained.classes})
    kube.kubectl("delete", "isvc", "bucket", "-n", namespace)


WRONG = {
    "nobucket": ("s3://absent/iris", "absent"),
    "nokey": ("s3://models/iris/v9", "iris/v9"),
}


def test_a_wrong_source_is_told_with_its_reason(
    kube: Kube, namespace: str, account: str, store: s3.S3, dumps: Dumps
) -> None:
    for name, (uri, _) in WRONG.items():
        kube.apply(from_source(namespace, name, uri, account))
    for name, (_, word) in WRONG.items():
        told = until_told(kube, namespace, name, word)
        assert (told.status, told.reason) == ("False", "RevisionFailed"), told
        assert "not_found" in told.message, told
        failure = kube.get("InferenceService", namespace, name)["status"]["modelStatus"]
        assert failure["states"]["targetModelState"] == "FailedToLoad"
        names = Names(namespace, store.endpoint)
        dumps.add(f"{name}: PredictorReady", dataclasses.asdict(told), names)
        failure["lastFailureInfo"].pop("time", None)
        dumps.add(f"{name}: modelStatus", failure, names)
    kube.kubectl("delete", "isvc", *WRONG, "-n", namespace)


WRONG_KEYS = {
    "badkey": ({"key": "AKIANOBODY"}, "InvalidAccessKeyId"),
    "badsecret": ({"secret": "guessed"}, "SignatureDoesNotMatch"),
}


def test_wrong_credentials_are_told_with_their_reason(
    kube: Kube, namespace: str, account: str, store: s3.S3, dumps: Dumps
) -> None:
    """A key that the store does not know, and a secret that is not its own; neither is shown again."""
    for name, (change, _) in WRONG_KEYS.items():
        kube.apply(*with_credentials(namespace, name, dataclasses.replace(store, **change)))
        kube.apply(from_source(namespace, name, "s3://models/iris/v1", name))
    for name, (_, word) in WRONG_KEYS.items():
        told = until_told(kube, namespace, name, word)
        assert (told.status, told.reason) == ("False", "RevisionFailed"), told
        assert not any(value in told.message for value in ("guessed", store.secret)), told
        dumps.add(f"{name}: PredictorReady", dataclasses.asdict(told), Names(namespace, store.endpoint))
    kube.kubectl("delete", "isvc", *WRONG_KEYS, "-n", namespace)


def test_a_claim_that_is_not_there(kube: Kube, namespace: str, dumps: Dumps) -> None:
    kube.apply(from_source(namespace, "noclaim", "pvc://absent/iris"))
    told = until_told(kube, namespace, "noclaim", '"absent" not found')
    assert told.status != "True", told
    dumps.add("noclaim: PredictorReady", dataclasses.asdict(told), Names(namespace, "\0"))
    kube.kubectl("delete", "isvc", "noclaim", "-n", namespace)


def test_a_model_file_that_is_not_there(kube: Kube, namespace: str, store: s3.S3, account: str) -> None:
    store.put("models", "readme/notes.txt", b"nothing to load")
    kube.apply(from_source(namespace, "nomodel", "s3://models/readme", account))
    told = until_told(kube, namespace, "nomodel", "failed with exit code")
    assert told.status == "False", told
    assert "model file" in told.message, told
    kube.kubectl("delete", "isvc", "nomodel", "-n", namespace)


def until_told(kube: Kube, namespace: str, name: str, word: str) -> Condition:
    """Wait until PredictorReady says ``word``."""
    return until(
        lambda: kube.condition("InferenceService", namespace, name, "PredictorReady"),
        TOLD_LIMIT_S,
        f"{name} to say {word!r}",
        lambda seen: word in seen.message,
    )
