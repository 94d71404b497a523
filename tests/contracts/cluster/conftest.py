"""Fixtures of the cluster contract: one API server, one namespace and one definition for each case.

``WAKEFUL_CONTRACT_KUBECONFIG`` names the kubeconfig of another cluster to hold to the same contract; without it the
embedded API server is started alone (no node, no controllers of ours), as its own process.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster_api import KUBECONFIG, Api, Define, Obj, eventually, read
from cluster_objects import definition
from embedded_server import start_server, stop_server


@pytest.fixture(scope="session")
def _server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path | None]]:
    if KUBECONFIG:
        yield Path(KUBECONFIG), None
        return
    folder = tmp_path_factory.mktemp("apiserver")
    first = start_server(
        folder
    )  # the second start has a past that it no longer knows: versions that are too old
    stop_server(first, folder)
    process = start_server(folder)
    yield folder / "kubeconfig", folder
    stop_server(process, folder)


@pytest.fixture
def api(_server: tuple[Path, Path | None]) -> Iterator[Api]:
    """The API server under contract."""
    found = read(*_server)
    yield found
    found.close()


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace of one's own, with the ServiceAccount and the ConfigMap that appear in each soon after."""
    name = f"contract-{secrets.token_hex(4)}"
    api.post("/api/v1/namespaces", {"metadata": {"name": name}}).ok()
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(lambda: api.get(account).status == 200, "no default ServiceAccount")
    authority = f"/api/v1/namespaces/{name}/configmaps/kube-root-ca.crt"
    eventually(lambda: api.get(authority).status == 200, "no kube-root-ca.crt")
    yield name
    api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def configmaps(namespace: str) -> str:
    """The path of the namespace's ConfigMaps."""
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.fixture
def define(api: Api) -> Iterator[Define]:
    """Create a CustomResourceDefinition in a group of its own and wait until it is established."""
    made: list[str] = []
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    def one(**changes: object) -> Obj:
        body = definition(f"c{secrets.token_hex(4)}.example.com", **changes)
        name = body["metadata"]["name"]
        made.append(name)
        api.post(definitions, body).ok()

        def established() -> Obj | None:
            found = api.get(f"{definitions}/{name}").ok()
            conditions = (found.get("status") or {}).get("conditions") or ()
            good = {item["type"] for item in conditions if item["status"] == "True"}
            return found if {"Established", "NamesAccepted"} <= good else None

        found = eventually(established, f"{name} is not established")
        path = f"/apis/{body['spec']['group']}/{body['spec']['versions'][0]['name']}"
        eventually(lambda: api.get(path).status == 200, f"{path} is not served")
        for served in body["spec"]["versions"]:
            if served["served"]:  # kube-apiserver answers 429 while the storage of a new kind begins
                objects = f"/apis/{body['spec']['group']}/{served['name']}/{body['spec']['names']['plural']}"
                eventually(lambda path=objects: api.get(path).status == 200, f"{objects} is not served")  # type: ignore[misc]
        return found

    yield one
    for name in made:
        api.delete(f"{definitions}/{name}")
