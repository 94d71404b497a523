"""``/openapi/v2`` and ``/openapi/v3``: the documents of ``schema.openapi``, built when first asked for and kept.

Called by ``routes``. A change of the registry forgets them. The hash in the v3 index changes with what a document is
made of, so clients (and kubectl's cache on disk) know when to fetch again: a document asked for by its hash may be
kept for ever, any other by its ETag. v2 comes as JSON and as protobuf, v3 as JSON only.

Invariant: every group version in the index can be fetched, and a hash never names two different documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import orjson

from standalone.apiserver import errors
from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_registry import Registry
from standalone.apiserver.server_types import Request, Response, json_response

_V2 = "com.github.proto-openapi.spec.v2"
V2_PROTOBUF = f"application/{_V2}.v1.0+protobuf"
_V2_ACCEPTED = (V2_PROTOBUF, f"application/{_V2}@v1.0+protobuf")
_JSON_ACCEPTED = ("", "*/*", "application/json", "application/*")
FOR_EVER = "public, immutable, max-age=31536000"
_DESCRIBED_BY = "kubernetes"
"""The package that the descriptions come from."""


class OpenApi:
    """The documents."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._generation = 0
        self._cache: dict[str, bytes] = {}
        self._tags: dict[str, str] = {}

    def answer(self, request: Request) -> Response | Awaitable[Response] | None:
        """A document; None for an unknown path."""
        if self._generation != self._registry.generation:
            self._generation = self._registry.generation
            self._cache.clear()
            self._tags.clear()
        path = request.path.rstrip("/")
        if path == "/openapi/v2":
            return self._v2(request)
        prefix = "/openapi/v3"
        if path == prefix or path.startswith(prefix + "/"):
            _choose(request, ())
            return self._index() if path == prefix else self._v3(path.removeprefix(prefix + "/"), request)
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

    def _tag(self, path: str, kinds: list[Kind]) -> str:
        if path not in self._tags:
            self._tags[path] = _hash(kinds)
        return self._tags[path]

    def _v2(self, request: Request) -> Response | Awaitable[Response]:
        media = _choose(request, _V2_ACCEPTED)
        tag = self._tag("", self._registry.kinds())
        name = "v2" if media in _JSON_ACCEPTED else "v2-protobuf"
        content = "application/json" if name == "v2" else V2_PROTOBUF
        headers = (("Etag", f'"{tag}"'), ("Vary", "Accept"))
        if _has(request, tag):
            return Response(304, b"", content, headers)
        body = self._cache.get(name)
        if body is not None:
            return Response(200, body, content, headers)
        return self._build_v2(name, content, headers)

    async def _build_v2(self, name: str, content: str, headers: tuple[tuple[str, str], ...]) -> Response:
        """The first time: half a second of work for all kinds together, on a thread so that others are served."""
        generation, kinds = self._generation, self._registry.kinds()
        body = await asyncio.to_thread(_encode_v2, kinds, name == "v2")
        if generation == self._generation:
            self._cache[name] = body
        return Response(200, body, content, headers)

    def _index(self) -> Response:
        paths = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._tag(path, kinds)}"}
            for path, kinds in self._group_versions().items()
        }
        return json_response({"paths": paths})

    def _v3(self, path: str, request: Request) -> Response | None:
        kinds = self._group_versions().get(path)
        if kinds is None:
            return None
        tag, asked = self._tag(path, kinds), request.query.get("hash", "")
        headers: tuple[tuple[str, str], ...] = (("Etag", f'"{tag}"'), ("Vary", "Accept"))
        if asked == tag:
            headers = (*headers, ("Cache-Control", FOR_EVER))
        elif asked:
            return Response(301, b"", headers=(("Location", f"/openapi/v3/{path}?hash={tag}"),))
        if _has(request, tag):
            return Response(304, b"", headers=headers)
        body = self._cache.get(path)
        if body is None:
            from standalone.apiserver.schema import openapi

            body = self._cache[path] = orjson.dumps(openapi.build_v3(kinds))
        return Response(200, body, headers=headers)


def _encode_v2(kinds: list[Kind], is_json: bool) -> bytes:
    from standalone.apiserver.schema import openapi, openapi_proto

    document = openapi.build_v2(kinds)
    return orjson.dumps(document) if is_json else openapi_proto.encode(document)


def _choose(request: Request, more: tuple[str, ...]) -> str:
    """The first media type in ``Accept`` that is served. Raises 406."""
    for item in request.headers.get("accept", "").split(","):
        media = item.partition(";")[0].strip().lower()
        if media in _JSON_ACCEPTED or media in more:
            return media
    raise errors.not_acceptable(offered=", ".join(("application/json", *more)))


def _has(request: Request, tag: str) -> bool:
    """Whether the client already has the document with this ETag."""
    return tag in (one.strip().strip('W/"') for one in request.headers.get("if-none-match", "").split(","))


@lru_cache(maxsize=1)
def _made_with() -> str:
    """What the documents depend on besides the kinds: the code and facts they come from, and the descriptions."""
    from standalone.apiserver import schema

    digest = hashlib.sha256()
    for path in sorted(Path(schema.__path__[0]).iterdir()):
        if path.suffix in (".py", ".json"):
            digest.update(path.read_bytes())
    with contextlib.suppress(metadata.PackageNotFoundError):
        digest.update(metadata.version(_DESCRIBED_BY).encode())
    return digest.hexdigest()


def _hash(kinds: list[Kind]) -> str:
    facts: list[Any] = [(kind.kind, kind.plural, kind.subresources, kind.schema) for kind in kinds]
    return hashlib.sha256(orjson.dumps([facts, _made_with()])).hexdigest().upper()[:64]
