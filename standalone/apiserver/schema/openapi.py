"""OpenAPI v2 and v3 documents of the served kinds, as clients read them: explain, field validation, patch metadata.

Called by ``routes_openapi``. kubectl reads v3: the schemas for ``explain``, ``x-kubernetes-patch-*`` for ``apply``, and
the ``fieldValidation`` parameter of a kind's PATCH operation to learn that the server validates. Left out: parameters
and answers that no client reads (watch paths, per-status answers, security).

Invariant: each document stands alone (all references resolve inside it).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema.openapi_types import Definitions

Document = dict[str, Any]
_INFO = {"title": "Kubernetes", "version": "v1.32.0"}
_LIST_PARAMETERS = (
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
)
_WRITE_PARAMETERS = (("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"))
_DELETE_PARAMETERS = (
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
)
_PATCH_MEDIA = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
_STRATEGIC = "application/strategic-merge-patch+json"
"""Of built-in kinds only: kubectl decides by this list how it sends what ``apply`` changed."""
_METHODS = {"get": "get", "list": "get", "create": "post", "update": "put", "patch": "patch"}


def build_v3(kinds: Iterable[Kind]) -> Document:
    """The v3 document of one group version."""
    definitions = Definitions(3)
    paths = _paths(kinds, definitions)
    return {"openapi": "3.0.0", "info": _INFO, "paths": paths, "components": {"schemas": definitions.schemas}}


def build_v2(kinds: Iterable[Kind]) -> Document:
    """The v2 document of the whole server."""
    definitions = Definitions(2)
    paths = _paths(kinds, definitions)
    return {"swagger": "2.0", "info": _INFO, "paths": paths, "definitions": definitions.schemas}


def _paths(kinds: Iterable[Kind], definitions: Definitions) -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for kind in kinds:
        name = definitions.of_kind(kind)
        root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
        scope = f"{root}/namespaces/{{namespace}}" if kind.namespaced else root
        collection = f"{scope}/{kind.plural}"
        operations = _Operations(kind, definitions, name)
        paths[collection] = operations.at(collection, ("list", "create", "deletecollection"))
        paths[f"{collection}/{{name}}"] = operations.at(
            f"{collection}/{{name}}", ("get", "update", "patch", "delete")
        )
        if kind.namespaced:
            paths[f"{root}/{kind.plural}"] = operations.at(f"{root}/{kind.plural}", ("list",))
        if kind.has("status"):
            status = f"{collection}/{{name}}/status"
            paths[status] = operations.at(status, ("get", "update", "patch"))
    return {path: item for path, item in paths.items() if item}


class _Operations:
    """Path items of one kind."""

    def __init__(self, kind: Kind, definitions: Definitions, name: str) -> None:
        self._kind, self._definitions, self._name = kind, definitions, name

    def at(self, path: str, verbs: tuple[str, ...]) -> dict[str, Any]:
        item: dict[str, Any] = {}
        for verb in verbs:
            if verb in self._kind.verbs:
                method = _METHODS.get(verb, "delete")
                item[method] = self._operation(path, verb)
        if item:
            names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
            item["parameters"] = [self._parameter(name, "string", "path") for name in names]
        return item

    def _operation(self, path: str, verb: str) -> dict[str, Any]:
        kind, by_verb = self._kind, {"list": _LIST_PARAMETERS, "get": ()}
        parameters = by_verb.get(verb, _DELETE_PARAMETERS if verb.startswith("delete") else _WRITE_PARAMETERS)
        if verb == "patch":
            parameters = (*parameters, ("force", "boolean"))
        words = [part.strip("{}").capitalize() for part in path.split("/")[2:] if part != "namespaces"]
        action = {"create": "post", "update": "put"}.get(verb, verb)
        operation: dict[str, Any] = {
            "operationId": verb + "".join(word.replace(".", "") for word in words),
            "parameters": [self._parameter(name, kind_of, "query") for name, kind_of in parameters],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": {
                "group": kind.group,
                "kind": kind.kind,
                "version": kind.version,
            },
        }
        answered = self._name + "List" if verb == "list" else self._name
        self._describe_bodies(operation, verb, self._definitions.reference(answered))
        return operation

    def _describe_bodies(self, operation: dict[str, Any], verb: str, answer: dict[str, Any]) -> None:
        body = {"type": "object"} if verb == "patch" else answer
        media: tuple[str, ...] = ("*/*",)
        if verb == "patch":
            media = _PATCH_MEDIA if self._kind.is_custom else (*_PATCH_MEDIA, _STRATEGIC)
        takes_body = verb in ("create", "update", "patch")
        if self._definitions.version == 2:
            operation["responses"] = {"200": {"description": "OK", "schema": answer}}
            operation["consumes"] = list(media)
            operation["produces"] = ["application/json"]
            if takes_body:
                operation["parameters"].append(
                    {"name": "body", "in": "body", "required": True, "schema": body}
                )
            return
        content = {"application/json": {"schema": answer}}
        operation["responses"] = {"200": {"description": "OK", "content": content}}
        if takes_body:
            operation["requestBody"] = {
                "required": True,
                "content": {name: {"schema": body} for name in media},
            }

    def _parameter(self, name: str, kind_of: str, place: str) -> dict[str, Any]:
        shape = {"type": kind_of} if self._definitions.version == 2 else {"schema": {"type": kind_of}}
        required = {"required": True} if place == "path" else {}
        return {"name": name, "in": place, **required, **shape}
