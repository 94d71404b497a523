"""A proxy before an API server that lets through what RBAC rules allow, and remembers what they did not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from wakeful.kit.kube import Credentials

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
HOP_HEADERS = ("transfer-encoding", "content-encoding", "content-length", "connection")
READ_OPEN = ("/version", "/api", "/apis", "/healthz")


@dataclass(frozen=True, slots=True)
class Access:
    """One request in RBAC's words."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str


@dataclass
class Rules:
    """The rules of some roles; a Role's hold in its namespace only."""

    rules: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path, cluster_role: str) -> Rules:
        found = cls()
        for doc in yaml.safe_load_all(path.read_text()):
            is_wanted = doc["kind"] == "Role" or doc["metadata"]["name"] == cluster_role
            if doc["kind"] in ("Role", "ClusterRole") and is_wanted:
                found.rules += [(doc["metadata"].get("namespace", ""), rule) for rule in doc["rules"]]
        return found

    def allow(self, access: Access) -> bool:
        return any(
            (not namespace or namespace == access.namespace)
            and access.group in rule["apiGroups"]
            and access.resource in rule["resources"]
            and access.verb in rule["verbs"]
            and (not rule.get("resourceNames") or access.name in rule["resourceNames"])
            for namespace, rule in self.rules
        )


def accesses(method: str, path: str, query: Any) -> Sequence[Access]:
    """What a request needs; nothing for discovery."""
    parts = path.strip("/").split("/")
    group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1] if len(parts) > 1 else "", parts[3:])
    if path in READ_OPEN or not rest:
        return []
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource = "/".join([rest[0], *rest[2:]])
    name = rest[1] if len(rest) > 1 else ""
    verb = VERBS.get(method) or ("get" if name else "watch" if query.get("watch") else "list")
    verbs = ["patch", "create"] if verb == "patch" else [verb]  # server-side apply may create
    return [Access(item, group, resource, namespace, name) for item in verbs]


class Guard:
    """The proxy. ``denied`` is what was asked for without a right."""

    def __init__(self, rules: Rules, target: Credentials) -> None:
        self._rules, self._target = rules, target
        self.denied: set[Access] = set()
        self.seen: set[tuple[str, str]] = set()

    async def start(self) -> tuple[web.AppRunner, int]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return runner, runner.addresses[0][1]

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        for access in accesses(request.method, request.path, request.query):
            self.seen.add((access.verb, access.resource))
            if not self._rules.allow(access):
                self.denied.add(access)
                status = {
                    "kind": "Status",
                    "status": "Failure",
                    "code": 403,
                    "message": f"forbidden: {access}",
                }
                return web.json_response(status, status=403)
        headers = {"Authorization": f"Bearer {self._target.token}"}
        headers |= {key: request.headers[key] for key in ("Accept", "Content-Type") if key in request.headers}
        url, body = self._target.server + request.path_qs, await request.read()
        connector = aiohttp.TCPConnector(ssl=self._target.tls or True)
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(request.method, url, headers=headers, data=body) as answer,
        ):
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP_HEADERS}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            return response
