"""What Kubernetes checks in how a container runs: resources, probes, lifecycle hooks, identities.

Called by ``core_checks_pod``. Left out: hugepages and resource claims.

Invariant: total on any JSON; a container that a real API server takes is never refused here.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver import selectors
from standalone.apiserver.schema import failure, names, quantities
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
_STANDARD = ("cpu", "memory", "ephemeral-storage")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_TIMES = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
MAX_ID = 2**31 - 1


def _part(obj: Any, key: str) -> Obj:
    found = obj.get(key) if isinstance(obj, dict) else None
    return found if isinstance(found, dict) else {}


def check_running(container: Obj, path: str, may_probe: bool, errors: Errors) -> None:
    """Resources, probes, hooks and identity of one container; plain init containers may have no probes."""
    check_resources(_part(container, "resources"), f"{path}.resources", errors)
    for name in _PROBES:
        if isinstance(container.get(name), dict):
            where = f"{path}.{name}"
            if not may_probe:
                why = "may not be set for init containers without restartPolicy=Always"
                errors.append(failure.forbidden(where, why))
            else:
                _probe(container[name], where, name, errors)
    hooks = _part(container, "lifecycle")
    for name in ("postStart", "preStop"):
        if isinstance(hooks.get(name), dict):
            _handler(hooks[name], f"{path}.lifecycle.{name}", errors)
    policy = container.get("terminationMessagePolicy")
    if policy not in (None, "", "File", "FallbackToLogsOnError"):
        known = ["File", "FallbackToLogsOnError"]
        errors.append(failure.not_supported(f"{path}.terminationMessagePolicy", policy, known))
    context, where = _part(container, "securityContext"), f"{path}.securityContext"
    check_identity(context, where, errors)
    if context.get("privileged") is True and context.get("allowPrivilegeEscalation") is False:
        why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        errors.append(failure.invalid(where, context, why))


def check_identity(context: Obj, path: str, errors: Errors) -> None:
    """User and group numbers of a security context."""
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(key)
        if isinstance(value, int) and not 0 <= value <= MAX_ID:
            why = f"must be between 0 and {MAX_ID}, inclusive"
            errors.append(failure.invalid(f"{path}.{key}", value, why))


def check_resources(resources: Obj, path: str, errors: Errors) -> None:
    """Requests and limits: known names, not negative, requests within limits, devices whole and without overcommit."""
    limits, requests = _part(resources, "limits"), _part(resources, "requests")
    for group, listed in (("limits", limits), ("requests", requests)):
        for name, value in listed.items():
            _resource(name, value, f"{path}.{group}", errors)
    for name, value in requests.items():
        wanted, limit = quantities.number(value), quantities.number(limits.get(name))
        if _is_device(name) and limit is None:
            why = "Limit must be set for non overcommitable resources"
            errors.append(failure.required(f"{path}.limits", why))
        elif wanted is None or limit is None:
            continue
        elif wanted > limit:
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            errors.append(failure.invalid(f"{path}.requests", str(value), why))
        elif _is_device(name) and wanted != limit:
            why = f"must be equal to {name} limit of {limits[name]}"
            errors.append(failure.invalid(f"{path}.requests", str(value), why))


def _is_device(name: str) -> bool:
    """An extended resource such as ``nvidia.com/gpu``."""
    prefix, slash, _ = name.partition("/")
    return bool(slash) and not prefix.endswith("kubernetes.io")


def _resource(name: str, value: Any, path: str, errors: Errors) -> None:
    where = f"{path}[{name}]"
    if why := selectors.label_key_problem(name):
        errors.append(failure.invalid(where, name, why))
    elif "/" not in name and name not in _STANDARD and not name.startswith("hugepages-"):
        errors.append(failure.invalid(where, name, "must be a standard resource type or fully qualified"))
        errors.append(failure.invalid(where, name, "must be a standard resource for containers"))
    amount = quantities.number(value)
    if amount is None:
        return
    if amount < 0:
        errors.append(failure.invalid(where, str(value), "must be greater than or equal to 0"))
    elif _is_device(name) and amount != amount.to_integral_value():
        errors.append(failure.invalid(where, str(value), "must be an integer"))


def _probe(probe: Obj, path: str, name: str, errors: Errors) -> None:
    _handler(probe, path, errors)
    for key in _TIMES:
        value = probe.get(key)
        if isinstance(value, int) and value < 0:
            errors.append(failure.invalid(f"{path}.{key}", value, "must be greater than or equal to 0"))
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        errors.append(failure.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    grace = probe.get("terminationGracePeriodSeconds")
    if isinstance(grace, int):
        if name == "readinessProbe":
            why = "must not be set for readinessProbes"
            errors.append(failure.invalid(f"{path}.terminationGracePeriodSeconds", grace, why))
        elif grace <= 0:
            why = "must be greater than 0"
            errors.append(failure.invalid(f"{path}.terminationGracePeriodSeconds", grace, why))


def _handler(handler: Obj, path: str, errors: Errors) -> None:
    """A probe's or hook's action: exactly one kind of it."""
    given = [key for key in _HANDLERS if isinstance(handler.get(key), dict)]
    if not given:
        errors.append(failure.required(path, "must specify a handler type"))
    for key in given[1:]:
        errors.append(failure.forbidden(f"{path}.{key}", "may not specify more than 1 handler type"))
    for key in given[:1]:
        action, where = handler[key], f"{path}.{key}"
        if key == "exec" and not action.get("command"):
            errors.append(failure.required(f"{where}.command"))
        if key in ("httpGet", "tcpSocket", "grpc") and "port" in action:
            _port(action["port"], f"{where}.port", errors)


def _port(value: Any, path: str, errors: Errors) -> None:
    if isinstance(value, int):
        if not 1 <= value <= 65535:
            errors.append(failure.invalid(path, value, "must be between 1 and 65535, inclusive"))
    elif isinstance(value, str):
        for why in names.port_name_problems(value):
            errors.append(failure.invalid(path, value, why))
