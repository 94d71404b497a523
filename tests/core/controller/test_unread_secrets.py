"""Credentials where the controller may not read Secrets: the pod mounts them, the storage initializer looks."""

from __future__ import annotations

from typing import Any

from controller.desired import configuration, podmutation
from controller.desired.podmutation import PodFacts

Obj = dict[str, Any]
INTERNAL = "internal.serving.kserve.io/"
ACCOUNT = {"metadata": {"annotations": {"serving.kserve.io/s3-endpoint": "http://s3.local:9000"}}}


def mutated(account: Obj | None = None, uri: str = "s3://b/m", **annotations: str) -> Obj:
    keys = {INTERNAL + key.replace("_", "-"): value for key, value in annotations.items()}
    metadata = {
        "labels": {"serving.kserve.io/inferenceservice": "iris"},
        "annotations": {INTERNAL + "storage-initializer-sourceuri": uri, **keys},
    }
    pod = {"metadata": metadata, "spec": {"containers": [{"name": "kserve-container", "image": "i"}]}}
    settings = configuration.parse({"data": {}}).storage
    facts = PodFacts(account, {}, ("storage-config",) if annotations else ("one", "two"))
    changed = podmutation.mutate(pod, facts, settings)
    assert podmutation.mutate(changed, facts, settings) == changed
    return changed["spec"]


def env(spec: Obj) -> Obj:
    return {
        item["name"]: item.get("value", item.get("valueFrom")) for item in spec["initContainers"][0]["env"]
    }


def test_every_secret_is_a_folder_of_the_initializer_only() -> None:
    spec = mutated(ACCOUNT)
    mounts = {item["mountPath"]: item for item in spec["initContainers"][0]["volumeMounts"]}
    root = env(spec)["WAKEFUL_CREDENTIALS"]
    assert {f"{root}/one", f"{root}/two"} <= mounts.keys()
    assert all(mounts[f"{root}/{name}"]["readOnly"] for name in ("one", "two"))
    sources = {item["name"]: item.get("secret", {}).get("secretName") for item in spec["volumes"]}
    assert [sources[mounts[f"{root}/{name}"]["name"]] for name in ("one", "two")] == ["one", "two"]
    inside = [item["mountPath"] for item in spec["containers"][0]["volumeMounts"]]
    assert not any(path.startswith(root) for path in inside), "the model server gets no credentials"


def test_settings_come_from_the_service_account() -> None:
    found = env(mutated(ACCOUNT))
    assert found["AWS_ENDPOINT_URL"] == "http://s3.local:9000"
    assert "AWS_ENDPOINT_URL" not in env(mutated())


def test_a_storage_spec_is_resolved_by_the_initializer() -> None:
    spec = mutated(uri="storage-spec://iris", storage_spec="true", storage_spec_key="minio")
    assert spec["initContainers"][0]["args"] == ["storage-spec://iris", "/mnt/models"]
    reference = {"name": "storage-config", "key": "minio", "optional": False}
    assert env(spec)["STORAGE_CONFIG"] == {"secretKeyRef": reference}


def test_a_storage_spec_that_says_all_itself_needs_no_secret() -> None:
    parameters = '{"type": "s3", "bucket": "b"}'
    spec = mutated(uri="storage-spec://iris", storage_spec="true", storage_spec_param=parameters)
    assert spec["initContainers"][0]["args"] == ["s3://b/iris", "/mnt/models"]
    assert env(spec)["STORAGE_CONFIG"]["secretKeyRef"]["optional"]
    assert env(spec)["STORAGE_CONFIG"]["secretKeyRef"]["key"] == "default_s3"
