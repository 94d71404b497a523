"""The environment, command and arguments of a container as a kubelet makes them. Pure: objects are passed in.

Sources: Kubernetes API reference, Container v1 core (env, envFrom, command, args). ``$(NAME)`` is replaced by the
variable of that name defined before it, ``$$`` is an escaped ``$``, and an unknown name stays as it is.
Called by launch. Invariant: a missing Secret, ConfigMap or key that is not optional raises ``ConfigError`` with the
kubelet's message; nothing is ever started with a variable silently left out.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wakeful.core.api import quantity

Obj = dict[str, Any]

_REFERENCE = re.compile(r"\$(?:\$|\(([^()\s]+)\))")
_SUBSCRIPT = re.compile(r"^metadata\.(labels|annotations)\['([^']+)'\]$")
_NAME = re.compile(r"^[^=\x00]+$")


class ConfigError(Exception):
    """The container cannot be configured; the text is the message of CreateContainerConfigError."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The Secrets and ConfigMaps of the pod's namespace, by name; one that does not exist is absent."""

    secrets: Mapping[str, Obj] = field(default_factory=dict)
    configmaps: Mapping[str, Obj] = field(default_factory=dict)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` and ``$$`` in ``text``."""

    def one(found: re.Match[str]) -> str:
        name = found.group(1)
        if name is None:
            return "$"
        return variables.get(name, found.group())

    return _REFERENCE.sub(one, text)


def build(pod: Obj, container: Obj, sources: Sources, capacity: Mapping[str, str]) -> dict[str, str]:
    """The variables of ``container``: envFrom first, then env in order. ``capacity`` stands in for missing limits."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        variables.update(_from_source(source, sources))
    for entry in container.get("env") or []:
        name = str(entry["name"])
        if not _NAME.match(name):
            raise ConfigError(f"environment variable name {name!r} is not valid")
        value = _value(pod, container, entry, sources, capacity, variables)
        if value is not None:
            variables[name] = value
    return variables


def decode(obj: Obj) -> dict[str, bytes]:
    """The entries of a Secret or ConfigMap as bytes (``data`` of a Secret and ``binaryData`` are base64)."""
    entries: dict[str, bytes] = {}
    is_secret = obj.get("kind") == "Secret"
    for key, value in (obj.get("data") or {}).items():
        entries[key] = _plain(key, value) if is_secret else str(value).encode()
    for key, value in (obj.get("binaryData") or {}).items():
        entries[key] = _plain(key, value)
    for key, value in (obj.get("stringData") or {}).items():
        entries[key] = str(value).encode()
    return entries


def field_value(pod: Obj, path: str) -> str:
    """The downward API field ``path`` of ``pod``. Raises ``ConfigError`` for a path that is not supported."""
    found = _SUBSCRIPT.match(path)
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    if found:
        return str((metadata.get(found.group(1)) or {}).get(found.group(2), ""))
    simple: dict[str, Callable[[], str]] = {
        "metadata.name": lambda: metadata["name"],
        "metadata.namespace": lambda: metadata["namespace"],
        "metadata.uid": lambda: metadata["uid"],
        "metadata.labels": lambda: _lines(metadata.get("labels") or {}),
        "metadata.annotations": lambda: _lines(metadata.get("annotations") or {}),
        "spec.nodeName": lambda: spec.get("nodeName") or "",
        "spec.serviceAccountName": lambda: spec.get("serviceAccountName") or "default",
        "status.hostIP": lambda: "127.0.0.1",
        "status.hostIPs": lambda: "127.0.0.1",
        "status.podIP": lambda: "127.0.0.1",
        "status.podIPs": lambda: "127.0.0.1",
    }
    if path not in simple:
        raise ConfigError(f"fieldPath {path!r} is not supported; known: {', '.join(sorted(simple))}")
    return simple[path]()


def resource_value(pod: Obj, container: Obj, reference: Obj, capacity: Mapping[str, str]) -> str:
    """The value of a resourceFieldRef: limit or request divided by its divisor, rounded up."""
    target = container
    if name := reference.get("containerName"):
        every = (pod["spec"].get("containers") or []) + (pod["spec"].get("initContainers") or [])
        found = next((c for c in every if c["name"] == name), None)
        if found is None:
            raise ConfigError(f"resourceFieldRef names container {name!r}, which the pod does not have")
        target = found
    which, _, resource = str(reference.get("resource", "")).partition(".")
    amounts = (target.get("resources") or {}).get(which) or {}
    amount = amounts.get(resource, capacity.get(resource) if which == "limits" else "0")
    if which not in ("limits", "requests") or amount is None:
        raise ConfigError(f"resourceFieldRef resource {reference.get('resource')!r} is not supported")
    try:
        return str(quantity.divided(amount, reference.get("divisor")))
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _value(
    pod: Obj,
    container: Obj,
    entry: Obj,
    sources: Sources,
    capacity: Mapping[str, str],
    known: Mapping[str, str],
) -> str | None:
    origin = entry.get("valueFrom")
    if not origin:
        return expand(str(entry.get("value") or ""), known)
    if reference := origin.get("fieldRef"):
        return field_value(pod, reference["fieldPath"])
    if reference := origin.get("resourceFieldRef"):
        return resource_value(pod, container, reference, capacity)
    if reference := origin.get("secretKeyRef"):
        return _key(pod, "secret", sources.secrets, reference)
    if reference := origin.get("configMapKeyRef"):
        return _key(pod, "configmap", sources.configmaps, reference)
    raise ConfigError(
        f"environment variable {entry['name']!r} has a valueFrom of an unknown kind: {list(origin)}"
    )


def _key(pod: Obj, kind: str, objects: Mapping[str, Obj], reference: Obj) -> str | None:
    name, key = reference.get("name", ""), reference.get("key", "")
    obj = objects.get(name)
    if obj is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind} "{name}" not found')
    entries = decode(obj)
    if key not in entries:
        if reference.get("optional"):
            return None
        title = "Secret" if kind == "secret" else "ConfigMap"
        raise ConfigError(f"couldn't find key {key} in {title} {pod['metadata']['namespace']}/{name}")
    return _text(key, entries[key])


def _from_source(source: Obj, sources: Sources) -> Iterable[tuple[str, str]]:
    prefix = source.get("prefix") or ""
    tables = (("secretRef", "secret", sources.secrets), ("configMapRef", "configmap", sources.configmaps))
    for field_name, kind, objects in tables:
        reference = source.get(field_name)
        if not reference:
            continue
        obj = objects.get(reference.get("name", ""))
        if obj is None:
            if reference.get("optional"):
                continue
            raise ConfigError(f'{kind} "{reference.get("name", "")}" not found')
        for key, value in decode(obj).items():
            if _NAME.match(prefix + key):
                yield prefix + key, _text(key, value)


def _plain(key: str, value: Any) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error as error:
        raise ConfigError(f"key {key} is not valid base64") from error


def _text(key: str, value: bytes) -> str:
    if b"\x00" in value:
        raise ConfigError(f"key {key} holds a NUL byte and cannot be an environment variable")
    return value.decode(errors="surrogateescape")


def _lines(mapping: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    return "\n".join(f"{key}={quoted(str(mapping[key]))}" for key in sorted(mapping))
