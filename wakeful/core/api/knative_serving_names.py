"""Names of Knative Serving: label and annotation keys, kinds, and how children are named.

Used by admission, the controllers and the gateway's tests. Section 1.3 and 1.4 of the reference page.

Invariant: ``child_name`` gives a valid Kubernetes name of at most 63 characters, and different parents of the same
suffix give different names.
"""

from __future__ import annotations

import hashlib

GROUP = "serving.knative.dev"
API_VERSION = f"{GROUP}/v1"
SYSTEM_NAMESPACE = "knative-serving"

CONFIGURATION = f"{GROUP}/configuration"
CONFIGURATION_GENERATION = f"{GROUP}/configurationGeneration"
CONFIGURATION_UID = f"{GROUP}/configurationUID"
SERVICE = f"{GROUP}/service"
SERVICE_UID = f"{GROUP}/serviceUID"
REVISION = f"{GROUP}/revision"
REVISION_UID = f"{GROUP}/revisionUID"
ROUTE = f"{GROUP}/route"
ROUTE_NAMESPACE = f"{GROUP}/routeNamespace"
ROUTING_STATE = f"{GROUP}/routingState"
ROUTING_STATE_MODIFIED = f"{GROUP}/routingStateModified"
ROUTES = f"{GROUP}/routes"
CREATOR = f"{GROUP}/creator"
LAST_MODIFIER = f"{GROUP}/lastModifier"
NO_GC = f"{GROUP}/no-gc"
ROLLOUT_DURATION = f"{GROUP}/rollout-duration"
PROGRESS_DEADLINE = f"{GROUP}/progress-deadline"
VISIBILITY = "networking.knative.dev/visibility"
CLUSTER_LOCAL = "cluster-local"
INGRESS_CLASS = "networking.knative.dev/ingress.class"
ROLLOUT = "networking.internal.knative.dev/rollout"

ACTIVE = "active"
RESERVE = "reserve"
PENDING = "pending"

NAME_LIMIT = 63
_HEAD = NAME_LIMIT - 32
"""What fits before an MD5 in hexadecimal."""


def child_name(parent: str, suffix: str) -> str:
    """The name of a child object, Knative's ``ChildName``: concatenated, or shortened with an MD5 where too long."""
    if len(parent) + len(suffix) <= NAME_LIMIT:
        return parent + suffix
    if len(suffix) < _HEAD:
        return parent[: _HEAD - len(suffix)] + _md5(parent) + suffix
    name = parent[:_HEAD] + _md5(parent + suffix)
    return (name + suffix[: NAME_LIMIT - len(name)]).rstrip("-._")


def revision_name(configuration: str, generation: int) -> str:
    """The default name of the revision of one generation of a Configuration's template."""
    return child_name(configuration, f"-{generation:05d}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
