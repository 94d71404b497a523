"""Canary rollout of one component: which revision counts as rolled out, and how traffic is split.

Called by ``plan`` once per component and reconcile: first ``step`` with what Knative reports, then ``build_traffic``.
Theory (KServe behaviour page section 2.5): *L*, the latest rolled-out revision, is the newest that ever took 100 %.
``canaryTrafficPercent`` p sends p to the latest revision and the rest to *L*; lowering p after a promotion pins the
revision before, which is how one rolls back without touching the model. Worked example: rev1 live, new model with
p = 20: rev2 20, rev1 80 (tag ``prev``); p removed: rev2 100, L = rev2, previous = rev1; p = 0: back to rev1.

Invariant: the percentages of ``build_traffic`` sum to 100.
"""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.core.api.isvc_problem import Obj, integer, mapping, mappings, text


@dataclass(frozen=True, slots=True)
class Rollout:
    """The revision names in ``status.components.X``; "" where there is none."""

    latest_ready: str = ""
    latest_created: str = ""
    latest_rolled_out: str = ""
    previous_rolled_out: str = ""


def read(component_status: Obj) -> Rollout:
    """What the InferenceService's status remembers."""
    return Rollout(
        text(component_status.get("latestReadyRevision")),
        text(component_status.get("latestCreatedRevision")),
        text(component_status.get("latestRolledoutRevision")),
        text(component_status.get("previousRolledoutRevision")),
    )


def step(before: Rollout, service_status: Obj) -> Rollout:
    """The bookkeeping after observing ``service_status`` (of the Knative Service)."""
    ready = text(service_status.get("latestReadyRevisionName"))
    created = text(service_status.get("latestCreatedRevisionName"))
    if _is_of_another_service(before, created):
        before = Rollout()
    latest, previous = before.latest_rolled_out, before.previous_rolled_out
    entries = mappings(service_status.get("traffic"))
    for entry in entries:
        if not ready or entry.get("revisionName") != ready or entry.get("latestRevision") is not True:
            continue
        percent = integer(entry.get("percent")) or 0
        if latest != ready:
            if percent == 100:
                previous, latest = latest, ready
        elif _is_lowered(entries, ready, percent) and ready == created and previous:
            latest = previous
    return Rollout(ready, created, latest, previous)


def _is_of_another_service(before: Rollout, created: str) -> bool:
    """Whether what we remember is of a Knative Service that was deleted or had another name.

    Its revisions are gone, and traffic that names one of them would never be routed again. Revisions are numbered
    (``NAME-00012``), so none that was ever rolled out comes after the newest.
    """
    if not created:
        return True
    own = created.rpartition("-")[0]
    return any(
        name and (name.rpartition("-")[0] != own or name > created)
        for name in (before.latest_rolled_out, before.previous_rolled_out)
    )


def _is_lowered(entries: list[Obj], revision: str, percent: int) -> bool:
    """Whether the percentage was lowered although both entries still name the same revision."""
    total = sum(integer(item.get("percent")) or 0 for item in entries if item.get("revisionName") == revision)
    return percent < 100 and total == 100


def build_traffic(canary_percent: int | None, latest_rolled_out: str, with_latest_tag: bool) -> list[Obj]:
    """``spec.traffic`` of the Knative Service."""
    newest: Obj = {"latestRevision": True, "percent": 100}
    if with_latest_tag:
        newest["tag"] = "latest"
    if canary_percent is None or not latest_rolled_out or canary_percent >= 100:
        return [newest]
    newest["percent"] = max(canary_percent, 0)
    held = {
        "revisionName": latest_rolled_out,
        "latestRevision": False,
        "percent": 100 - newest["percent"],
        "tag": "prev",
    }
    return [newest, held]


def render(rollout: Rollout, service_status: Obj, before: Obj) -> Obj:
    """``status.components.X``. URL and address are refreshed only while the Knative Service is ready."""
    fields = {
        "latestReadyRevision": rollout.latest_ready,
        "latestCreatedRevision": rollout.latest_created,
        "latestRolledoutRevision": rollout.latest_rolled_out,
        "previousRolledoutRevision": rollout.previous_rolled_out,
    }
    rendered: Obj = {key: value for key, value in fields.items() if value}
    if service_status.get("traffic"):
        rendered["traffic"] = service_status["traffic"]
    source = service_status if _is_ready(service_status) else before
    if source.get("url"):
        rendered["url"] = source["url"]
    if mapping(source.get("address")).get("url"):
        rendered["address"] = {"url": mapping(source["address"])["url"]}
    return rendered


def _is_ready(service_status: Obj) -> bool:
    return any(
        item.get("type") == "Ready" and item.get("status") == "True"
        for item in mappings(service_status.get("conditions"))
    )
