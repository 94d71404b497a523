"""Service, Configuration, Revision and Route: what Knative's webhooks change and refuse, as functions.

Called by ``standalone.knative.admission``. ``default_*`` fill an object in place, ``validate_*`` yield problems; both
take the old object of an update, or None. Sections 1.3, 1.5 and 1.8 of the reference page.

Invariant: an object that was admitted is admitted again unchanged (so a second apply changes nothing).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wakeful.core.api import knative_serving_annotations as notes
from wakeful.core.api import knative_serving_defaults as fill
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.knative_serving_config import Defaults, Features
from wakeful.core.api.knative_serving_podspec import validate_revision_spec
from wakeful.core.api.knative_serving_problem import MISSING, Problem, difference, invalid, under
from wakeful.core.api.knative_serving_traffic import validate_traffic
from wakeful.core.scaling.settings import AutoscalerConfig

Obj = dict[str, Any]
DNS_1035 = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
BAD_NAME = "not a DNS 1035 label: [a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character]"


@dataclass(frozen=True, slots=True)
class Settings:
    """The ConfigMaps admission depends on."""

    defaults: Defaults = field(default_factory=Defaults)
    features: Features = field(default_factory=Features)
    autoscaler: AutoscalerConfig = field(default_factory=AutoscalerConfig)


def default_template(obj: Obj, old: Obj | None, settings: Settings) -> None:
    """The template of a Service or Configuration; left alone where its own name stays and nothing else changed."""
    template = _made(_made(obj, "spec"), "template")
    name = part(template, "metadata").get("name")
    if name and old is not None and part(old, "spec").get("template") == template:
        return
    fill.default_revision_spec(_made(template, "spec"), settings.defaults)


def default_revision(obj: Obj, old: Obj | None, settings: Settings) -> None:
    if old is None:
        fill.default_revision_spec(_made(obj, "spec"), settings.defaults)


def default_routing(obj: Obj, is_service: bool) -> None:
    spec = _made(obj, "spec")
    traffic = spec.get("traffic")
    spec["traffic"] = fill.default_traffic(traffic if isinstance(traffic, list) else [], is_service)


def record_user(obj: Obj, old: Obj | None, username: str) -> None:
    """``creator`` and ``lastModifier`` as the webhook sets them: the user when the spec changed."""
    annotations = obj["metadata"].setdefault("annotations", {})
    if old is None:
        annotations[names.CREATOR] = annotations[names.LAST_MODIFIER] = username
        return
    before = part(part(old, "metadata"), "annotations")
    if names.CREATOR in before:
        annotations[names.CREATOR] = before[names.CREATOR]
    if old.get("spec") != obj.get("spec"):
        annotations[names.LAST_MODIFIER] = username
    elif names.LAST_MODIFIER in before:
        annotations[names.LAST_MODIFIER] = before[names.LAST_MODIFIER]


def validate_service(obj: Obj, old: Obj | None, settings: Settings) -> Iterator[Problem]:
    yield from _validate_metadata(obj)
    yield from _validate_template(obj, old, settings)
    traffic = part(obj, "spec").get("traffic")
    yield from under("spec.traffic", validate_traffic(traffic, is_service=True))


def validate_configuration(obj: Obj, old: Obj | None, settings: Settings) -> Iterator[Problem]:
    yield from _validate_metadata(obj)
    yield from _validate_service_label(obj)
    yield from _validate_template(obj, old, settings)


def validate_route(obj: Obj, old: Obj | None, settings: Settings) -> Iterator[Problem]:
    yield from _validate_metadata(obj)
    yield from _validate_service_label(obj)
    traffic = part(obj, "spec").get("traffic")
    yield from under("spec.traffic", validate_traffic(traffic, is_service=False))


def validate_revision(obj: Obj, old: Obj | None, settings: Settings) -> Iterator[Problem]:
    if old is not None:
        if old.get("spec") != obj.get("spec"):
            text = difference(old.get("spec"), obj.get("spec"))
            yield Problem("Immutable fields changed (-old +new)", "spec", text)
        return
    spec = part(obj, "spec")
    yield from under("spec", validate_revision_spec(spec, settings.defaults, settings.features))
    yield from under("metadata.annotations", _validate_template_annotations(_annotations(obj), settings))


def _validate_template(obj: Obj, old: Obj | None, settings: Settings) -> Iterator[Problem]:
    template = part(part(obj, "spec"), "template")
    spec = template.get("spec")
    if not isinstance(spec, Mapping):
        yield Problem(MISSING, "spec.template.spec")
        return
    yield from under("spec.template.spec", validate_revision_spec(spec, settings.defaults, settings.features))
    found = _validate_template_annotations(_annotations(template), settings)
    yield from under("spec.template.metadata.annotations", found)
    yield from _validate_own_name(obj, old, template)


def _validate_own_name(obj: Obj, old: Obj | None, template: Mapping[str, Any]) -> Iterator[Problem]:
    path = "spec.template.metadata.name"
    metadata = part(template, "metadata")
    if metadata.get("generateName"):
        yield Problem("must not set the field(s)", "spec.template.metadata.generateName")
    name = metadata.get("name")
    if not name:
        return
    parent = part(obj, "metadata").get("name") or ""
    if part(obj, "metadata").get("generateName"):
        yield Problem(
            "must not set the field(s)", path, "A name cannot be given when the parent uses generateName"
        )
    elif not DNS_1035.fullmatch(name):
        yield invalid(name, path, BAD_NAME)
    elif not str(name).startswith(f"{parent}-"):
        yield invalid(name, path, f'{name} must have prefix "{parent}-"')
    before = part(part(old or {}, "spec"), "template")
    if part(before, "metadata").get("name") == name and before != template:
        yield Problem(
            "Saw the following changes without a name change (-old +new)", path, difference(before, template)
        )


def _validate_template_annotations(annotations: Mapping[str, str], settings: Settings) -> Iterator[Problem]:
    yield from notes.validate_scaling(annotations, settings.autoscaler)
    yield from notes.validate_progress_deadline(annotations)


def _validate_metadata(obj: Obj) -> Iterator[Problem]:
    metadata = part(obj, "metadata")
    name = metadata.get("name")
    if name and not DNS_1035.fullmatch(str(name)):
        yield invalid(name, "metadata.name", BAD_NAME)
    found = [*notes.validate_misplaced(_annotations(obj))]
    yield from under("metadata", found)
    yield from under("metadata.annotations", notes.validate_rollout_duration(_annotations(obj)))


def _validate_service_label(obj: Obj) -> Iterator[Problem]:
    metadata = part(obj, "metadata")
    service = part(metadata, "labels").get(names.SERVICE)
    owners = metadata.get("ownerReferences") or []
    if service and not any(o.get("kind") == "Service" and o.get("name") == service for o in owners):
        yield invalid(
            service,
            f"metadata.labels[{names.SERVICE}]",
            f'must be owned by the Knative Service "{service}" that the label names',
        )


def _annotations(obj: Mapping[str, Any]) -> dict[str, str]:
    found = part(part(obj, "metadata"), "annotations")
    return {str(key): str(value) for key, value in found.items()}


def _made(obj: Obj, key: str) -> Obj:
    """``obj[key]``, made where absent; a detached one where it has the wrong type (the schema reports that)."""
    value = obj.setdefault(key, {})
    return value if isinstance(value, dict) else {}


def part(obj: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """``obj[key]`` if it is a mapping, else an empty one."""
    value = obj.get(key)
    return value if isinstance(value, Mapping) else {}
