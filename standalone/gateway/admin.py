"""``gateway.sock``: health, metrics, the last wakes, and what the gateway knows of revisions and hosts.

For ``wakeful explain``, tests and people with curl. ``POST /drain`` is the node's: it answers when no request is at a
pod that is about to end (Knative's ``/wait-for-drain``).
"""

from __future__ import annotations

from aiohttp import web

from standalone.gateway.engine import Engine
from standalone.gateway.fleet import Fleet
from standalone.gateway.measures import FleetCollector, Measures
from standalone.gateway.revision import Revision
from wakeful.kit import httpserver


def build(fleet: Fleet, engine: Engine, measures: Measures) -> web.Application:
    """The admin application."""

    def is_healthy() -> str | None:
        return None if fleet.is_synced else "the routes were not read from the API server yet"

    async def timelines(_: web.Request) -> web.Response:
        return web.json_response({"timelines": [entry.to_json() for entry in engine.timelines]})

    async def revisions(_: web.Request) -> web.Response:
        return web.json_response({"revisions": [_revision(revision) for revision in fleet.items()]})

    async def routes(_: web.Request) -> web.Response:
        hosts = {
            host: {"ingress": "/".join(rule.ingress), "clusterLocal": rule.is_local}
            for host, rule in sorted(fleet.table.rules.items())
        }
        return web.json_response({"hosts": hosts})

    async def drain(request: web.Request) -> web.Response:
        try:
            body = await request.json()
        except ValueError:
            body = None
        key = body.get("pod") if isinstance(body, dict) else None
        if not isinstance(key, str) or not key:
            raise web.HTTPBadRequest(text='the body must be {"pod": UID}')
        return web.json_response({"known": await fleet.drain(key)})

    measures.registry.register(FleetCollector(fleet))
    app = httpserver.admin_app(is_healthy, measures.registry)
    app.router.add_get("/timelines", timelines)
    app.router.add_get("/revisions", revisions)
    app.router.add_get("/routes", routes)
    app.router.add_post("/drain", drain)
    return app


def _revision(revision: Revision) -> dict[str, object]:
    view, breaker = revision.view, revision.hold.breaker
    pods = [
        {
            "name": pod.view.name,
            "address": str(pod.pool.address) if pod.pool is not None else None,
            "open": pod.is_open,
            "inFlight": breaker.in_flight_at(pod.view.key),
            "failure": pod.view.failure or None,
        }
        for pod in revision.pods.values()
    ]
    return {
        "namespace": view.namespace,
        "revision": view.name,
        "containerConcurrency": view.slots,
        "waiting": breaker.waiting,
        "inFlight": breaker.in_flight,
        "failure": revision.failure or None,
        "wakeTrouble": revision.waking.trouble,
        "pods": pods,
    }
