"""Puts our manifests and Knative's into the embedded API server: what ``kubectl apply -k`` does on a cluster.

    python -m standalone.install --data-dir D --webhook-port P

A job of ``wakeful up``: waits until the API server answers, and ends. Server-side apply, so it can be repeated; a digest of all
manifests is kept in a ConfigMap and an unchanged set is not applied again, unless something of it was deleted. Leaves out
RBAC and Deployments of the cluster installation: on one machine the processes are the supervisor's.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import yaml

from standalone import health
from standalone.layout import Layout
from standalone.processes import OPERATOR_NAMESPACE, Options
from wakeful.kit import lifecycle
from wakeful.kit.discovery import Discovery, UnknownKindError
from wakeful.kit.kube import (
    CONFIGMAPS,
    ENDPOINTS,
    NAMESPACES,
    SERVICES,
    ApiError,
    KubeClient,
    Obj,
    Resource,
    read_kubeconfig,
)

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    ROOT / "standalone" / "knative" / "manifests",
    ROOT / "config" / "crd",
    ROOT / "config" / "configmap",
    ROOT / "config" / "runtimes",
    ROOT / "config" / "webhook",
)
WEBHOOK_SERVICE = "wakeful-webhook"
DIGEST = "wakeful-install"
WAIT_S = 60.0
POLL_S = 0.03
RETRY_S = 0.1
FIRST = ("Namespace", "CustomResourceDefinition")
LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
"""After what they would be asked about: their server may not be there yet."""
KEPT_BY_USER = "ConfigMap"
"""Objects of this kind are created once and then left as the user edited them."""


def read_manifests(sources: Iterable[Path] = SOURCES) -> list[Obj]:
    """All documents, kinds that others need first."""
    documents: list[Obj] = []
    for source in sources:
        for path in sorted(source.glob("*.yaml")):
            if path.name != "kustomization.yaml":
                documents += [doc for doc in yaml.load_all(path.read_text(), Loader=_LOADER) if doc]
    return sorted(documents, key=lambda doc: FIRST.index(doc["kind"]) if doc["kind"] in FIRST else len(FIRST))


async def install(client: KubeClient, options: Options) -> bool:
    """Apply what changed since the last time; whether anything was applied."""
    digest = _digest(options)
    known = await client.find(CONFIGMAPS, OPERATOR_NAMESPACE, DIGEST)
    kept = (known or {}).get("data") or {}
    if kept.get("digest") == digest and await _is_whole(client, kept.get("objects", "")):
        return False
    documents = read_manifests()
    await client.apply(NAMESPACES, None, _namespace(OPERATOR_NAMESPACE))
    discovery = Discovery(client)
    for kind in FIRST:
        await asyncio.gather(*(_put(client, discovery, doc) for doc in documents if doc["kind"] == kind))
    rest = [doc for doc in documents if doc["kind"] not in FIRST + LAST]
    await asyncio.gather(*(_put(client, discovery, doc) for doc in rest))
    for resource, doc in _webhook_address(options.webhook_port):
        await client.apply(resource, OPERATOR_NAMESPACE, doc)
    await asyncio.gather(*(_put(client, discovery, doc) for doc in documents if doc["kind"] in LAST))
    await client.apply(
        CONFIGMAPS, OPERATOR_NAMESPACE, _configmap(DIGEST, {"digest": digest, "objects": _listed(documents)})
    )
    return True


def _listed(documents: Iterable[Obj]) -> str:
    """What was applied, a line each: a definition by the kinds it makes, which are cheaper to ask for than itself."""
    lines: list[str] = []
    for doc in documents:
        if doc["kind"] == "CustomResourceDefinition":
            spec = doc["spec"]
            served = [version["name"] for version in spec["versions"] if version.get("served")]
            lines += [f"{spec['group']}/{version} {spec['names']['kind']}" for version in served]
        else:
            metadata = doc["metadata"]
            place = f"{metadata.get('namespace', 'default')} {metadata['name']}"
            lines.append(f"{doc['apiVersion']} {doc['kind']} {place}")
    return "\n".join(lines)


async def _is_whole(client: KubeClient, listed: str) -> bool:
    """Whether all of it is still there: without one definition that somebody deleted nothing would ever start again."""
    discovery, wanted = Discovery(client), []
    try:
        for version, kind, *place in (line.split(" ") for line in listed.splitlines()):
            resource = await discovery.resource_of({"apiVersion": version, "kind": kind})
            wanted += [(resource, place[0] if resource.namespaced else None, place[1])] if place else []
    except UnknownKindError:
        return False
    found = await asyncio.gather(*(client.find(*place) for place in wanted))
    return bool(listed) and None not in found


async def _put(client: KubeClient, discovery: Discovery, doc: Obj) -> None:
    resource = await discovery.resource_of(doc)
    namespace = doc["metadata"].get("namespace", "default") if resource.namespaced else None
    if doc["kind"] == KEPT_BY_USER and await client.find(resource, namespace, doc["metadata"]["name"]):
        return
    end = time.monotonic() + WAIT_S
    while True:
        try:
            await client.apply(resource, namespace, doc)
            return
        except ApiError as error:
            # Of an earlier installation, and asked about this one: its server starts beside this job.
            if "failed calling webhook" not in str(error) or time.monotonic() > end:
                raise
        await asyncio.sleep(RETRY_S)


def _webhook_address(port: int) -> list[tuple[Resource, Obj]]:
    """The Service that WebhookConfigurations name, and its Endpoints: the controller on this machine."""
    metadata = {"name": WEBHOOK_SERVICE, "namespace": OPERATOR_NAMESPACE}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]},
    }
    subset = {
        "addresses": [{"ip": "127.0.0.1"}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": [subset]}
    return [(SERVICES, service), (ENDPOINTS, endpoints)]


def _digest(options: Options) -> str:
    state = hashlib.sha256(str(options.webhook_port).encode())
    for source in SOURCES:
        for path in sorted(source.glob("*.yaml")):
            state.update(path.read_bytes())
    return state.hexdigest()


def _namespace(name: str) -> Obj:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _configmap(name: str, data: dict[str, str]) -> Obj:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def _run(layout: Layout, options: Options) -> int:
    deadline = time.monotonic() + WAIT_S
    while (answer := await health.ask(layout.socket("apiserver"))) != health.OK:
        if time.monotonic() > deadline:
            return _fail(f"the API server is not ready after {WAIT_S:.0f} s: {answer}")
        await asyncio.sleep(POLL_S)
    try:
        async with KubeClient(read_kubeconfig(layout.kubeconfig), "wakeful-install") as client:
            await install(client, options)
    except (ApiError, UnknownKindError) as error:
        return _fail(str(error))
    return 0


def _fail(sentence: str) -> int:
    sys.stderr.write(f"{sentence}\n")
    return 1


def main(argv: list[str] | None = None) -> int:
    """Install once; 1 with one sentence on stderr when it fails."""
    parser = argparse.ArgumentParser(prog="standalone.install")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--webhook-port", type=int, required=True)
    options = parser.parse_args(argv)
    return lifecycle.run(_run(Layout(options.data_dir), Options(webhook_port=options.webhook_port)))


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

if __name__ == "__main__":
    sys.exit(main())
