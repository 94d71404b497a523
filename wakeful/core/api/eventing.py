"""Knative Eventing's Broker and Trigger: names, defaults and validation, in Knative's own words.

Called by admission on one machine (``standalone.knative.eventing_admission``) and by the Eventing controllers. Source:
reference section 4.2 and 4.6. Left out: EventPolicy, cross-namespace broker references (refused, as Knative's default
feature flags refuse them), OIDC. CESQL is parsed here, so that a bad expression never reaches the data path.
Invariant: defaulting is idempotent, and what passes ``validate_*`` can be parsed by ``wakeful.core.delivery``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wakeful.core.api.eventing_delivery import validate_delivery, validate_destination
from wakeful.core.api.knative_serving_problem import Problem, disallowed, invalid, under
from wakeful.core.delivery import cesql, filters

Obj = dict[str, Any]

GROUP = "eventing.knative.dev"
API_VERSION = f"{GROUP}/v1"
SYSTEM_NAMESPACE = "knative-eventing"
BROKER_CLASS = f"{GROUP}/broker.class"
OUR_CLASS = "MTChannelBasedBroker"
BROKER_LABEL = f"{GROUP}/broker"
INJECTION = f"{GROUP}/injection"
CREATOR, LAST_MODIFIER = f"{GROUP}/creator", f"{GROUP}/lastModifier"
DEPENDENCY = "knative.dev/dependency"
IMMUTABLE = "Immutable fields changed (-old +new)"

DEFAULT_CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "name": "config-br-default-channel",
    "namespace": SYSTEM_NAMESPACE,
}
DEFAULT_DELIVERY = {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT0.2S"}
_DIALECTS = ("exact", "prefix", "suffix", "all", "any", "not", "cesql")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9]*\Z")


@dataclass(frozen=True, slots=True)
class Features:
    """The flags of ``config-features`` that decide about fields."""

    has_delivery_timeout: bool = True
    has_retry_after: bool = False


def is_ours(broker: Obj) -> bool:
    """Whether a Broker is of the class that we serve."""
    annotations = _mapping(broker["metadata"].get("annotations"))
    return bool(annotations.get(BROKER_CLASS, OUR_CLASS) == OUR_CLASS)


def default_broker(obj: Obj) -> None:
    """Class, config and delivery as config-br-defaults gives them; namespaces of references."""
    annotations = obj["metadata"].setdefault("annotations", {})
    annotations.setdefault(BROKER_CLASS, OUR_CLASS)
    spec = obj.setdefault("spec", {})
    namespace = obj["metadata"].get("namespace", "")
    if not spec.get("config"):
        spec["config"] = dict(DEFAULT_CONFIG)
    elif isinstance(spec["config"], dict):
        spec["config"].setdefault("namespace", namespace)
    if spec.get("delivery") is None:
        spec["delivery"] = dict(DEFAULT_DELIVERY)
    _default_destination(_mapping(spec["delivery"]).get("deadLetterSink"), namespace)


def default_trigger(obj: Obj) -> None:
    """The broker label, and namespaces of references."""
    spec = _mapping(obj.get("spec"))
    namespace = obj["metadata"].get("namespace", "")
    if spec.get("broker"):
        obj["metadata"].setdefault("labels", {})[BROKER_LABEL] = spec["broker"]
    _default_destination(spec.get("subscriber"), namespace)
    _default_destination(_mapping(spec.get("delivery")).get("deadLetterSink"), namespace)


def record_user(obj: Obj, old: Obj | None, username: str) -> None:
    """The annotations creator and lastModifier; the first never changes, the second follows changes of spec."""
    annotations = obj["metadata"].setdefault("annotations", {})
    if old is None:
        annotations[CREATOR] = annotations[LAST_MODIFIER] = username
        return
    before = _mapping(old["metadata"].get("annotations"))
    if CREATOR in before:
        annotations[CREATOR] = before[CREATOR]
    if old.get("spec") != obj.get("spec"):
        annotations[LAST_MODIFIER] = username
    elif LAST_MODIFIER in before:
        annotations[LAST_MODIFIER] = before[LAST_MODIFIER]


def validate_broker(obj: Obj, old: Obj | None, features: Features) -> Iterator[Problem]:
    """What is wrong with a Broker after defaulting."""
    spec = _mapping(obj.get("spec"))
    config = _mapping(spec.get("config"))
    missing = [f"spec.config.{key}" for key in ("apiVersion", "kind", "name") if not config.get(key)]
    if missing:
        yield Problem("missing field(s)", ", ".join(missing))
    yield from under("spec.delivery", _delivery(spec, features))
    if old is None:
        return
    config_before = _mapping(_mapping(old.get("spec")).get("config"))
    if config_before and config != config_before:
        yield Problem(IMMUTABLE, "spec.config", _changed(config_before, config))
    before = _mapping(old["metadata"].get("annotations")).get(BROKER_CLASS)
    after = _mapping(obj["metadata"].get("annotations")).get(BROKER_CLASS)
    if before is not None and before != after:
        yield Problem(IMMUTABLE, "annotations", _changed(before, after))


def validate_trigger(obj: Obj, old: Obj | None, features: Features) -> Iterator[Problem]:
    """What is wrong with a Trigger after defaulting."""
    spec = _mapping(obj.get("spec"))
    yield from under("spec", _broker_reference(spec))
    if spec.get("subscriber") is None:
        yield Problem("missing field(s)", "spec.subscriber")
    else:
        yield from under("spec.subscriber", validate_destination(spec["subscriber"]))
    yield from under("spec.filter.attributes", _attributes(_mapping(spec.get("filter")).get("attributes")))
    yield from _filter_list(spec.get("filters"), "spec.filters", 1)
    yield from under("spec.delivery", _delivery(spec, features))
    yield from _dependency(obj)
    if old is not None and _mapping(old.get("spec")).get("broker") != spec.get("broker"):
        before = _mapping(old.get("spec")).get("broker")
        yield Problem(IMMUTABLE, "spec.broker", _changed(before, spec.get("broker")))


def _broker_reference(spec: Obj) -> Iterator[Problem]:
    reference = spec.get("brokerRef")
    if spec.get("broker") and reference is not None:
        yield Problem("expected exactly one, got both", "broker, brokerRef")
    elif reference is not None:
        named = _mapping(reference)
        if not named.get("name"):
            yield Problem("missing field(s)", "brokerRef.name")
        if named.get("namespace"):
            yield from disallowed("brokerRef.namespace")
    elif not spec.get("broker"):
        yield Problem("missing field(s)", "broker")


def _attributes(attributes: Any) -> Iterator[Problem]:
    for name in _mapping(attributes):
        if not _ATTRIBUTE.match(str(name)):
            yield Problem(
                f'invalid key name "{name}"',
                "",
                "Attribute name must start with a letter and can only contain lowercase alphanumeric",
            )


def _filter_list(entries: Any, path: str, depth: int) -> Iterator[Problem]:
    if entries is None:
        return
    if not isinstance(entries, list):
        yield invalid(entries, path)
        return
    for index, entry in enumerate(entries):
        yield from _filter(entry, f"{path}[{index}]", depth)


def _filter(entry: Any, path: str, depth: int) -> Iterator[Problem]:
    if not isinstance(entry, dict):
        yield invalid(entry, path)
        return
    if depth > filters.MAX_DEPTH:
        yield Problem(f"filters are nested more than {filters.MAX_DEPTH} deep", path)
        return
    unknown = [name for name in entry if name not in _DIALECTS]
    if unknown:
        yield Problem(f"unknown dialect: use one of {', '.join(_DIALECTS)}", f"{path}.{unknown[0]}")
    if sum(bool(entry.get(dialect)) for dialect in _DIALECTS) > 1:
        yield Problem("multiple dialects found, filters can have only one dialect", path)
        return
    for dialect in ("exact", "prefix", "suffix"):
        value = entry.get(dialect)
        if value is not None and not isinstance(value, dict):
            yield invalid(value, f"{path}.{dialect}")
        yield from under(f"{path}.{dialect}", _attributes(value))
    for dialect in ("all", "any"):
        yield from _filter_list(entry.get(dialect), f"{path}.{dialect}", depth + 1)
    if entry.get("not") is not None:
        yield from _filter(entry["not"], f"{path}.not", depth + 1)
    if entry.get("cesql"):
        try:
            cesql.parse(str(entry["cesql"]))
        except cesql.ParseError as error:
            yield invalid(entry["cesql"], f"{path}.cesql", str(error))


def _delivery(spec: Obj, features: Features) -> Iterator[Problem]:
    if spec.get("delivery") is not None:
        yield from validate_delivery(
            spec["delivery"], features.has_delivery_timeout, features.has_retry_after
        )


def _dependency(obj: Obj) -> Iterator[Problem]:
    text = _mapping(obj["metadata"].get("annotations")).get(DEPENDENCY)
    if text is None:
        return
    path = f"metadata.annotations[{DEPENDENCY}]"
    try:
        reference = json.loads(str(text))
    except ValueError as error:
        yield Problem(f"The provided annotation was not a valid object reference: {error}", path)
        return
    named = _mapping(reference)
    missing = [key for key in ("kind", "name", "apiVersion") if not named.get(key)]
    if missing:
        yield Problem("missing field(s)", ", ".join(f"{path}.{key}" for key in missing))
    if named.get("namespace") not in (None, "", obj["metadata"].get("namespace")):
        yield Problem(
            f"Namespace must be empty or equal to the trigger namespace {obj['metadata'].get('namespace')!r}",
            path,
        )


def _default_destination(destination: Any, namespace: str) -> None:
    reference = _mapping(destination).get("ref")
    if isinstance(reference, dict) and not reference.get("namespace"):
        reference["namespace"] = namespace


def _changed(before: Any, after: Any) -> str:
    return f"-{json.dumps(before, sort_keys=True)} +{json.dumps(after, sort_keys=True)}"


def _mapping(value: Any) -> Obj:
    return value if isinstance(value, dict) else {}
