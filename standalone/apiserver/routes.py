"""From a request to its handler: authentication, path, verb.

``Router.dispatch`` is what the HTTP edge calls. Reads are answered at once, writes are awaited. Left out: what the
handlers do.

Invariant: nothing but health and version is answered without a valid token.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable

from standalone.apiserver import (
    discovery,
    errors,
    handlers_body,
    handlers_delete,
    handlers_patch,
    handlers_pods,
    handlers_read,
    handlers_reviews,
    handlers_scale,
    handlers_schema,
    handlers_write,
    routes_openapi,
)
from standalone.apiserver.handlers_body import WriteOptions
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.handlers_delete import Deleter
from standalone.apiserver.handlers_write import Writer, Written
from standalone.apiserver.kinds_core import REVIEW_GROUPS
from standalone.apiserver.routes_target import Target
from standalone.apiserver.server_http import Answer
from standalone.apiserver.server_types import TEXT, Request, Response, User
from standalone.apiserver.store_entries import Obj

HEALTH = ("/healthz", "/livez", "/readyz")
_SCOPED_SUBRESOURCES = ("status", "finalize")
_REFUSED = {
    "exec": "run the command in the model's own process, or read the log",
    "attach": "use kubectl logs -f",
    "portforward": "pods listen on loopback: the port is in the annotation node.wakeful.dev/ports",
    "proxy": "call the gateway, or the pod's port in the annotation node.wakeful.dev/ports",
    "ephemeralcontainers": "pods are processes of this machine: debug them with its own tools",
}


class Router:
    """See the module."""

    def __init__(self, context: Context, writer: Writer, deleter: Deleter) -> None:
        self._context = context
        self._writer = writer
        self._deleter = deleter
        self._discovery = discovery.Discovery(context.registry)
        self._openapi = routes_openapi.OpenApi(context.registry)
        self._token = f"Bearer {context.credentials.token}"

    def dispatch(self, request: Request) -> Answer | Awaitable[Answer]:
        """Answer a request. Raises ``StatusError``."""
        path = request.path
        if path.startswith(HEALTH):
            return self._health(request)
        if path == "/version" or path == "/version/":
            if request.method not in ("GET", "HEAD"):
                raise errors.method_not_allowed()
            return discovery.version()
        self._authenticate(request)
        if path.startswith(("/api/", "/apis/")):
            target = self.parse(request)
            if target is not None:
                return self._serve(target, request)
        found = self._other(request)
        if found is None:
            raise self._nowhere(path)
        return found

    def _nowhere(self, path: str) -> errors.StatusError:
        """404: a Status below a group that is served, else plain text."""
        parts = path.strip("/").split("/")
        served = parts[0] == "api" or (parts[0] == "apis" and parts[1] in self._context.registry.groups())
        return errors.no_such_path() if len(parts) > 1 and served else errors.UnknownPathError()

    def _health(self, request: Request) -> Response:
        failure = self._context.store.failure
        if failure and request.path.startswith(("/healthz", "/readyz")):
            return Response(500, f"[-]storage failed: {failure}\nhealthz check failed".encode(), TEXT)
        if "verbose" in request.query:
            return Response(200, b"[+]ping ok\n[+]storage ok\nhealthz check passed\n", TEXT)
        return Response(200, b"ok", TEXT)

    def _authenticate(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            request.user = handlers_reviews.ADMIN
        else:
            scheme, _, token = given.partition(" ")
            user = (
                handlers_reviews.authenticate(self._context, token.strip())
                if scheme.lower() == "bearer"
                else None
            )
            if user is None:
                raise errors.unauthorized()
            request.user = user
        name = request.headers.get("impersonate-user")
        if name:
            groups = tuple(
                filter(None, [request.headers.get("impersonate-group", ""), "system:authenticated"])
            )
            request.user = User(name, groups)

    def _other(self, request: Request) -> Answer | Awaitable[Answer] | None:
        path = request.path
        if path.startswith("/openapi/"):
            return self._openapi.answer(request)
        if path in ("", "/"):
            return self._openapi.index()
        if path.startswith(("/api", "/apis")):
            settings = self._context.settings
            return self._discovery.answer(path, request, f"{settings.host}:{settings.port}")
        return None

    # -- resources

    def parse(self, request: Request) -> Target | None:
        """What a resource path names; None for discovery paths. Raises 404 for a kind that is not served."""
        parts = request.path.split("/")[1:]
        if parts[-1] == "":
            parts.pop()
        if parts[0] == "api":
            group, rest = "", parts[1:]
        else:
            group, rest = (parts[1] if len(parts) > 1 else ""), parts[2:]
        if len(rest) < 2:
            return None
        version, rest = rest[0], rest[1:]
        namespace: str | None = None
        if rest[0] == "namespaces" and len(rest) > 2 and not (rest[2] in _SCOPED_SUBRESOURCES and not group):
            namespace, rest = rest[1], rest[2:]
        kind = self._context.registry.route(group, version, rest[0])
        if kind is None or (namespace is not None and not kind.namespaced):
            raise self._nowhere(request.path)
        if not kind.namespaced:
            namespace = ""
        name, subresource = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
        if kind.deprecated_warning:
            request.warnings.append(kind.deprecated_warning)
        return Target(kind, namespace, name, subresource, "/".join(rest[3:]))

    def _serve(self, target: Target, request: Request) -> Answer | Awaitable[Answer]:
        method, kind = request.method, target.kind
        if kind.group in REVIEW_GROUPS:
            if method != "POST" or target.name:
                raise errors.method_not_allowed()
            return handlers_reviews.review(self._context, target, request)
        if target.name and kind.namespaced and target.namespace is None:
            raise errors.no_such_path()
        if target.subresource:
            return self._serve_subresource(target, request)
        if method == "GET":
            if not target.name:
                return handlers_read.list_or_watch(self._context, target, request)
            if request.query_text and request.is_set("watch"):
                return handlers_read.watch(self._context, target, request)
            return handlers_read.get(self._context, target, request)
        if method == "POST" and not target.name:
            return self._create(target, request)
        if method == "DELETE":
            if target.name:
                return handlers_delete.delete(self._deleter, target, request)
            if "deletecollection" in kind.verbs:
                return handlers_delete.delete_collection(self._context, self._deleter, target, request)
        if method == "PUT" and target.name:
            return self._replace(target, request)
        if method == "PATCH" and target.name:
            return self._patch(target, request)
        raise errors.method_not_allowed()

    def _serve_subresource(self, target: Target, request: Request) -> Answer | Awaitable[Answer]:
        name, method = target.subresource, request.method
        if name in _REFUSED and target.kind.resource in ("pods", "services", "nodes"):
            raise errors.unsupported(f"{target.kind.plural}/{name}", _REFUSED[name])
        if not target.kind.has(name) or target.rest:
            raise errors.no_such_path()
        if name == "scale":
            if method == "GET":
                return handlers_scale.get(self._context, target)
            if method in ("PUT", "PATCH"):
                return handlers_scale.write(self._writer, target, request)
        elif name in ("status", "finalize"):
            if method == "GET" and name == "status":
                return handlers_read.get(self._context, target, request)
            if method == "PUT":
                return self._replace(target, request)
            if method == "PATCH":
                return self._patch(target, request)
        elif name == "log" and method == "GET":
            return handlers_pods.log(self._context, target, request)
        elif method == "POST":
            if name == "eviction":
                return handlers_pods.evict(self._deleter, target, request)
            if name == "binding":
                return handlers_pods.bind(self._writer, target, request)
            if name == "token":
                return handlers_reviews.issue_token(self._context, target, request)
        raise errors.method_not_allowed()

    async def _create(self, target: Target, request: Request) -> Response:
        if target.kind.namespaced and target.namespace is None:
            raise errors.method_not_allowed()
        options = handlers_body.parse_options(request)
        obj = self._read(target, request, options, "")
        return self._written(target, await self._writer.create(target, obj, options))

    async def _replace(self, target: Target, request: Request) -> Response:
        options = handlers_body.parse_options(request)
        obj = self._read(target, request, options, target.name)
        handlers_write.require_version(target.kind, obj)
        raw = handlers_write.copy_of(obj)
        return self._written(target, await self._writer.update(target, lambda _: raw(), options))

    def _read(self, target: Target, request: Request, options: WriteOptions, name: str) -> Obj:
        """The object in a body, checked for fields given twice."""
        value = handlers_body.decode(request)
        mode = options.validation
        twice = handlers_body.find_duplicates(request.body, value) if mode != "Ignore" else []
        obj = handlers_schema.read_object(value, target.kind, name, needs_name=True)
        if twice:
            complaints = [f'duplicate field "{path}"' for path in twice]
            handlers_schema.complain(target.kind, complaints, mode, options.warnings)
        return obj

    async def _patch(self, target: Target, request: Request) -> Response:
        return self._written(target, await handlers_patch.patch(self._context, self._writer, target, request))

    def _written(self, target: Target, written: Written) -> Response:
        return Response(201 if written.is_created else 200, written.entry.raw_as(target.kind.api_version))
