"""Say why a request waits or finds no route: the sentence behind a 404 or 504, from what the gateway knows. Pure.

Called by ``passage`` when a held request's time is up and by ``engine`` for hosts without a route. Knative says only
``activator request timeout``; who reads that must search three objects for the reason that is known here.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Protocol

from standalone.gateway.podview import PodView, RevisionView

SENTENCE_CHARACTERS = 500
SUFFIXES = (".svc.cluster.local", ".svc", ".localhost")
COMPONENT = "-predictor"
"""An InferenceService NAME is served by the Knative Service NAME-predictor."""


class Candidate(Protocol):
    """A pod that may serve one day."""

    view: PodView
    refusal: str


def one_line(text: str) -> str:
    """``text`` without line breaks, its end cut off where it is long."""
    flat = " ".join(text.split())
    return flat if len(flat) <= SENTENCE_CHARACTERS else flat[:SENTENCE_CHARACTERS] + " ..."


def why_no_pod(view: RevisionView, live: Iterable[Candidate], trouble: str | None, now: float) -> str:
    """Why revision ``view`` has no pod that answers. ``live``: not terminating; ``now``: Unix seconds."""
    pods = sorted(live, key=lambda pod: pod.view.created_at)
    if not pods:
        why = trouble or view.failure or "no pod was created for it yet"
        return one_line(f'revision "{view.name}" has no pod: {why}')
    pod = pods[0]
    started = pod.view.timeline.get("started")
    if pod.view.failure:
        why = pod.view.failure
    elif started is None:
        why = "its container was not started yet (volumes or init containers are not done)"
    else:
        asked = "the node's readiness probe" if view.probe.kind == "node" else _question(view)
        told = f": {pod.refusal}" if pod.refusal else ""
        why = f"started {max(now - started, 0.0):.0f} s ago, but {asked} got no good answer{told}"
    return one_line(f'revision "{view.name}" has no ready pod: pod "{pod.view.name}": {why}')


def _question(view: RevisionView) -> str:
    probe = view.probe
    path = f" {probe.path}" if probe.kind == "http" else ""
    return f"its readiness probe ({probe.kind}{path} on port {probe.port or view.port})"


def why_no_route(host: str, revisions: Iterable[RevisionView], known: Container[str] = ()) -> str:
    """Why the Service that ``host`` names has no route; empty where none of that name is known.

    ``known`` are the hosts that have one.
    """
    name = host
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    service, _, namespace = name.partition(".")
    inside = f"{service}.{namespace}{SUFFIXES[0]}"
    if host != inside and inside in known:
        return one_line(
            f"it is private (cluster-local): pods call http://{inside}, and so does that Host header here"
        )
    ours = [r for r in revisions if r.namespace == namespace and r.service in (service, service + COMPONENT)]
    if not ours:
        return ""
    newest = max(ours, key=lambda r: (r.generation, r.name))
    why = newest.failure or "it is still starting"
    return one_line(f'its newest revision "{newest.name}" was never ready: {why}')
