"""What Kubernetes takes and warns about in pods and templates: things said twice, fractions of bytes, empty names.

Called by the write path after validation; what it returns is sent as ``Warning`` headers, which kubectl prints. Left
out: deprecated fields and labels, volumes that overlap. Invariant: total on any JSON, refuses nothing.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import names, quantities
from standalone.apiserver.schema.core_checks_pod import part
from standalone.apiserver.schema.core_defaults_pod import dicts

Obj = dict[str, Any]
_IN_POD_NAMES = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")


def warnings_of(kind: Kind, obj: Obj) -> list[str]:
    """The warnings for a built-in object that was just accepted."""
    spec = part(obj, "spec")
    if (kind.group, kind.kind) == ("", "Pod"):
        return _pod(spec, "spec")
    if kind.group == "batch" and kind.kind == "CronJob":
        return _pod(part(part(part(part(spec, "jobTemplate"), "spec"), "template"), "spec"), _CRON)
    if kind.group not in ("apps", "batch"):
        return []
    found = _pod(part(part(spec, "template"), "spec"), "spec.template.spec")
    name = part(obj, "metadata").get("name")
    if kind.kind in _IN_POD_NAMES and isinstance(name, str) and (why := names.label_problem(name)):
        text = "this is used in Pod names and hostnames, which can result in surprising behavior"
        found.append(f"metadata.name: {text}; a DNS label is recommended: [{why}]")
    return found


_CRON = "spec.jobTemplate.spec.template.spec"


def _pod(spec: Obj, path: str) -> list[str]:
    found = []
    for number, secret in enumerate(dicts(spec.get("imagePullSecrets"))):
        if not secret.get("name"):
            found.append(f'{path}.imagePullSecrets[{number}].name: invalid empty name ""')
    for group in ("initContainers", "containers"):
        for number, container in enumerate(dicts(spec.get(group))):
            found += _container(container, f"{path}.{group}[{number}]")
    return found


def _container(container: Obj, path: str) -> list[str]:
    found = []
    for group in ("limits", "requests"):
        for name, value in part(part(container, "resources"), group).items():
            amount = quantities.number(value)
            if name in ("memory", "ephemeral-storage") and amount is not None and amount % 1:
                text = f'fractional byte value "{value}" is invalid, must be an integer'
                found.append(f"{path}.resources.{group}[{name}]: {text}")
    found += _repeated_variables(container, path)
    first: dict[str, int] = {}
    for number, port in enumerate(dicts(container.get("ports"))):
        place = str([port.get(key) for key in ("containerPort", "protocol", "hostPort", "hostIP")])
        if place in first:
            text = f"duplicate port definition with {path}.ports[{first[place]}]"
            found.append(f"{path}.ports[{number}]: {text}")
        first.setdefault(place, number)
    return found


def _repeated_variables(container: Obj, path: str) -> list[str]:
    found, seen = [], set()
    for number, variable in enumerate(dicts(container.get("env"))):
        name, value = str(variable.get("name")), str(variable.get("value") or "")
        if name in seen and f"$({name})" not in value:  # a value that builds on the one before is meant
            text = f'hides previous definition of "{name}", which may be dropped when using apply'
            found.append(f"{path}.env[{number}]: {text}")
        seen.add(name)
    return found
