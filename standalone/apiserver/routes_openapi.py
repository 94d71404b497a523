"""``/openapi/v2`` and ``/openapi/v3``: the documents of ``schema.openapi``, built when first asked for and kept.

Called by ``routes``. A change of the registry forgets them. The hash in the v3 index changes with the kinds of a
group version, so clients (and kubectl's cache) know when to fetch again.

Invariant: every group version in the index can be fetched.
"""

from __future__ import annotations

import hashlib

import orjson

from standalone.apiserver import errors
from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_registry import Registry
from standalone.apiserver.server_types import Request, Response, json_response

V2_MEDIA = "application/com.github.proto-openapi.spec.v2"


class OpenApi:
    """The documents."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = 0
        self._cache: dict[str, bytes] = {}

    def answer(self, request: Request) -> Response | None:
        """A document; None for an unknown path."""
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._cache.clear()
        path = request.path.rstrip("/")
        if path == "/openapi/v2":
            return self._v2(request)
        if path == "/openapi/v3":
            return self._index()
        prefix = "/openapi/v3/"
        if path.startswith(prefix):
            return self._v3(path.removeprefix(prefix))
        return None

    def index(self) -> Response:
        """``/``: the paths there are."""
        paths = ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
        paths += sorted(f"/{path}" for path in self._group_versions())
        return json_response({"paths": sorted(paths)})

    def _group_versions(self) -> dict[str, list[Kind]]:
        found: dict[str, list[Kind]] = {}
        for kind in self._registry.kinds():
            path = f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"
            found.setdefault(path, []).append(kind)
        return found

    def _v2(self, request: Request) -> Response:
        accept = request.headers.get("accept", "")
        if accept and V2_MEDIA in accept and "json" not in accept and "*/*" not in accept:
            raise errors.not_acceptable("only the following media types are accepted: application/json")
        body = self._cache.get("v2")
        if body is None:
            from standalone.apiserver.schema import openapi

            body = self._cache["v2"] = orjson.dumps(openapi.build_v2(self._registry.kinds()))
        return Response(200, body)

    def _index(self) -> Response:
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={_hash(kinds)}"}
            for path, kinds in self._group_versions().items()
        }
        return json_response({"paths": paths})

    def _v3(self, path: str) -> Response | None:
        kinds = self._group_versions().get(path)
        if kinds is None:
            return None
        body = self._cache.get(path)
        if body is None:
            from standalone.apiserver.schema import openapi

            body = self._cache[path] = orjson.dumps(openapi.build_v3(kinds))
        return Response(200, body)


def _hash(kinds: list[Kind]) -> str:
    facts = [(kind.kind, kind.plural, kind.subresources, kind.schema) for kind in kinds]
    return hashlib.sha256(orjson.dumps(facts)).hexdigest().upper()[:64]
