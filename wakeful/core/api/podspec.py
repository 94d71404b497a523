"""The inlined PodSpec and Container of the serving kinds: which keys belong to them, and how two of them merge.

Used by parsing (to cut the PodSpec out of a component) and by the builders of pods. Plain dictionaries in and out;
inputs are never changed. Source: KServe behaviour page section 2.3.4 (Kubernetes' strategic merge for the lists that
have a merge key). Invariant: merging an empty override returns the base.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from wakeful.core.api.isvc_problem import Obj, mapping, mappings

CONTAINER_FIELDS = frozenset(
    [
        "args",
        "command",
        "env",
        "envFrom",
        "image",
        "imagePullPolicy",
        "lifecycle",
        "livenessProbe",
        "name",
        "ports",
        "readinessProbe",
        "resizePolicy",
        "resources",
        "restartPolicy",
        "restartPolicyRules",
        "securityContext",
        "startupProbe",
        "stdin",
        "stdinOnce",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "tty",
        "volumeDevices",
        "volumeMounts",
        "workingDir",
    ]
)

POD_FIELDS = frozenset(
    [
        "activeDeadlineSeconds",
        "affinity",
        "automountServiceAccountToken",
        "containers",
        "dnsConfig",
        "dnsPolicy",
        "enableServiceLinks",
        "ephemeralContainers",
        "hostAliases",
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "hostUsers",
        "hostname",
        "hostnameOverride",
        "imagePullSecrets",
        "initContainers",
        "nodeName",
        "nodeSelector",
        "os",
        "overhead",
        "preemptionPolicy",
        "priority",
        "priorityClassName",
        "readinessGates",
        "resourceClaims",
        "resources",
        "restartPolicy",
        "runtimeClassName",
        "schedulerName",
        "schedulingGates",
        "securityContext",
        "serviceAccount",
        "serviceAccountName",
        "setHostnameAsFQDN",
        "shareProcessNamespace",
        "subdomain",
        "terminationGracePeriodSeconds",
        "tolerations",
        "topologySpreadConstraints",
        "volumes",
    ]
)

MERGE_KEYS = {
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "volumes": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu", "intel.com/gpu", "habana.ai/gaudi")


def pick(source: Obj, fields: Iterable[str]) -> Obj:
    """The entries of ``source`` whose keys are in ``fields``."""
    wanted = frozenset(fields)
    return {key: value for key, value in source.items() if key in wanted}


def merge(base: Obj, override: Obj) -> Obj:
    """Strategic merge: mappings by key, lists with a merge key by that key, everything else replaced."""
    merged = dict(base)
    for key, value in override.items():
        before = base.get(key)
        if key in MERGE_KEYS and isinstance(before, list) and isinstance(value, list):
            merged[key] = merge_list(before, value, MERGE_KEYS[key])
        elif isinstance(before, dict) and isinstance(value, dict):
            merged[key] = merge(before, value)
        elif value is not None:
            merged[key] = value
    return merged


def merge_list(base: list[Any], override: list[Any], key: str) -> list[Any]:
    """Entries of ``base`` in their order, each replaced or merged by the one with the same key; new ones after."""
    replacing = {item.get(key): item for item in mappings(override)}
    merged = []
    for item in mappings(base):
        other = replacing.pop(item.get(key), None)
        merged.append(item if other is None else _merge_entry(item, other, key))
    return merged + [item for item in mappings(override) if item.get(key) in replacing]


def _merge_entry(item: Obj, other: Obj, key: str) -> Obj:
    # An env entry's value and valueFrom, and a volume's source, are alternatives: the later entry wins as a unit.
    if key == "name" and ({"value", "valueFrom"} & other.keys() or len(other) > 1):
        return other
    return merge(item, other)


def merge_containers(base: Obj, override: Obj) -> Obj:
    """A runtime's container under the user's: args are joined (runtime first), the runtime's name stays."""
    merged = merge(base, override)
    arguments = [*(base.get("args") or []), *(override.get("args") or [])]
    if arguments:
        merged["args"] = arguments
    if base.get("name"):
        merged["name"] = base["name"]
    return merged


def with_env(container: Obj, name: str, value: str) -> Obj:
    """``container`` with one environment variable added, unless the user set it."""
    entries = mappings(container.get("env"))
    if any(entry.get("name") == name for entry in entries):
        return container
    return {**container, "env": [*entries, {"name": name, "value": value}]}


def with_env_from(container: Obj, name: str, reference: Obj) -> Obj:
    """``container`` with one environment variable from a key of a Secret, unless the user set it."""
    entries = mappings(container.get("env"))
    if any(entry.get("name") == name for entry in entries):
        return container
    added = {"name": name, "valueFrom": {"secretKeyRef": reference}}
    return {**container, "env": [*entries, added]}


def env_value(container: Obj, name: str) -> str | None:
    """The literal value of an environment variable, None when it is absent or comes from elsewhere."""
    for entry in mappings(container.get("env")):
        if entry.get("name") == name and isinstance(entry.get("value"), str):
            return str(entry["value"])
    return None


def find(containers: Iterable[Obj], name: str) -> Obj | None:
    """The container of that name."""
    return next((item for item in containers if item.get("name") == name), None)


def wants_gpu(container: Obj) -> bool:
    """Whether a limit or request of the container names a GPU with a quantity that is not zero."""
    resources = mapping(container.get("resources"))
    for part in ("limits", "requests"):
        for name, quantity in mapping(resources.get(part)).items():
            is_gpu = name in GPU_RESOURCES or name.startswith("nvidia.com/mig-")
            if is_gpu and str(quantity) not in ("0", ""):
                return True
    return False
