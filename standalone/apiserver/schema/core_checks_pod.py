"""What Kubernetes checks in pods and pod templates beyond types: names, ports, variables, mounts, volumes.

Called by ``core_checks`` for Pod and for every kind with a template; probes and resources are in
``core_checks_container``. Left out: affinity, topology spread, security contexts other than identities, ephemeral
containers, Windows.

Invariant: total on any JSON; a pod that a real API server takes is never refused here.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver import selectors
from standalone.apiserver.schema import (
    core_checks_container,
    core_checks_scheduling,
    failure,
    names,
    quantities,
)
from standalone.apiserver.schema.core_defaults_pod import dicts
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
MAX_INT32 = 2**31 - 1
MAX_MODE = 0o777
SHORTEST_TOKEN_S = 600


def part(obj: Any, key: str) -> Obj:
    """The object at ``key``, or an empty one."""
    found = obj.get(key) if isinstance(obj, dict) else None
    return found if isinstance(found, dict) else {}


def check_name(value: Any, path: str, errors: Errors, problem: Any = names.label_problem) -> None:
    """An absent name is left to the schema; an empty or malformed one is refused."""
    if value == "":
        errors.append(failure.required(path))
    elif isinstance(value, str) and (why := problem(value)):
        errors.append(failure.invalid(path, value, why))


def check_port(value: Any, path: str, errors: Errors) -> None:
    """A port number; a port's name is judged by ``check_port_or_name``."""
    if isinstance(value, int) and not 1 <= value <= 65535:
        errors.append(failure.invalid(path, value, "must be between 1 and 65535, inclusive"))


def check_labels(labels: Obj, path: str, errors: Errors) -> None:
    """A map of labels (of a template, of a selector, of nodes)."""
    for key, value in labels.items():
        if why := selectors.label_key_problem(key):
            errors.append(failure.invalid(path, key, why))
        if isinstance(value, str) and (why := selectors.label_value_problem(value)):
            errors.append(failure.invalid(path, value, why))


def check_pod_spec(spec: Obj, path: str, errors: Errors) -> None:
    """The spec of a pod or template."""
    if spec.get("containers") == []:
        errors.append(failure.required(f"{path}.containers"))
    volumes = _volumes(spec, path, errors)
    seen: set[str] = set()
    for group in ("containers", "initContainers"):
        for number, container in enumerate(dicts(spec.get(group))):
            where = f"{path}.{group}[{number}]"
            name = container.get("name")
            if isinstance(name, str) and name in seen:
                errors.append(failure.duplicate(f"{where}.name", name))
            seen.add(str(name))
            _container(container, where, volumes, bool(spec.get("hostNetwork")), errors)
            is_restarted = group == "containers" or container.get("restartPolicy") == "Always"
            core_checks_container.check_running(container, where, is_restarted, errors)
    for key in ("serviceAccountName", "nodeName", "priorityClassName"):
        if spec.get(key):
            check_name(spec[key], f"{path}.{key}", errors, names.subdomain_problem)
    if spec.get("hostname"):
        check_name(spec["hostname"], f"{path}.hostname", errors)
    if isinstance(subdomain := spec.get("subdomain"), str) and subdomain:
        if "." in subdomain:
            errors.append(failure.invalid(f"{path}.subdomain", subdomain, "must not contain dots"))
        else:
            check_name(subdomain, f"{path}.subdomain", errors)
    core_checks_scheduling.check_scheduling(spec, path, errors)
    check_labels(part(spec, "nodeSelector"), f"{path}.nodeSelector", errors)
    limit = spec.get("activeDeadlineSeconds")
    if isinstance(limit, int) and not 1 <= limit <= MAX_INT32:
        where = f"{path}.activeDeadlineSeconds"
        errors.append(failure.invalid(where, limit, f"must be between 1 and {MAX_INT32}, inclusive"))
    core_checks_container.check_identity(part(spec, "securityContext"), f"{path}.securityContext", errors)


def _volumes(spec: Obj, path: str, errors: Errors) -> set[str]:
    found: set[str] = set()
    for number, volume in enumerate(dicts(spec.get("volumes"))):
        where = f"{path}.volumes[{number}]"
        name = volume.get("name")
        check_name(name, f"{where}.name", errors)
        if isinstance(name, str) and name in found:
            errors.append(failure.duplicate(f"{where}.name", name))
        found.add(str(name))
        sources = [key for key in volume if key != "name" and isinstance(volume[key], dict)]
        if len(sources) > 1:
            errors.append(
                failure.forbidden(f"{where}.{sources[1]}", "may not specify more than 1 volume type")
            )
        for source, key in _SOURCE_NAMES:
            if source in volume and not part(volume, source).get(key):
                errors.append(failure.required(f"{where}.{source}.{key}"))
        for source in ("configMap", "secret"):
            _items(part(volume, source).get("items"), f"{where}.{source}", errors)
        for source in ("configMap", "secret", "downwardAPI", "projected"):
            mode = part(volume, source).get("defaultMode")
            if isinstance(mode, int) and not 0 <= mode <= MAX_MODE:
                why = "must be a number between 0 and 0777 (octal), both inclusive"
                errors.append(failure.invalid(f"{where}.{source}.defaultMode", mode, why))
        host = part(volume, "hostPath").get("path")
        if isinstance(host, str) and ".." in host.split("/"):
            errors.append(failure.invalid(f"{where}.hostPath.path", host, "must not contain '..'"))
        size = quantities.number(part(volume, "emptyDir").get("sizeLimit"))
        if size is not None and size < 0:
            why = "SizeLimit field must be a valid resource quantity"
            errors.append(failure.forbidden(f"{where}.emptyDir.sizeLimit", why))
        _projected(part(volume, "projected"), f"{where}.projected", errors)
    return found


_SOURCE_NAMES = (
    ("configMap", "name"),
    ("secret", "secretName"),
    ("persistentVolumeClaim", "claimName"),
    ("hostPath", "path"),
)


def _items(items: Any, path: str, errors: Errors) -> None:
    for number, item in enumerate(dicts(items)):
        where = f"{path}.items[{number}]"
        if not item.get("key"):
            errors.append(failure.required(f"{where}.key"))
        _relative(item.get("path"), f"{where}.path", errors)


def _projected(source: Obj, path: str, errors: Errors) -> None:
    for number, one in enumerate(dicts(source.get("sources"))):
        where = f"{path}.sources[{number}]"
        named = [key for key in one if isinstance(one[key], dict)]
        if len(named) > 1:
            errors.append(failure.forbidden(where, "may not specify more than 1 volume type per source"))
        lasts = part(one, "serviceAccountToken").get("expirationSeconds")
        if isinstance(lasts, int) and lasts < SHORTEST_TOKEN_S:
            why = "may not specify a duration less than 10 minutes"
            errors.append(failure.invalid(f"{where}.serviceAccountToken.expirationSeconds", lasts, why))
        for kind in ("configMap", "secret"):
            if kind in one:
                if not part(one, kind).get("name"):
                    errors.append(failure.required(f"{where}.{kind}.name"))
                _items(part(one, kind).get("items"), f"{where}.{kind}", errors)


def _relative(value: Any, path: str, errors: Errors) -> None:
    if not value:
        errors.append(failure.required(path))
    elif isinstance(value, str) and (why := names.relative_path_problem(value)):
        errors.append(failure.invalid(path, value, why))


def _container(container: Obj, path: str, volumes: set[str], on_host: bool, errors: Errors) -> None:
    check_name(container.get("name"), f"{path}.name", errors)
    image = container.get("image")
    if not image:
        errors.append(failure.required(f"{path}.image"))
    elif isinstance(image, str) and image != image.strip():
        errors.append(failure.invalid(f"{path}.image", image, "must not have leading or trailing whitespace"))
    _ports(container.get("ports"), f"{path}.ports", on_host, errors)
    _variables(container.get("env"), f"{path}.env", errors)
    for source in dicts(container.get("envFrom")):
        given = [key for key in ("configMapRef", "secretRef") if isinstance(source.get(key), dict)]
        _exactly_one(given, "`configMapRef` or `secretRef`", f"{path}.envFrom", errors)
    mounted: set[str] = set()
    for number, mount in enumerate(dicts(container.get("volumeMounts"))):
        where = f"{path}.volumeMounts[{number}]"
        name, target = mount.get("name"), mount.get("mountPath")
        if not name:
            errors.append(failure.required(f"{where}.name"))
        elif str(name) not in volumes:
            errors.append(FieldError(f"{where}.name", failure.NOT_FOUND, f"Not found: {failure.shown(name)}"))
        if not target:
            errors.append(failure.required(f"{where}.mountPath"))
        elif str(target) in mounted:
            errors.append(failure.invalid(f"{where}.mountPath", target, "must be unique"))
        mounted.add(str(target))
        if mount.get("subPath"):
            _relative(mount["subPath"], f"{path}.volumeMounts.subPath", errors)


def _ports(ports: Any, path: str, on_host: bool, errors: Errors) -> None:
    seen: set[str] = set()
    for number, port in enumerate(dicts(ports)):
        where = f"{path}[{number}]"
        name, inside, outside = port.get("name"), port.get("containerPort"), port.get("hostPort")
        if isinstance(name, str) and name:
            wrong = names.port_name_problems(name)
            errors += [failure.invalid(f"{where}.name", name, why) for why in wrong]
            if not wrong and name in seen:
                errors.append(failure.duplicate(f"{where}.name", name))
            seen.add(name)
        if inside == 0:
            errors.append(failure.required(f"{where}.containerPort"))
        else:
            check_port(inside, f"{where}.containerPort", errors)
        if outside:
            check_port(outside, f"{where}.hostPort", errors)
            if on_host and outside != inside:
                why = "must match `hostPort` when `hostNetwork` is true"
                errors.append(failure.invalid(f"{where}.containerPort", inside, why))


_POD_FIELDS = (
    *("metadata.name", "metadata.namespace", "metadata.uid", "metadata.labels", "metadata.annotations"),
    *(
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ),
)


def _referred(source: Obj, path: str, errors: Errors) -> None:
    field = part(source, "fieldRef").get("fieldPath")
    if isinstance(field, str) and field and field.partition("[")[0] not in _POD_FIELDS:
        why = f"error converting fieldPath: field label not supported: {field}"
        errors.append(failure.invalid(f"{path}.fieldRef.fieldPath", field, why))
    for key in ("configMapKeyRef", "secretKeyRef"):
        if isinstance(source.get(key), dict) and (
            why := names.subdomain_problem(source[key].get("name") or "")
        ):
            errors.append(failure.invalid(f"{path}.{key}.name", source[key].get("name") or "", why))


_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def _variables(variables: Any, path: str, errors: Errors) -> None:
    for number, variable in enumerate(dicts(variables)):
        where = f"{path}[{number}]"
        name, source = variable.get("name"), variable.get("valueFrom")
        if not name:
            errors.append(failure.required(f"{where}.name"))
        elif isinstance(name, str) and (why := names.variable_problem(name)):
            errors.append(failure.invalid(f"{where}.name", name, why))
        if not isinstance(source, dict):
            continue
        given = [key for key in _SOURCES if isinstance(source.get(key), dict)]
        if variable.get("value"):
            why = "may not be specified when `value` is not empty"
            errors.append(failure.invalid(f"{where}.valueFrom", "", why))
        choices = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        _exactly_one(given, choices, f"{where}.valueFrom", errors)
        _referred(source, f"{where}.valueFrom", errors)


def _exactly_one(given: list[str], choices: str, path: str, errors: Errors) -> None:
    if not given:
        errors.append(failure.invalid(path, "", f"must specify one of: {choices}"))
    elif len(given) > 1:
        errors.append(failure.invalid(path, "", "may not have more than one field specified at a time"))
