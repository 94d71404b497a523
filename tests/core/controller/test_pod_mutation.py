"""What the pod webhook does to a serving pod (KServe behaviour page sections 3.1 to 3.4)."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from controller.desired import configuration, podmutation
from controller.desired.podmutation import PodFacts, PodRefusedError

Obj = dict[str, Any]
INTERNAL = "internal.serving.kserve.io/"
URI = INTERNAL + "storage-initializer-sourceuri"


def pod(annotations: Obj, *containers: Obj, **spec: Any) -> Obj:
    metadata = {"labels": {"serving.kserve.io/inferenceservice": "iris"}, "annotations": annotations}
    found = list(containers) or [{"name": "kserve-container", "image": "i"}, {"name": "side", "image": "s"}]
    return {"metadata": metadata, "spec": {"containers": found} | spec}


def secret(name: str, annotations: Obj | None = None, **data: str) -> Obj:
    encoded = {
        key.replace("__", "-"): base64.b64encode(value.encode()).decode() for key, value in data.items()
    }
    return {"metadata": {"name": name, "annotations": annotations or {}}, "data": encoded}


def mutate(obj: Obj, account: Obj | None = None, *secrets: Obj, **config: Obj) -> Obj:
    settings = configuration.parse(
        {"data": {key: json.dumps(value) for key, value in config.items()}}
    ).storage
    facts = PodFacts(account, {item["metadata"]["name"]: item for item in secrets})
    changed = podmutation.mutate(obj, facts, settings)
    assert podmutation.mutate(changed, facts, settings) == changed, "reinvocation must change nothing"
    return changed


def initializer(obj: Obj) -> Obj:
    found: Obj = obj["spec"]["initContainers"][-1]
    assert found["name"] == "storage-initializer"
    return found


def env(obj: Obj) -> dict[str, Any]:
    return {
        item["name"]: item.get("value") or item["valueFrom"]["secretKeyRef"]
        for item in initializer(obj)["env"]
    }


def test_a_pod_of_nobody_passes_unchanged() -> None:
    plain = pod({URI: "s3://b/m"})
    del plain["metadata"]["labels"]
    assert mutate(plain) is plain


def test_a_download_is_an_init_container_and_a_read_only_mount() -> None:
    found = mutate(pod({URI: "s3://b/m"}))
    container = initializer(found)
    assert container["args"] == ["s3://b/m", "/mnt/models"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
    assert container["resources"]["limits"] == {"cpu": "1", "memory": "1Gi"}
    assert container["volumeMounts"] == [{"name": "kserve-provision-location", "mountPath": "/mnt/models"}]
    main, side = found["spec"]["containers"]
    assert main["volumeMounts"] == [
        {"name": "kserve-provision-location", "mountPath": "/mnt/models", "readOnly": True}
    ]
    assert "volumeMounts" not in side
    assert env(found)["HF_XET_NUM_CONCURRENT_RANGE_GETS"] == "8"


def test_read_write_uid_and_variable() -> None:
    annotations = {
        URI: "s3://b/m",
        "storage.kserve.io/readonly": "false",
        "serving.kserve.io/storage-initializer-uid": "7",
    }
    main = {
        "name": "kserve-container",
        "env": [{"name": "STORAGE_URI", "value": "s3://b/m"}],
        "securityContext": {"runAsUser": 1, "privileged": False},
    }
    found = mutate(pod(annotations, main))
    assert found["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] is False
    assert found["spec"]["containers"][0]["env"] == [{"name": "STORAGE_URI", "value": "/mnt/models"}]
    assert initializer(found)["securityContext"] == {"runAsUser": 7, "privileged": False}


def test_a_claim_is_mounted_without_init_container() -> None:
    found = mutate(pod({URI: "pvc://claim/a/b"}))
    assert "initContainers" not in found["spec"]
    assert found["spec"]["volumes"] == [
        {"name": "kserve-pvc-source", "persistentVolumeClaim": {"claimName": "claim"}}
    ]
    mount = {"name": "kserve-pvc-source", "mountPath": "/mnt/models", "subPath": "a/b", "readOnly": True}
    assert found["spec"]["containers"][0]["volumeMounts"] == [mount]


@pytest.mark.parametrize(
    ("paths", "mounts"),
    [
        (["/mnt/models/a", "/mnt/models/b"], ["/mnt/models"]),
        (["/mnt/models"], ["/mnt/models"]),
        (["/a/x", "/b/y"], ["/a/x", "/b/y"]),
    ],
)
def test_several_downloads_share_their_common_parent(paths: list[str], mounts: list[str]) -> None:
    uris = [{"uri": f"s3://b/{index}", "mountPath": path} for index, path in enumerate(paths)]
    found = mutate(
        pod({INTERNAL + "storage-uris": json.dumps([*uris, {"uri": "pvc://c/d", "mountPath": "/mnt/pvc"}])})
    )
    assert [item["mountPath"] for item in initializer(found)["volumeMounts"]] == mounts
    assert initializer(found)["args"] == [text for item in uris for text in (item["uri"], item["mountPath"])]
    assert found["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] == "/mnt/pvc"


REFUSED = {
    "logger": (pod({INTERNAL + "logger": "true"}), "not supported yet"),
    "mount taken": (
        pod(
            {URI: "s3://b/m"},
            {"name": "kserve-container", "volumeMounts": [{"name": "v", "mountPath": "/mnt/models/"}]},
        ),
        "already mounts something at /mnt/models",
    ),
    "no model container": (pod({URI: "s3://b/m"}, {"name": "x"}), "cannot find container: kserve-container"),
    "scheme": (pod({URI: "ftp://x"}), "StorageURI not supported"),
    "claim": (pod({URI: "pvc://c/../x"}), "must not contain '..'"),
    "uid": (pod({URI: "s3://b/m", "serving.kserve.io/storage-initializer-uid": "root"}), "must be a number"),
    "not JSON": (pod({INTERNAL + "storage-uris": "{"}), "is not JSON"),
}


@pytest.mark.parametrize(("obj", "words"), REFUSED.values(), ids=list(REFUSED))
def test_refused_pods(obj: Obj, words: str) -> None:
    with pytest.raises(PodRefusedError, match=words.replace("(", r"\(").replace("..", r"\.\.")):
        mutate(obj)


def test_accelerator() -> None:
    annotations = {"serving.kserve.io/gke-accelerator": "nvidia-l4"}
    gpu = {"name": "kserve-container", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    assert mutate(pod(annotations, gpu))["spec"]["nodeSelector"] == {
        "cloud.google.com/gke-accelerator": "nvidia-l4"
    }
    assert "nodeSelector" not in mutate(pod(annotations))["spec"]


def test_s3_variables_from_annotations_then_data_then_configuration() -> None:
    keys = {
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "key",
        "S3_ENDPOINT": "http://data:1",
        "AWS_DEFAULT_REGION": "eu",
    }
    own = secret(
        "s", {"serving.kserve.io/s3-endpoint": "note:2", "serving.kserve.io/s3-usehttps": "0"}, **keys
    )
    found = env(
        mutate(pod({URI: "s3://b/m"}), {}, own, credentials={"s3": {"s3VerifySSL": "0", "s3Region": "us"}})
    )
    assert found["AWS_ACCESS_KEY_ID"] == {"name": "s", "key": "AWS_ACCESS_KEY_ID"}
    assert found["AWS_SECRET_ACCESS_KEY"] == {"name": "s", "key": "AWS_SECRET_ACCESS_KEY"}
    assert (found["S3_ENDPOINT"], found["AWS_ENDPOINT_URL"], found["S3_USE_HTTPS"]) == (
        "note:2",
        "http://note:2",
        "0",
    )
    assert (found["AWS_DEFAULT_REGION"], found["S3_VERIFY_SSL"]) == ("eu", "0")


def test_the_scheme_of_an_endpoint_wins_over_use_https() -> None:
    own = secret(
        "s",
        {"serving.kserve.io/s3-endpoint": "http://h:1", "serving.kserve.io/s3-usehttps": "1"},
        awsSecretAccessKey="k",
    )
    found = env(mutate(pod({URI: "s3://b/m"}), {}, own))
    assert (found["AWS_ENDPOINT_URL"], found["S3_USE_HTTPS"]) == ("http://h:1", "0")


SECRETS = {
    "azure": ({"AZURE_CLIENT_ID": "x"}, {"AZURE_CLIENT_ID": {"name": "s", "key": "AZURE_CLIENT_ID"}}),
    "azure, short": (
        {"AZ_CLIENT_ID": "x"},
        {"AZURE_CLIENT_SECRET": {"name": "s", "key": "AZ_CLIENT_SECRET"}},
    ),
    "hugging face": ({"HF_TOKEN": "x"}, {"HF_TOKEN": {"name": "s", "key": "HF_TOKEN"}}),
    "https": ({"https__host": "h.org", "headers": "{}"}, {"h.org-headers": {"name": "s", "key": "headers"}}),
    "google": (
        {"gcloud__application__credentials.json": "{}"},
        {"GOOGLE_APPLICATION_CREDENTIALS": "/var/secrets/gcloud-application-credentials.json"},
    ),
}


@pytest.mark.parametrize(("data", "wanted"), SECRETS.values(), ids=list(SECRETS))
def test_other_secrets_are_known_by_their_keys(data: dict[str, str], wanted: Obj) -> None:
    found = env(mutate(pod({URI: "s3://b/m"}), {}, secret("s", **data)))
    assert wanted.items() <= found.items()


def spec_pod(**more: str) -> Obj:
    return pod(
        {INTERNAL + "storage-spec": "true", URI: "storage-spec://iris"}
        | {INTERNAL + key: value for key, value in more.items()}
    )


def test_storage_spec_takes_its_source_from_the_secret() -> None:
    entry = json.dumps({"type": "s3", "bucket": "b", "access_key_id": "x"})
    found = mutate(spec_pod(**{"storage-spec-key": "mine"}), None, secret("storage-config", mine=entry))
    assert initializer(found)["args"][0] == "s3://b/iris"
    assert env(found)["STORAGE_CONFIG"] == {"name": "storage-config", "key": "mine"}


SPECS: dict[str, tuple[Obj, Obj, str]] = {
    "no such key": ({"storage-spec-key": "x"}, {"mine": "{}"}, "has no key x"),
    "no type": ({"storage-spec-key": "mine"}, {"mine": "{}"}, "no type given by key mine"),
    "no bucket": ({"storage-spec-key": "mine"}, {"mine": '{"type": "s3"}'}, "needs a bucket"),
    "not JSON": ({"storage-spec-key": "mine"}, {"mine": "{"}, "is not JSON"),
    "nothing known": ({}, {}, "no type given by storage.parameters.type"),
}


@pytest.mark.parametrize(("keys", "data", "words"), SPECS.values(), ids=list(SPECS))
def test_unusable_storage_specs(keys: dict[str, str], data: dict[str, str], words: str) -> None:
    with pytest.raises(PodRefusedError, match=words):
        mutate(spec_pod(**keys), None, secret("storage-config", **data))


def test_which_secrets_are_asked_for() -> None:
    config = configuration.StorageConfig()
    account = {"secrets": [{"name": "a"}, {"name": "b"}]}
    assert podmutation.secrets_needed(pod({URI: "s3://b/m"}), account, config) == ["a", "b"]
    assert podmutation.secrets_needed(pod({URI: "pvc://c"}), account, config) == []
    assert podmutation.secrets_needed(spec_pod(), account, config) == ["storage-config"]
    named = pod({URI: "s3://b/m", "serving.kserve.io/storageSecretName": "mine"})
    assert podmutation.secrets_needed(named, account, config) == ["mine"]
