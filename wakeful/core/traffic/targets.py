"""A Route's traffic block: which revision each entry means now, and what the status shows.

Called by the Route controller with what its cache knows; the result becomes Ingress splits and ``status.traffic``.
Section 1.5 of the reference page: ``latestRevision`` means the latest *ready* revision, every target must exist and
be ready, and one bad target changes nothing at all (the old routing stays).

Invariant: either every entry is resolved or there is one ``Problem``; the percents of ``main_split`` sum to those of
the block; ``render_status`` keeps the order of the block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Readiness(StrEnum):
    """A condition's status; the values are Kubernetes'."""

    READY = "True"
    FAILED = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class ConfigurationFacts:
    """What routing needs to know of a Configuration."""

    latest_ready: str
    readiness: Readiness


@dataclass(frozen=True, slots=True)
class RevisionFacts:
    """What routing needs to know of a Revision. ``service`` is its ``serving.knative.dev/service`` label or ""."""

    readiness: Readiness
    configuration: str
    service: str


class Reason(StrEnum):
    """Reasons of ``AllTrafficAssigned``."""

    REVISION_MISSING = "RevisionMissing"
    CONFIGURATION_NOT_FOUND = "ConfigurationMissing"
    REVISION_NOT_OWNED = "RevisionNotOwned"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the block cannot be put into force; ``is_final`` False means waiting may help."""

    reason: Reason
    message: str
    is_final: bool


@dataclass(frozen=True, slots=True)
class Target:
    """One resolved entry. ``configuration`` is set where the entry follows the latest revision."""

    revision: str
    percent: int
    tag: str
    is_latest: bool
    configuration: str


FindConfiguration = Callable[[str], ConfigurationFacts | None]
FindRevision = Callable[[str], RevisionFacts | None]


def resolve(
    traffic: Sequence[Mapping[str, Any]],
    find_configuration: FindConfiguration,
    find_revision: FindRevision,
    owner_service: str,
) -> list[Target] | Problem:
    """Resolve a Route's ``spec.traffic``. ``owner_service`` is "" for a Route that no Service owns.

    Of several problems a final one is returned first, so that waiting never hides a mistake.
    """
    found: list[Target] = []
    waiting: Problem | None = None
    for entry in traffic:
        result = _resolve_one(entry, find_configuration, find_revision, owner_service)
        if isinstance(result, Target):
            found.append(result)
        elif result.is_final:
            return result
        else:
            waiting = waiting or result
    return waiting or found


def _resolve_one(
    entry: Mapping[str, Any],
    find_configuration: FindConfiguration,
    find_revision: FindRevision,
    owner_service: str,
) -> Target | Problem:
    percent, tag = int(entry.get("percent") or 0), str(entry.get("tag") or "")
    if name := entry.get("configurationName"):
        configuration = find_configuration(name)
        if configuration is None:
            text = f'Configuration "{name}" referenced in traffic not found.'
            return Problem(Reason.CONFIGURATION_NOT_FOUND, text, is_final=True)
        if not configuration.latest_ready:
            return _unready_configuration(name, configuration)
        revision = find_revision(configuration.latest_ready)
        if revision is None:
            return _missing(configuration.latest_ready)
        return Target(configuration.latest_ready, percent, tag, True, name)
    name = str(entry.get("revisionName") or "")
    revision = find_revision(name)
    if revision is None:
        return _missing(name)
    if owner_service and revision.service != owner_service:
        text = f'Revision "{name}" referenced in traffic is not owned by Service "{owner_service}".'
        return Problem(Reason.REVISION_NOT_OWNED, text, is_final=True)
    if revision.readiness is Readiness.FAILED:
        return Problem(Reason.REVISION_MISSING, f'Revision "{name}" failed to become ready.', is_final=True)
    if revision.readiness is Readiness.UNKNOWN:
        return Problem(Reason.REVISION_MISSING, f'Revision "{name}" is not yet ready.', is_final=False)
    return Target(name, percent, tag, False, "")


def _missing(revision: str) -> Problem:
    text = f'Revision "{revision}" referenced in traffic not found.'
    return Problem(Reason.REVISION_MISSING, text, is_final=True)


def _unready_configuration(name: str, facts: ConfigurationFacts) -> Problem:
    if facts.readiness is Readiness.FAILED:
        text = f'Configuration "{name}" does not have any ready Revision.'
        return Problem(Reason.REVISION_MISSING, text, is_final=True)
    text = f'Configuration "{name}" is waiting for a Revision to become ready.'
    return Problem(Reason.REVISION_MISSING, text, is_final=False)


def main_split(targets: Iterable[Target]) -> list[tuple[str, int]]:
    """(revision, percent) of the main host: entries of one revision added up, those of 0 % left out."""
    shares: dict[str, int] = {}
    for target in targets:
        if target.percent > 0:
            shares[target.revision] = shares.get(target.revision, 0) + target.percent
    return list(shares.items())


def tags(targets: Iterable[Target]) -> dict[str, Target]:
    """The entry behind each tag, in the order of the block."""
    return {target.tag: target for target in targets if target.tag}


def render_status(targets: Sequence[Target], tag_url: Callable[[str], str]) -> list[dict[str, Any]]:
    """``status.traffic``: entries of the same revision, tag and latestRevision merged, ``percent`` always there."""
    merged: dict[tuple[str, str, bool], int] = {}
    for target in targets:
        key = (target.revision, target.tag, target.is_latest)
        merged[key] = merged.get(key, 0) + target.percent
    shown: list[dict[str, Any]] = []
    for (revision, tag, is_latest), percent in merged.items():
        entry: dict[str, Any] = {"revisionName": revision, "latestRevision": is_latest, "percent": percent}
        if tag:
            entry |= {"tag": tag, "url": tag_url(tag)}
        shown.append(entry)
    return shown
