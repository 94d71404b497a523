"""The Python ``kubernetes`` client and kopf, unmodified, against the API server."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_api import eventually
from cluster_objects import definition, version, widget, widgets
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock
from server_process import ServerProcess

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture
def k8s(shared: ServerProcess) -> Iterator[client.ApiClient]:
    with config.new_client_from_config(str(shared.data_dir / "kubeconfig")) as found:
        yield found
        found.rest_client.pool_manager.clear()


def _map(name: str, **data: str) -> client.V1ConfigMap:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"by": "python"}), data=data)


def test_typed_client(k8s: client.ApiClient) -> None:
    core = client.CoreV1Api(k8s)
    name = f"t-{secrets.token_hex(3)}"
    created = core.create_namespaced_config_map("default", _map(name, a="1"))
    assert created.metadata.creation_timestamp.tzinfo is not None
    assert core.patch_namespaced_config_map(name, "default", {"data": {"b": "2"}}).data == {
        "a": "1",
        "b": "2",
    }
    created.data = {"late": "yes"}
    with pytest.raises(ApiException) as caught:
        core.replace_namespaced_config_map(name, "default", created)
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    listed = core.list_namespaced_config_map("default", label_selector="by=python", limit=1)
    assert len(listed.items) == 1
    core.delete_namespaced_config_map(name, "default")
    with pytest.raises(ApiException) as caught:
        core.read_namespaced_config_map(name, "default")
    assert caught.value.status == 404


def test_typed_client_of_workloads(k8s: client.ApiClient) -> None:
    apps = client.AppsV1Api(k8s)
    name = f"t-{secrets.token_hex(3)}"
    body = client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1DeploymentSpec(
            replicas=0,
            selector=client.V1LabelSelector(match_labels={"app": name}),
            template=client.V1PodTemplateSpec(
                metadata=client.V1ObjectMeta(labels={"app": name}),
                spec=client.V1PodSpec(containers=[client.V1Container(name="c", image="x:1")]),
            ),
        ),
    )
    assert apps.create_namespaced_deployment("default", body).spec.strategy.type == "RollingUpdate"
    scale = apps.read_namespaced_deployment_scale(name, "default")
    scale.spec.replicas = 3
    assert apps.replace_namespaced_deployment_scale(name, "default", scale).spec.replicas == 3
    options = client.V1DeleteOptions(propagation_policy="Foreground")
    apps.delete_namespaced_deployment(name, "default", body=options)
    eventually(
        lambda: not apps.list_namespaced_deployment("default", field_selector=f"metadata.name={name}").items,
        "not deleted",
    )


def test_watch_of_the_client(k8s: client.ApiClient) -> None:
    core = client.CoreV1Api(k8s)
    name = f"w-{secrets.token_hex(3)}"
    follow = watch.Watch()
    seen: list[tuple[str, str]] = []

    thread = threading.Thread(target=_write, args=(k8s, name))
    thread.start()
    selector = f"metadata.name={name}"
    stream = follow.stream(
        core.list_namespaced_config_map, "default", field_selector=selector, timeout_seconds=10
    )
    for event in stream:
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            follow.stop()
    thread.join(10)
    assert seen == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]


def _write(k8s: client.ApiClient, name: str) -> None:
    """Create, change and delete a ConfigMap."""
    core = client.CoreV1Api(k8s)
    core.create_namespaced_config_map("default", _map(name))
    core.patch_namespaced_config_map(name, "default", {"data": {"x": "1"}})
    core.delete_namespaced_config_map(name, "default")


@pytest.fixture
def crd(shared: ServerProcess) -> Iterator[dict[str, Any]]:
    api = shared.api()
    body = definition(f"p{secrets.token_hex(3)}.example.com", versions=[version("v1")])
    api.post(CRDS, body).ok()
    yield body
    api.delete(f"{CRDS}/{body['metadata']['name']}")


def test_dynamic_client(k8s: client.ApiClient, crd: dict[str, Any], tmp_path: Path) -> None:
    found = dynamic.DynamicClient(k8s, cache_file=str(tmp_path / "discovery.json"))
    resource = found.resources.get(api_version=f"{crd['spec']['group']}/v1", kind="Widget")
    resource.create(body=widget(crd, "a"), namespace="default")
    applied = resource.server_side_apply(
        body=widget(crd, "a", size=3), namespace="default", field_manager="me", force_conflicts=True
    )
    assert applied.spec.size == 3
    patch = {"status": {"phase": "Good"}}
    media = "application/merge-patch+json"
    resource.status.patch(body=patch, name="a", namespace="default", content_type=media)
    assert resource.get(name="a", namespace="default").status.phase == "Good"
    names = [event["object"].metadata.name for event in resource.watch(namespace="default", timeout=1)]
    assert names == ["a"]
    resource.delete(name="a", namespace="default")


def test_custom_objects_client(k8s: client.ApiClient, crd: dict[str, Any]) -> None:
    """What the KServe SDK uses."""
    custom = client.CustomObjectsApi(k8s)
    place = (crd["spec"]["group"], "v1", "default", "widgets")
    custom.create_namespaced_custom_object(*place, widget(crd, "a"))
    changed = custom.patch_namespaced_custom_object(*place, "a", {"spec": {"size": 2}})
    assert changed["spec"] == {"size": 2, "color": "red"}
    with pytest.raises(ApiException) as caught:
        custom.create_namespaced_custom_object(*place, widget(crd, "b", size=99))
    assert caught.value.status == 422
    assert custom.delete_namespaced_custom_object(*place, "a")["status"] == "Success"


def test_leader_election(shared: ServerProcess) -> None:
    config.load_kube_config(str(shared.data_dir / "kubeconfig"))
    name = f"leader-{secrets.token_hex(3)}"
    leads: list[str] = []

    class Stop(Exception):
        pass

    def started() -> None:
        leads.append("one")

    def stopped() -> None:
        raise Stop

    lock = LeaseLock(name, "default", "one")
    settings = electionconfig.Config(
        lock,
        lease_duration=3,
        renew_deadline=2,
        retry_period=1,
        onstarted_leading=started,
        onstopped_leading=stopped,
    )
    election = leaderelection.LeaderElection(settings)
    assert election.try_acquire_or_renew()
    assert election.try_acquire_or_renew()
    other = electionconfig.Config(
        LeaseLock(name, "default", "two"),
        lease_duration=3,
        renew_deadline=2,
        retry_period=1,
        onstarted_leading=started,
        onstopped_leading=stopped,
    )
    assert not leaderelection.LeaderElection(other).try_acquire_or_renew()
    lease = shared.api().get(f"/apis/coordination.k8s.io/v1/namespaces/default/leases/{name}").ok()
    assert lease["spec"]["holderIdentity"] == "one"


OPERATOR = """
import kopf

@kopf.on.create("{group}", "v1", "widgets")
def on_create(spec, **_):
    return {{"seen": spec["size"]}}

@kopf.on.update("{group}", "v1", "widgets", field="spec.size")
def on_update(new, patch, **_):
    patch.status["phase"] = f"size-{{new}}"

@kopf.on.delete("{group}", "v1", "widgets")
def on_delete(**_):
    pass
"""


def test_kopf_operator(shared: ServerProcess, crd: dict[str, Any], tmp_path: Path) -> None:
    api = shared.api()
    crd["spec"]["versions"][0]["schema"] = {
        "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    }
    api.patch(f"{CRDS}/{crd['metadata']['name']}", {"spec": {"versions": crd["spec"]["versions"]}}).ok()
    script = tmp_path / "operator_under_test.py"
    script.write_text(OPERATOR.format(group=crd["spec"]["group"]))
    command = [sys.executable, "-m", "kopf", "run", str(script), "-n", "default", "--standalone"]
    log = tmp_path / "kopf.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=shared.environment, stdout=output, stderr=output)
    path = f"{widgets(crd, 'default')}/a"
    try:
        api.post(widgets(crd, "default"), widget(crd, "a", size=4)).ok()
        eventually(
            lambda: (api.get(path).ok().get("status") or {}).get("on_create") == {"seen": 4},
            f"no status: {log.read_text()}",
        )
        assert api.get(path).ok()["metadata"]["finalizers"]
        api.patch(path, {"spec": {"size": 7}}).ok()
        eventually(lambda: api.get(path).ok()["status"].get("phase") == "size-7", "no update")
        api.delete(path).ok()
        api.gone(path)
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()
        process.wait(5)
