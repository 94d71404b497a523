"""What the server knows of one version of one kind: names, verbs, subresources, schema, printer columns.

Built from the table of core kinds (``kinds_core``) or from a CustomResourceDefinition (``kinds_crd``), found through
``kinds_registry``; read by every handler and by the pure machinery (tables, OpenAPI, apply). No behaviour here.

Invariant: all versions of one resource share ``resource``, which is the key of its objects in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class ScalePaths:
    """Where a custom resource keeps its replicas; JSON paths such as ``.spec.replicas``."""

    spec: str = ".spec.replicas"
    status: str = ".status.replicas"
    selector: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One served version of a kind. Compared by identity."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = VERBS
    subresources: tuple[str, ...] = ()
    """Of ``status``, ``scale``, and for core kinds ``log``, ``eviction``, ``binding``, ``token``, ``finalize``."""
    schema: dict[str, Any] | None = None
    """OpenAPI v3 structural schema of a custom resource; None for core kinds (see ``schema.core``)."""
    columns: tuple[dict[str, Any], ...] = ()
    """``additionalPrinterColumns`` as the CRD has them."""
    storage_version: str = ""
    served_versions: tuple[str, ...] = ()
    is_custom: bool = False
    scale: ScalePaths | None = None
    selectable_fields: tuple[str, ...] = ()
    list_kind: str = ""
    deprecated_warning: str = ""
    resource: str = field(init=False, default="")
    """``pods`` or ``inferenceservices.serving.kserve.io``: names the objects' bucket in the store."""
    api_version: str = field(init=False, default="")

    def __post_init__(self) -> None:
        named = f"{self.plural}.{self.group}" if self.group else self.plural
        object.__setattr__(self, "resource", named)
        grouped = f"{self.group}/{self.version}" if self.group else self.version
        object.__setattr__(self, "api_version", grouped)
        if not self.list_kind:
            object.__setattr__(self, "list_kind", f"{self.kind}List")
        if not self.storage_version:
            object.__setattr__(self, "storage_version", self.version)
        if not self.served_versions:
            object.__setattr__(self, "served_versions", (self.version,))

    def has(self, subresource: str) -> bool:
        return subresource in self.subresources
