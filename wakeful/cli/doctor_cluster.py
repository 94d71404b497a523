"""The checks of ``wakeful doctor`` on a Kubernetes API: what Wakeful needs, and whether it does its work.

Called by ``doctor`` for both homes; on one machine the controller has no Deployment and no Lease. The sentences about
the platform are the controller's own (``controller.prerequisites``). Invariant: a check that may not look says so and
fails alone; the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from controller import platform_watch, prerequisites
from controller.cache import CLUSTER_RUNTIMES, INFERENCE_SERVICES
from controller.connection import Api, ApiFailureError
from controller.desired import configuration
from controller.prerequisites import Finding, Found, Reason
from wakeful.cli import doctor_controller
from wakeful.cli.doctor_report import Check, warning, well, wrong
from wakeful.core.api import conditions
from wakeful.kit.kube import CONFIGMAPS, CRDS, DEPLOYMENTS, Obj

SYSTEM = "wakeful-system"
APPLY = "kubectl apply -k config/default"
DEFINITIONS = ("inferenceservices", "servingruntimes", "clusterservingruntimes")
TESTED_KUBERNETES = (1, 34)
MINIMUM_KUBERNETES = (1, 28)
SHOWN = 3
KSERVE_MANAGER = "kserve-controller-manager"

Look = Callable[[Api], Awaitable[list[Check]]]


async def look(api: Api, is_one_machine: bool) -> list[Check]:
    """All checks; the first alone where the API server does not answer."""
    try:
        version = await asyncio.wait_for(api.request("GET", "/version"), 10)
    except (ApiFailureError, TimeoutError) as error:
        todo = "is it running, and is the kubeconfig the right one? try `kubectl version`"
        return [wrong("Kubernetes API", str(error) or "does not answer", todo)]
    checks = [_kubernetes(version, is_one_machine)]
    parts: list[tuple[str, Look]] = [("platform", _platform), ("definitions", _definitions)]
    if not is_one_machine:
        parts += [("controller", doctor_controller.deployment), ("leader", doctor_controller.lease)]
    parts += [
        ("webhooks", doctor_controller.webhooks),
        ("admission", doctor_controller.admission),
        ("configuration", _configuration),
        ("runtimes", _runtimes),
        ("models", _services),
    ]
    for name, part in parts:
        try:
            checks += await part(api)
        except ApiFailureError as error:
            checks.append(wrong(name, f"cannot be looked at: {error}", "ask as a user who may read it"))
    return checks


def _kubernetes(version: Obj, is_one_machine: bool) -> Check:
    text = str(version.get("gitVersion") or "unknown")
    parsed = prerequisites.parse_version(text)
    if is_one_machine or parsed is None or parsed >= MINIMUM_KUBERNETES:
        return well("Kubernetes API", text)
    todo = f"upgrade to {TESTED_KUBERNETES[0]}.{TESTED_KUBERNETES[1]}, which Wakeful is tested with"
    return wrong(
        "Kubernetes API", f"{text} is older than {MINIMUM_KUBERNETES[0]}.{MINIMUM_KUBERNETES[1]}", todo
    )


async def _platform(api: Api) -> list[Check]:
    found = await platform_watch.look(api)
    by_reason = {item.reason: item for item in prerequisites.judge(found)}
    checks = [await _kserve(api, by_reason)]
    knative = [item for reason, item in by_reason.items() if reason.startswith("Knative")]
    if knative:
        checks.append(_of_finding("Knative Serving", knative[0]))
    else:
        checks.append(await _deployments(api, "Knative Serving", "knative-serving", _knative_version(found)))
        missing = by_reason.get(Reason.INGRESS_CLASS_MISSING)
        ingress_class = prerequisites.ingress_class(found.network)
        checks.append(
            _of_finding("ingress class", missing) if missing else well("ingress class", ingress_class)
        )
    if await api.get("/apis/eventing.knative.dev/v1") is None:
        todo = "install Knative Eventing where models shall answer events; predictions work without it"
        checks.append(warning("Knative Eventing", "not installed", todo))
    else:
        checks.append(await _deployments(api, "Knative Eventing", "knative-eventing", ""))
    return checks


def _of_finding(name: str, finding: Finding) -> Check:
    return wrong(name, f"{finding.reason}: {finding.message}", "as the sentence says")


def _knative_version(found: Found) -> str:
    labels = ((found.network or {}).get("metadata") or {}).get("labels") or {}
    return str(labels.get(prerequisites.VERSION) or "")


async def _kserve(api: Api, by_reason: dict[Reason, Finding]) -> Check:
    for reason in (Reason.KSERVE_INSTALLED, Reason.FOREIGN_DEFINITIONS):
        if reason in by_reason:
            return _of_finding("other KServe", by_reason[reason])
    query = {"fieldSelector": f"metadata.name={KSERVE_MANAGER}"}
    items = (await api.request("GET", DEPLOYMENTS.path(), **query)).get("items") or []
    if items:
        where = items[0]["metadata"]["namespace"]
        todo = "remove it by KServe's own instructions, or do not install Wakeful here"
        return wrong("other KServe", f"Deployment {KSERVE_MANAGER} in namespace {where}", todo)
    return well("other KServe", "none")


async def _deployments(api: Api, name: str, namespace: str, version: str) -> Check:
    """Whether everything of a namespace is available."""
    items = (await api.request("GET", DEPLOYMENTS.path(namespace))).get("items") or []
    bad = [
        item["metadata"]["name"] for item in items if not conditions.read(_status(item), "Available").is_true
    ]
    told = f"installed, version {version}" if version else "installed"
    if bad:
        todo = f"kubectl get pods -n {namespace}"
        return wrong(name, f"{told}; not available: {', '.join(bad[:SHOWN])}", todo)
    return well(name, told)


async def _definitions(api: Api) -> list[Check]:
    missing, unready = [], []
    for plural in DEFINITIONS:
        found = await api.get(CRDS.path(None, f"{plural}.serving.kserve.io"))
        if found is None:
            missing.append(plural)
        elif not conditions.read(_status(found), "Established").is_true:
            unready.append(plural)
    if missing:
        return [wrong("definitions", f"not installed: {', '.join(missing)}", APPLY)]
    if unready:
        todo = f"kubectl describe crd {unready[0]}.serving.kserve.io"
        return [wrong("definitions", f"not established: {', '.join(unready)}", todo)]
    return [well("definitions", ", ".join(DEFINITIONS))]


async def _configuration(api: Api) -> list[Check]:
    found = await api.get(CONFIGMAPS.path(SYSTEM, configuration.CONFIG_NAME))
    if found is None:
        return [warning("configuration", f"no ConfigMap {configuration.CONFIG_NAME}: defaults hold", APPLY)]
    problems = configuration.parse(found).problems
    edit = f"kubectl edit configmap -n {SYSTEM} {configuration.CONFIG_NAME}"
    if problems:
        return [wrong("configuration", "; ".join(problems), edit)]
    return [well("configuration", configuration.CONFIG_NAME)]


async def _runtimes(api: Api) -> list[Check]:
    found = await api.get(CLUSTER_RUNTIMES.path())
    items = [
        item for item in (found or {}).get("items") or [] if not (item.get("spec") or {}).get("disabled")
    ]
    if not items:
        return [
            warning("runtimes", "no ClusterServingRuntime is enabled", f"{APPLY}, or make one of your own")
        ]
    return [well("runtimes", ", ".join(item["metadata"]["name"] for item in items))]


async def _services(api: Api) -> list[Check]:
    found = await api.get(INFERENCE_SERVICES.path())
    items: list[Obj] = (found or {}).get("items") or []
    stuck = [
        item
        for item in items
        if item["metadata"].get("deletionTimestamp") and item["metadata"].get("finalizers")
    ]
    if stuck:
        first = stuck[0]["metadata"]
        where = f"{first['namespace']}/{first['name']}"
        names = ", ".join(first["finalizers"])
        todo = (
            f"nobody here serves that finalizer (Wakeful sets none): kubectl patch isvc -n {first['namespace']} "
            f'{first["name"]} --type merge -p \'{{"metadata":{{"finalizers":null}}}}\''
        )
        return [wrong("models", f"{len(stuck)} cannot be deleted: {where} waits for {names}", todo)]
    bad = [item for item in items if not conditions.read(_status(item), "Ready").is_true]
    told = f"{len(items)} InferenceServices, {len(items) - len(bad)} ready"
    if not bad:
        return [well("models", told)]
    shown = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in bad[:SHOWN]]
    why = conditions.read(_status(bad[0]), "Ready")
    todo = f"kubectl describe isvc -n {bad[0]['metadata']['namespace']} {bad[0]['metadata']['name']}"
    text = (
        f"{told}; not ready: {', '.join(shown)} ({why.reason}: {why.message})"
        if why.reason
        else f"{told}; {shown}"
    )
    return [warning("models", text, todo)]


def _status(obj: Obj) -> Obj:
    found: Obj = obj.get("status") or {}
    return found
