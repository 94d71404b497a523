"""The children of a Service and of a Configuration as plain objects: Configuration, Route, Revision. Pure.

Called by ``service`` and ``configuration``. Sections 1.3 and 1.4 of the reference page. Labels and annotations of the
parent are handed down, except those that belong to one level.

Invariant: the same parent always gives the same child.
"""

from __future__ import annotations

import copy
from typing import Any

from standalone.knative.resources import (
    CONFIGURATIONS,
    KSERVICES,
    REVISIONS,
    ROUTES,
    head,
    owner_reference,
)
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.isvc_problem import mapping, mappings

Obj = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KEPT_ON_CHILD = (names.ROUTES,)
"""Annotations that other controllers write on a Configuration."""


def build_configuration(service: Obj) -> Obj:
    found = _child(service, CONFIGURATIONS, (LAST_APPLIED, names.ROLLOUT_DURATION))
    found["metadata"]["labels"][names.SERVICE_UID] = service["metadata"]["uid"]
    found["spec"] = {"template": copy.deepcopy(service["spec"]["template"])}
    return found


def build_route(service: Obj) -> Obj:
    found = _child(service, ROUTES, (LAST_APPLIED,))
    traffic = []
    for entry in mappings(service["spec"].get("traffic")):
        target = copy.deepcopy(entry)
        if not target.get("revisionName"):
            target["configurationName"] = service["metadata"]["name"]
        traffic.append(target)
    found["spec"] = {"traffic": traffic}
    return found


def _child(service: Obj, resource: Any, left_out: tuple[str, ...]) -> Obj:
    metadata = service["metadata"]
    owner = owner_reference(KSERVICES, service)
    found = head(resource, owner, metadata["namespace"], metadata["name"])
    found["metadata"]["labels"] = {
        **mapping(metadata.get("labels")),
        names.SERVICE: metadata["name"],
    }
    annotations = mapping(metadata.get("annotations"))
    found["metadata"]["annotations"] = {k: v for k, v in annotations.items() if k not in left_out}
    return found


def merge_child(existing: Obj, wanted: Obj) -> Obj | None:
    """``existing`` made like ``wanted``, or None when it is already."""
    metadata, goal = existing["metadata"], wanted["metadata"]
    present = mapping(metadata.get("annotations"))
    annotations = goal["annotations"] | {k: v for k, v in present.items() if k in KEPT_ON_CHILD}
    same = (
        existing.get("spec") == wanted["spec"]
        and mapping(metadata.get("labels")) == goal["labels"]
        and present == annotations
    )
    if same:
        return None
    changed = {**metadata, "labels": goal["labels"], "annotations": annotations}
    return {**existing, "metadata": changed, "spec": wanted["spec"]}


def revision_name(configuration: Obj) -> str:
    """The name the present template's revision has: the user's own, or the default one."""
    template = configuration["spec"]["template"]
    own = mapping(template.get("metadata")).get("name")
    metadata = configuration["metadata"]
    return own or names.revision_name(metadata["name"], metadata["generation"])


def build_revision(configuration: Obj, at: str) -> Obj:
    """The Revision of the Configuration's present generation."""
    metadata = configuration["metadata"]
    template = copy.deepcopy(configuration["spec"]["template"])
    owner = owner_reference(CONFIGURATIONS, configuration)
    found = head(REVISIONS, owner, metadata["namespace"], revision_name(configuration))
    labels = {
        **mapping(mapping(template.get("metadata")).get("labels")),
        names.CONFIGURATION: metadata["name"],
        names.CONFIGURATION_GENERATION: str(metadata["generation"]),
        names.CONFIGURATION_UID: metadata["uid"],
        names.SERVICE: mapping(metadata.get("labels")).get(names.SERVICE, ""),
        names.ROUTING_STATE: names.PENDING,
    }
    service = next((o for o in metadata.get("ownerReferences") or [] if o.get("kind") == "Service"), None)
    if service is not None:
        labels[names.SERVICE_UID] = service["uid"]
    annotations = {
        **mapping(mapping(template.get("metadata")).get("annotations")),
        names.ROUTING_STATE_MODIFIED: at,
    }
    creator = mapping(metadata.get("annotations")).get(names.LAST_MODIFIER)
    if creator:
        annotations[names.CREATOR] = creator
    found["metadata"] |= {"labels": labels, "annotations": annotations}
    found["spec"] = template["spec"]
    return found


def generation_of(revision: Obj) -> int:
    """The Configuration generation a Revision was made for; 0 when its label is not a number."""
    text = mapping(revision["metadata"].get("labels")).get(names.CONFIGURATION_GENERATION, "")
    return int(text) if text.isdigit() else 0
