"""From a CustomResourceDefinition to the kinds it serves.

Called by ``handlers_definitions`` when a definition becomes visible. Pure. What is refused in a definition is in
``kinds_crd_checks`` and ``schema.checks_crd``.

Invariant: ``build_kinds`` of a definition that passed the checks never raises.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.kinds import Kind, ScalePaths

Obj = dict[str, Any]


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
