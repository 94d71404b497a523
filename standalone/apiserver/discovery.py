"""What is served, as clients discover it: version, groups, resources, in the old form and the aggregated one.

Called by ``routes``. Answers are cached by the registry's generation. Invariant: every resource listed here is
routed, and the reverse.
"""

from __future__ import annotations

import base64
import hashlib
import platform
from typing import Any

import orjson

from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_registry import Registry
from standalone.apiserver.server_types import Request, Response, json_response

KUBERNETES_MINOR = "34"
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
_STATUS_VERBS = ("get", "patch", "update")
_SUBRESOURCE_KINDS: dict[str, tuple[str, str, str, tuple[str, ...]]] = {
    "scale": ("autoscaling", "v1", "Scale", _STATUS_VERBS),
    "eviction": ("policy", "v1", "Eviction", ("create",)),
    "binding": ("", "v1", "Binding", ("create",)),
    "token": ("authentication.k8s.io", "v1", "TokenRequest", ("create",)),
    "log": ("", "v1", "Pod", ("get",)),
    "finalize": ("", "v1", "Namespace", ("update",)),
}


def version() -> Response:
    """``/version``: the Kubernetes whose API this is."""
    text = f"v1.{KUBERNETES_MINOR}.0+wakeful"
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    value = {
        "major": "1",
        "minor": KUBERNETES_MINOR,
        "gitVersion": text,
        "gitCommit": "",
        "gitTreeState": "clean",
    }
    value |= {"buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "cpython"}
    return json_response(value | {"platform": f"linux/{machine}"})


class Discovery:
    """Builds and caches the answers."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = 0
        self._cache: dict[str, bytes] = {}

    def answer(self, path: str, request: Request, host: str) -> Response | None:
        """``/api``, ``/apis`` and below down to a group version; None for another path."""
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._cache.clear()
        parts = path.strip("/").split("/")
        if parts in (["api"], ["apis"]):
            return self._root(parts[0], request, host)
        key = path.rstrip("/")
        body = self._cache.get(key)
        if body is None:
            value = self._below(parts)
            if value is None:
                return None
            body = self._cache[key] = orjson.dumps(value)
        return Response(200, body)

    def _root(self, which: str, request: Request, host: str) -> Response:
        accept = request.headers.get("accept", "")
        wanted = next(
            (name for name in ("v2", "v2beta1") if f"v={name};as=APIGroupDiscoveryList" in accept), ""
        )
        key = f"{which}|{wanted}"
        body = self._cache.get(key)
        if body is None:
            if wanted:
                value = self._aggregated(which, wanted)
            elif which == "api":
                address = [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}]
                value = {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address}
            else:
                groups = [self._group(name) for name in self._registry.groups()]
                value = {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
            body = self._cache[key] = orjson.dumps(value)
        media = AGGREGATED.format(version=wanted) if wanted else "application/json"
        return Response(200, body, media, (("Vary", "Accept"),))

    def _below(self, parts: list[str]) -> Any:
        if parts[0] == "api" and len(parts) == 2:
            return self._resources("", parts[1])
        if parts[0] == "apis" and len(parts) == 2 and parts[1] in self._registry.groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **self._group(parts[1])}
        if parts[0] == "apis" and len(parts) == 3:
            return self._resources(parts[1], parts[2])
        return None

    def _group(self, name: str) -> dict[str, Any]:
        versions = [
            {"groupVersion": f"{name}/{version}", "version": version}
            for version in self._registry.versions(name)
        ]
        return {"name": name, "versions": versions, "preferredVersion": versions[0]}

    def _kinds(self, group: str, version: str) -> list[Kind]:
        found = [kind for kind in self._registry.kinds() if (kind.group, kind.version) == (group, version)]
        return sorted(found, key=lambda kind: kind.plural)

    def _resources(self, group: str, version: str) -> dict[str, Any] | None:
        kinds = self._kinds(group, version)
        if not kinds:
            return None
        grouped = f"{group}/{version}" if group else version
        resources = [item for kind in kinds for item in _legacy(kind)]
        head = {"kind": "APIResourceList", **({"apiVersion": "v1"} if group else {})}
        return {**head, "groupVersion": grouped, "resources": resources}

    def _aggregated(self, which: str, version: str) -> dict[str, Any]:
        groups = [""] if which == "api" else self._registry.groups()
        items = []
        for group in groups:
            versions = [
                {
                    "version": name,
                    "freshness": "Current",
                    "resources": [_aggregated(kind) for kind in self._kinds(group, name)],
                }
                for name in self._registry.versions(group)
            ]
            metadata = {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}
            items.append({"metadata": metadata, "versions": versions})
        head = {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": f"apidiscovery.k8s.io/{version}",
            "metadata": {},
        }
        return {**head, "items": items}


def _legacy(kind: Kind) -> list[dict[str, Any]]:
    main: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _ordered(kind, kind.verbs),
    }
    if kind.short_names:
        main["shortNames"] = list(kind.short_names)
    if kind.categories:
        main["categories"] = list(kind.categories)
    if "watch" in kind.verbs:
        main["storageVersionHash"] = _storage_hash(kind)
    found = [main]
    for name in kind.subresources if kind.is_custom else sorted(kind.subresources):
        group, version, shown, verbs = _subresource(kind, name)
        item = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
        if (group, version) != (kind.group, kind.version):
            item |= {"group": group, "version": version}
        found.append(item | {"kind": shown, "verbs": list(verbs)})
    return found


_CUSTOM_VERBS = ("delete", "deletecollection", "get", "list", "patch", "create", "update", "watch")


def _ordered(kind: Kind, verbs: tuple[str, ...]) -> list[str]:
    return [verb for verb in _CUSTOM_VERBS if verb in verbs] if kind.is_custom else list(verbs)


def _storage_hash(kind: Kind) -> str:
    """What tells storage migrations apart: of group, stored version and kind, as Kubernetes computes it."""
    named = f"{kind.group}/{kind.storage_version}/{kind.kind}"
    return base64.b64encode(hashlib.sha256(named.encode()).digest()[:8]).decode()


def _subresource(kind: Kind, name: str) -> tuple[str, str, str, tuple[str, ...]]:
    return _SUBRESOURCE_KINDS.get(name, (kind.group, kind.version, kind.kind, _STATUS_VERBS))


def _aggregated(kind: Kind) -> dict[str, Any]:
    own = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    item: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": own,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        item["shortNames"] = list(kind.short_names)
    if kind.categories:
        item["categories"] = list(kind.categories)
    subresources = []
    for name in kind.subresources:
        group, version, shown, verbs = _subresource(kind, name)
        answer = {"group": group, "version": version, "kind": shown}
        subresources.append({"subresource": name, "responseKind": answer, "verbs": list(verbs)})
    if subresources:
        item["subresources"] = subresources
    return item
