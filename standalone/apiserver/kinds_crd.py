"""From a CustomResourceDefinition to the kinds it serves, and what is wrong with one.

Called by ``handlers_definitions`` (check and status at write) and by ``__main__``'s listener (registration). Pure.
The schema itself is checked by ``schema.structural.check_structural``.

Invariant: ``build_kinds`` of a definition that passed ``check`` never raises.
"""

from __future__ import annotations

import re
from typing import Any

from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind, ScalePaths

Obj = dict[str, Any]
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)+")


def build_kinds(definition: Obj) -> list[Kind]:
    """The served versions of a definition, in its order."""
    spec = definition["spec"]
    served = tuple(version["name"] for version in spec["versions"] if version.get("served"))
    stored = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return [_build(spec, version, served, stored) for version in spec["versions"] if version.get("served")]


def _build(spec: Obj, version: Obj, served: tuple[str, ...], stored: str) -> Kind:
    names = spec["names"]
    subresources = version.get("subresources") or {}
    schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
    warning = ""
    if version.get("deprecated"):
        warning = (
            version.get("deprecationWarning")
            or f"{spec['group']}/{version['name']} {names['kind']} is deprecated"
        )
    return Kind(
        group=spec["group"],
        version=version["name"],
        kind=names["kind"],
        plural=names["plural"],
        singular=names.get("singular") or names["kind"].lower(),
        namespaced=spec.get("scope") == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        subresources=tuple(name for name in ("status", "scale") if name in subresources),
        schema=schema,
        preserve_unknown=bool(spec.get("preserveUnknownFields"))
        or bool(schema.get("x-kubernetes-preserve-unknown-fields")),
        columns=tuple(version.get("additionalPrinterColumns") or ()),
        storage_version=stored,
        served_versions=served,
        is_custom=True,
        scale=_scale(subresources.get("scale")),
        selectable_fields=tuple(field["jsonPath"] for field in version.get("selectableFields") or ()),
        list_kind=names.get("listKind") or f"{names['kind']}List",
        deprecated_warning=warning,
    )


def _scale(scale: Obj | None) -> ScalePaths | None:
    if scale is None:
        return None
    return ScalePaths(
        spec=scale.get("specReplicasPath", ".spec.replicas"),
        status=scale.get("statusReplicasPath", ".status.replicas"),
        selector=scale.get("labelSelectorPath", ""),
    )


def check(definition: Obj) -> list[Cause]:
    """What Kubernetes would refuse in the names, scope, versions and conversion of a definition."""
    spec = definition.get("spec")
    if not isinstance(spec, dict):
        return [_required("spec")]
    causes = _check_names(definition, spec)
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        causes.append(_unsupported("spec.scope", spec.get("scope"), ("Cluster", "Namespaced")))
    return causes + _check_versions(spec) + _check_conversion(spec)


def _check_names(definition: Obj, spec: Obj) -> list[Cause]:
    causes = []
    group, names = spec.get("group"), spec.get("names")
    if not isinstance(group, str) or not _SUBDOMAIN.fullmatch(group):
        causes.append(_invalid("spec.group", group, "should be a domain with at least one dot"))
    if not isinstance(names, dict):
        return [*causes, _required("spec.names")]
    for key in ("plural", "kind"):
        if not names.get(key) or not isinstance(names[key], str):
            causes.append(_required(f"spec.names.{key}"))
    plural = names.get("plural")
    if isinstance(plural, str) and not _LABEL.fullmatch(plural):
        causes.append(_invalid("spec.names.plural", plural, "a lowercase RFC 1123 label is required"))
    expected = f"{plural}.{group}"
    if definition["metadata"].get("name") != expected:
        name = definition["metadata"].get("name")
        causes.append(_invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    return causes


def _check_versions(spec: Obj) -> list[Cause]:
    versions = spec.get("versions")
    if not isinstance(versions, list) or not versions:
        return [_required("spec.versions")]
    causes = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        name = version.get("name") if isinstance(version, dict) else None
        if not isinstance(name, str) or not _LABEL.fullmatch(name):
            causes.append(_invalid(f"{path}.name", name, "a lowercase RFC 1123 label is required"))
            continue
        if name in seen:
            causes.append(Cause(f"{path}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        seen.add(name)
        for flag in ("served", "storage"):
            if not isinstance(version.get(flag), bool):
                causes.append(_required(f"{path}.{flag}"))
        if not isinstance((version.get("schema") or {}).get("openAPIV3Schema"), dict):
            causes.append(
                Cause(
                    f"{path}.schema.openAPIV3Schema",
                    "FieldValueRequired",
                    "Required value: schemas are required",
                )
            )
    if sum(1 for version in versions if isinstance(version, dict) and version.get("storage") is True) != 1:
        causes.append(
            _invalid("spec.versions", None, "must have exactly one version marked as storage version")
        )
    return causes


def _check_conversion(spec: Obj) -> list[Cause]:
    strategy = (spec.get("conversion") or {}).get("strategy", "None")
    if strategy == "None" or (strategy == "Webhook" and len(spec.get("versions") or ()) == 1):
        return []
    if strategy == "Webhook":
        text = "conversion webhooks are not supported by the embedded API when there are several versions: use None"
        return [_invalid("spec.conversion.strategy", strategy, text)]
    return [_unsupported("spec.conversion.strategy", strategy, ("None", "Webhook"))]


def _required(path: str) -> Cause:
    return Cause(path, "FieldValueRequired", "Required value")


def _invalid(path: str, value: object, text: str) -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else "null" if value is None else str(value)
    return Cause(path, "FieldValueInvalid", f"Invalid value: {shown}: {text}")


def _unsupported(path: str, value: object, allowed: tuple[str, ...]) -> Cause:
    listed = ", ".join(f'"{item}"' for item in allowed)
    return Cause(path, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {listed}')
