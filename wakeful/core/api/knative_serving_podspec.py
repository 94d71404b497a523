"""What Knative allows in the pod of a Revision, and the numbers of a RevisionSpec.

Called by ``knative_serving_kinds``. Section 1.8 of the reference page: fields behind a feature flag are refused while
the flag is off (KServe's storage initializer comes by a pod webhook, so it does not need them).

Invariant: as ``knative_serving_container``: never raises, each problem names the field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.core.api.knative_serving_config import Defaults, Features
from wakeful.core.api.knative_serving_container import DNS_LABEL, validate_container
from wakeful.core.api.knative_serving_defaults import is_serving
from wakeful.core.api.knative_serving_problem import (
    MISSING,
    ONE_OF_BOTH,
    ONE_OF_NONE,
    Problem,
    disallowed,
    invalid,
    out_of_bounds,
    under,
)

Obj = Mapping[str, Any]
OWN = frozenset(
    {"containerConcurrency", "timeoutSeconds", "responseStartTimeoutSeconds", "idleTimeoutSeconds"}
)
ALLOWED = frozenset(
    [
        "serviceAccountName",
        "containers",
        "volumes",
        "imagePullSecrets",
        "enableServiceLinks",
        "automountServiceAccountToken",
    ]
)
GATED = {
    "affinity": "affinity",
    "topologySpreadConstraints": "topologyspreadconstraints",
    "hostAliases": "hostaliases",
    "nodeSelector": "nodeselector",
    "runtimeClassName": "runtimeclassname",
    "tolerations": "tolerations",
    "securityContext": "securitycontext",
    "shareProcessNamespace": "shareprocessnamespace",
    "priorityClassName": "priorityclassname",
    "schedulerName": "schedulername",
    "initContainers": "init-containers",
    "dnsPolicy": "dnspolicy",
    "dnsConfig": "dnsconfig",
    "hostIPC": "hostipc",
    "hostPID": "hostpid",
    "hostNetwork": "hostnetwork",
}
VOLUMES_ALWAYS = frozenset({"secret", "configMap", "projected"})
VOLUMES_GATED = {
    "emptyDir": "volumes-emptydir",
    "hostPath": "volumes-hostpath",
    "csi": "volumes-csi",
    "ephemeral": "volumes-ephemeral",
    "image": "volumes-image",
    "persistentVolumeClaim": "persistent-volume-claim",
}


def validate_revision_spec(spec: Obj, defaults: Defaults, features: Features) -> Iterator[Problem]:
    """A RevisionSpec: the pod and Knative's own four fields."""
    yield from validate_pod_spec({k: v for k, v in spec.items() if k not in OWN}, features)
    least = 0 if defaults.allow_zero_concurrency else 1
    concurrency = spec.get("containerConcurrency")
    if isinstance(concurrency, int) and not least <= concurrency <= defaults.max_concurrency:
        yield out_of_bounds(concurrency, least, defaults.max_concurrency, "containerConcurrency")
    timeout_s = spec.get("timeoutSeconds")
    if isinstance(timeout_s, int) and not 0 <= timeout_s <= defaults.max_timeout_s:
        yield out_of_bounds(timeout_s, 0, defaults.max_timeout_s, "timeoutSeconds")


def validate_pod_spec(spec: Obj, features: Features) -> Iterator[Problem]:
    for key in sorted(spec.keys() - ALLOWED):
        flag = GATED.get(key)
        if flag is None or not features.is_on(f"kubernetes.podspec-{flag}"):
            yield from disallowed(key)
    if spec.get("automountServiceAccountToken"):
        yield from disallowed("automountServiceAccountToken")
    account = str(spec.get("serviceAccountName") or "")
    if account and not all(DNS_LABEL.fullmatch(part) for part in account.split(".")):
        yield invalid(account, "serviceAccountName", "not a DNS 1123 subdomain")
    volumes, mounted = _volumes(spec), _mounted(spec)
    yield from _validate_volumes(mappings(spec.get("volumes")), mounted, features)
    containers = mappings(spec.get("containers"))
    if not containers:
        yield Problem(MISSING, "containers")
        return
    if len(containers) > 1:
        yield from _validate_several(containers, features)
    names: set[str] = set()
    for field in ("containers", "initContainers"):
        if field == "initContainers" and not features.is_on("kubernetes.podspec-init-containers"):
            continue
        for index, container in enumerate(mappings(spec.get(field))):
            serves = is_serving(dict(container), [dict(c) for c in containers])
            role = "init" if field == "initContainers" else "serving" if serves else "sidecar"
            at = f"{field}[{index}]"
            yield from under(at, validate_container(container, volumes, features, role))
            name = str(container.get("name") or "")
            if name and name in names:
                yield Problem(f'duplicate container name "{name}"', f"{at}.name")
            names.add(name)


def _validate_several(containers: Sequence[Obj], features: Features) -> Iterator[Problem]:
    if not features.is_on("multi-container"):
        text = f"multi-container is off, but found {len(containers)} containers"
        yield Problem(text, "containers")
    with_ports = sum(1 for container in containers if container.get("ports"))
    if with_ports == 0:
        yield Problem(MISSING, "containers[*].ports")
    elif with_ports > 1:
        yield Problem(
            "more than one container port is set", "containers[*].ports", "Only a single port is allowed"
        )


def _validate_volumes(volumes: Sequence[Obj], mounted: set[str], features: Features) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        at = f"volumes[{index}]"
        name = str(volume.get("name") or "")
        sources = [key for key in volume if key != "name"]
        if not name:
            yield Problem(MISSING, f"{at}.name")
        elif not DNS_LABEL.fullmatch(name):
            yield invalid(name, f"{at}.name", "not a DNS 1123 label")
        elif name in seen:
            yield Problem(f'duplicate volume name "{name}"', f"{at}.name")
        elif name not in mounted:
            yield Problem(f'volume with name "{name}" not mounted', f"{at}.name")
        seen.add(name)
        for key in sources:
            if key in VOLUMES_ALWAYS:
                continue
            flag = VOLUMES_GATED.get(key)
            if flag is None or not features.is_on(f"kubernetes.podspec-{flag}"):
                yield from disallowed(f"{at}.{key}")
        if len(sources) != 1:
            options = ", ".join(f"{at}.{key}" for key in (sources or ["secret", "configMap", "projected"]))
            yield Problem(ONE_OF_BOTH if sources else ONE_OF_NONE, options)
        if "secret" in volume and not mapping(volume["secret"]).get("secretName"):
            yield Problem(MISSING, f"{at}.secret.secretName")
        if "configMap" in volume and not mapping(volume["configMap"]).get("name"):
            yield Problem(MISSING, f"{at}.configMap.name")


def _volumes(spec: Obj) -> dict[str, Obj]:
    return {str(volume.get("name")): volume for volume in mappings(spec.get("volumes"))}


def _mounted(spec: Obj) -> set[str]:
    return {
        str(mount.get("name"))
        for field in ("containers", "initContainers")
        for container in mappings(spec.get(field))
        for mount in mappings(container.get("volumeMounts"))
    }
