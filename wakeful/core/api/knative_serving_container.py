"""What Knative allows in a container of a Revision: fields, env, ports, image, mounts, probes, security.

Called by ``knative_serving_podspec`` for each container. Section 1.8 of the reference page. Flags that would open
more (``kubernetes.containerspec-addcapabilities`` and others) come in ``Features``.

Invariant: no input makes a validator raise; each problem names the field.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from wakeful.core.api.isvc_problem import mapping, mappings
from wakeful.core.api.knative_serving_config import Features
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
ALLOWED = frozenset(
    [
        "name",
        "image",
        "imagePullPolicy",
        "command",
        "args",
        "workingDir",
        "env",
        "envFrom",
        "ports",
        "resources",
        "volumeMounts",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "securityContext",
        "terminationMessagePath",
        "terminationMessagePolicy",
    ]
)
SIDECAR_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
RESERVED_ENV = frozenset({"PORT", "K_SERVICE", "K_CONFIGURATION", "K_REVISION"})
RESERVED_PORTS = frozenset({8008, 8012, 8013, 8022, 9090, 9091})
RESERVED_PATHS = frozenset({"/", "/dev", "/dev/log"})
PORT_NAMES = ("", "http1", "h2c")
HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")
SECURITY = frozenset(
    [
        "runAsUser",
        "runAsGroup",
        "runAsNonRoot",
        "readOnlyRootFilesystem",
        "allowPrivilegeEscalation",
        "seccompProfile",
        "capabilities",
        "privileged",
    ]
)
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
IMAGE = re.compile(
    r"([A-Za-z0-9.-]+(:\d+)?/)?[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[a-f0-9]{64})?"
)
ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")


def validate_container(
    container: Obj, volumes: Mapping[str, Obj], features: Features, role: str
) -> Iterator[Problem]:
    """``role`` is ``serving``, ``sidecar`` or ``init``; ``volumes`` by name."""
    yield from disallowed(*sorted(container.keys() - ALLOWED))
    if role == "init":
        yield from disallowed(*(key for key in (*SIDECAR_PROBES, "ports") if container.get(key)))
    name = str(container.get("name") or "")
    if name == "queue-proxy":
        yield Problem('"queue-proxy" is a reserved container name', "name")
    elif name and not DNS_LABEL.fullmatch(name):
        yield invalid(name, "name", "not a DNS 1123 label")
    yield from _validate_image(container)
    yield from under("env", validate_env(container.get("env") or [], features, role == "serving"))
    yield from _validate_env_from(container.get("envFrom") or [])
    yield from validate_ports(container.get("ports") or [])
    yield from under("volumeMounts", validate_mounts(container.get("volumeMounts") or [], volumes, features))
    yield from _validate_security(container.get("securityContext"), features)
    if "claims" in mapping(container.get("resources")):
        yield from disallowed("resources.claims")
    if role != "init":
        yield from _validate_probes(container, features, role)


def _validate_image(container: Obj) -> Iterator[Problem]:
    image = str(container.get("image") or "")
    if not image:
        yield Problem(MISSING, "image")
    elif not IMAGE.fullmatch(image):
        yield invalid(image, "image", f"could not parse reference: {image}")


def validate_env(env: Any, features: Features, is_serving: bool) -> Iterator[Problem]:
    reserved = RESERVED_ENV if is_serving else RESERVED_ENV - {"PORT"}
    for index, entry in enumerate(mappings(env)):
        name = str(entry.get("name") or "")
        at = f"[{index}]"
        if not name:
            yield Problem(MISSING, f"{at}.name")
        elif name in reserved:
            yield Problem(f'"{name}" is a reserved environment variable', f"{at}.name")
        elif not ENV_NAME.fullmatch(name):
            yield invalid(name, f"{at}.name", "not a name of an environment variable")
        source = mapping(entry.get("valueFrom"))
        allowed = {"configMapKeyRef", "secretKeyRef"}
        if features.is_on("kubernetes.podspec-fieldref"):
            allowed |= {"fieldRef", "resourceFieldRef"}
        yield from disallowed(*(f"{at}.valueFrom.{key}" for key in sorted(source.keys() - allowed)))
        if entry.get("valueFrom") is not None and not source:
            yield Problem(ONE_OF_NONE, f"{at}.valueFrom.configMapKeyRef, {at}.valueFrom.secretKeyRef")
        if entry.get("value") and source:
            yield Problem(ONE_OF_BOTH, f"{at}.value, {at}.valueFrom")
        for key in ("configMapKeyRef", "secretKeyRef"):
            if key in source:
                reference = mapping(source[key])
                for part in ("name", "key"):
                    if not reference.get(part):
                        yield Problem(MISSING, f"{at}.valueFrom.{key}.{part}")


def _validate_env_from(sources: Any) -> Iterator[Problem]:
    for index, entry in enumerate(mappings(sources)):
        named = [key for key in ("configMapRef", "secretRef") if entry.get(key)]
        paths = f"envFrom[{index}].configMapRef, envFrom[{index}].secretRef"
        if len(named) != 1:
            yield Problem(ONE_OF_BOTH if named else ONE_OF_NONE, paths)


def validate_ports(ports: Any) -> Iterator[Problem]:
    if len(mappings(ports)) > 1:
        yield Problem("more than one container port is set", "ports", "Only a single port is allowed")
        return
    for port in mappings(ports):
        yield from disallowed(*(f"ports.{key}" for key in ("hostPort", "hostIP") if port.get(key)))
        number = port.get("containerPort")
        if number in RESERVED_PORTS:
            yield Problem(
                f"{number} is a reserved port",
                "ports.containerPort",
                f"Reserved ports: {', '.join(map(str, sorted(RESERVED_PORTS)))}",
            )
        elif number is not None and (not isinstance(number, int) or not 0 <= number <= 65535):
            yield out_of_bounds(number, 0, 65535, "ports.containerPort")
        if port.get("protocol") not in (None, "", "TCP"):
            yield invalid(port["protocol"], "ports.protocol")
        if str(port.get("name") or "") not in (*PORT_NAMES, "user-port"):
            yield Problem(
                f"Port name {port['name']} is not allowed",
                "ports.name",
                "Name must be empty, or one of: 'h2c', 'http1'",
            )


def validate_mounts(mounts: Any, volumes: Mapping[str, Obj], features: Features) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, mount in enumerate(mappings(mounts)):
        at = f"[{index}]"
        allowed = {"name", "readOnly", "mountPath", "subPath", "mountPropagation"}
        yield from disallowed(*(f"{at}.{key}" for key in sorted(mount.keys() - allowed)))
        if mount.get("mountPropagation") and not features.is_on(
            "kubernetes.podspec-volumes-mount-propagation"
        ):
            yield from disallowed(f"{at}.mountPropagation")
        name, path = str(mount.get("name") or ""), str(mount.get("mountPath") or "")
        volume = volumes.get(name)
        if volume is None:
            yield Problem(f"volume with no matching name: {name}", f"{at}.name")
        elif not mount.get("readOnly") and not _is_writable(volume, features):
            yield Problem(
                "volume mount should be readOnly for this type of volume",
                f"{at}.readOnly",
            )
        clean = posixpath.normpath(path) if path else ""
        if not path:
            yield Problem(MISSING, f"{at}.mountPath")
        elif clean in RESERVED_PATHS:
            yield Problem(f'mountPath "{clean}" is a reserved path', f"{at}.mountPath")
        elif not clean.startswith("/"):
            yield invalid(path, f"{at}.mountPath")
        elif clean in seen:
            yield Problem(f'"{clean}" must be unique', f"{at}.mountPath")
        seen.add(clean)


def _is_writable(volume: Obj, features: Features) -> bool:
    if "persistentVolumeClaim" in volume:
        claim = mapping(volume["persistentVolumeClaim"])
        return features.is_on("kubernetes.podspec-persistent-volume-write") and not claim.get("readOnly")
    return "emptyDir" in volume or "ephemeral" in volume


def _validate_security(value: Any, features: Features) -> Iterator[Problem]:
    context = mapping(value)
    yield from disallowed(*(f"securityContext.{key}" for key in sorted(context.keys() - SECURITY)))
    if context.get("privileged"):
        yield invalid("true", "securityContext.privileged")
    added = mapping(context.get("capabilities")).get("add") or []
    if not features.is_on("kubernetes.containerspec-addcapabilities"):
        extra = [name for name in added if name != "NET_BIND_SERVICE"] if isinstance(added, list) else [added]
        if extra:
            yield from disallowed("securityContext.capabilities.add")


def _validate_probes(container: Obj, features: Features, role: str) -> Iterator[Problem]:
    ports = mappings(container.get("ports") or [])
    port_name = str(ports[0].get("name") or "") if ports else ""
    for key in SIDECAR_PROBES:
        probe = container.get(key)
        if not isinstance(probe, Mapping):
            continue
        if role == "sidecar" and not features.is_on("multi-container-probing"):
            yield from disallowed(key)
            continue
        yield from under(key, validate_probe(probe, port_name, key == "readinessProbe"))


def validate_probe(probe: Obj, port_name: str, is_readiness: bool) -> Iterator[Problem]:
    """One probe; a readiness probe without period means Knative's own aggressive probing."""
    handlers = [key for key in HANDLERS if probe.get(key) is not None]
    if len(handlers) != 1:
        yield Problem(ONE_OF_BOTH if handlers else ONE_OF_NONE, ", ".join(handlers or HANDLERS))
        return
    port = mapping(probe[handlers[0]]).get("port")
    if isinstance(port, str) and not port.isdigit() and port != port_name:
        yield invalid(port, f"{handlers[0]}.port", "Probe port must match container port")
    for key in ("periodSeconds", "timeoutSeconds", "failureThreshold", "initialDelaySeconds"):
        value = probe.get(key)
        if isinstance(value, int) and value < 0:
            yield out_of_bounds(value, 0, 2**31 - 1, key)
    if not isinstance(probe.get("successThreshold", 1), int) or probe.get("successThreshold", 1) < 1:
        yield out_of_bounds(probe["successThreshold"], 1, 2**31 - 1, "successThreshold")
    if is_readiness and not probe.get("periodSeconds"):
        for key in ("failureThreshold", "timeoutSeconds"):
            if probe.get(key):
                yield Problem(f"{key} is disallowed when periodSeconds is zero", key)
        return
    for key in ("timeoutSeconds", "failureThreshold"):
        if probe.get(key) == 0:
            yield out_of_bounds(0, 1, 2**31 - 1, key)
