"""Which webhooks a write concerns: rules, operations, scope, selectors, match policy. Pure.

Called by ``admission``. Source of the rules: Kubernetes' ``admissionregistration.k8s.io/v1``.

Invariant: a webhook is never called for webhook configurations themselves, so none can lock itself in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind

Obj = dict[str, Any]
Labels = Mapping[str, str]
OWN_GROUP = "admissionregistration.k8s.io"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a write is, as far as matching goes."""

    kind: Kind
    operation: str
    subresource: str
    namespace_labels: Labels | None
    """Of the object's namespace (of the object itself for a Namespace); None for cluster-scoped kinds."""
    labels: Labels
    old_labels: Labels


def match_version(webhook: Obj, subject: Subject) -> str | None:
    """The version in which the webhook wants to see the object, or None when it does not concern it."""
    if subject.kind.group == OWN_GROUP:
        return None
    if not _match_selectors(webhook, subject):
        return None
    rules = webhook.get("rules") or ()
    if any(_match_rule(rule, subject, subject.kind.version) for rule in rules):
        return subject.kind.version
    if webhook.get("matchPolicy", "Equivalent") == "Equivalent":
        for version in subject.kind.served_versions:
            if any(_match_rule(rule, subject, version) for rule in rules):
                return version
    return None


def _match_selectors(webhook: Obj, subject: Subject) -> bool:
    selector = webhook.get("namespaceSelector")
    if (
        selector
        and subject.namespace_labels is not None
        and not match_labels(selector, subject.namespace_labels)
    ):
        return False
    selector = webhook.get("objectSelector")
    return (
        not selector or match_labels(selector, subject.labels) or match_labels(selector, subject.old_labels)
    )


def _match_rule(rule: Obj, subject: Subject, version: str) -> bool:
    scope = rule.get("scope", "*")
    if scope != "*" and (scope == "Namespaced") != subject.kind.namespaced:
        return False
    return (
        _has(rule.get("operations"), subject.operation)
        and _has(rule.get("apiGroups"), subject.kind.group)
        and _has(rule.get("apiVersions"), version)
        and any(_match_resource(text, subject) for text in rule.get("resources") or ())
    )


def _has(allowed: list[str] | None, value: str) -> bool:
    return allowed is not None and ("*" in allowed or value in allowed)


def _match_resource(text: str, subject: Subject) -> bool:
    resource, slash, subresource = text.partition("/")
    if resource not in ("*", subject.kind.plural):
        return False
    if not slash:
        return not subject.subresource
    return subresource == "*" or subresource == subject.subresource


def match_labels(selector: Obj, labels: Labels) -> bool:
    """A ``LabelSelector`` (matchLabels and matchExpressions, all of them) on a label map."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(_match_expression(term, labels) for term in selector.get("matchExpressions") or ())


def _match_expression(term: Obj, labels: Labels) -> bool:
    key, values = term.get("key", ""), term.get("values") or ()
    match term.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False


def check_configuration(configuration: Obj) -> list[Cause]:
    """What is wrong with a webhook configuration, and what of it is not supported here."""
    causes = []
    seen: set[str] = set()
    for index, webhook in enumerate(configuration.get("webhooks") or ()):
        path = f"webhooks[{index}]"
        name = webhook.get("name", "")
        if name.count(".") < 2:
            text = (
                f'Invalid value: "{name}": should be a domain with at least three segments separated by dots'
            )
            causes.append(Cause(f"{path}.name", "FieldValueInvalid", text))
        if name in seen:
            causes.append(Cause(f"{path}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        seen.add(name)
        causes += _check_client(webhook.get("clientConfig") or {}, f"{path}.clientConfig")
        if "v1" not in (webhook.get("admissionReviewVersions") or ()):
            text = "Invalid value: must include at least one of v1"
            causes.append(Cause(f"{path}.admissionReviewVersions", "FieldValueInvalid", text))
        if webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            text = (
                f'Unsupported value: "{webhook.get("sideEffects")}": supported values: "None", "NoneOnDryRun"'
            )
            causes.append(Cause(f"{path}.sideEffects", "FieldValueNotSupported", text))
        if not 1 <= webhook.get("timeoutSeconds", 10) <= 30:
            text = "Invalid value: the timeout value must be between 1 and 30 seconds"
            causes.append(Cause(f"{path}.timeoutSeconds", "FieldValueInvalid", text))
        if webhook.get("matchConditions"):
            text = "Forbidden: CEL match conditions are not supported by the embedded API: use rules and selectors"
            causes.append(Cause(f"{path}.matchConditions", "FieldValueForbidden", text))
    return causes


def _check_client(client: Obj, path: str) -> list[Cause]:
    if bool(client.get("url")) == bool(client.get("service")):
        return [
            Cause(path, "FieldValueRequired", "Required value: exactly one of url or service is required")
        ]
    if client.get("url") and not client["url"].startswith("https://"):
        text = f"Invalid value: \"{client['url'][:200]}\": 'https' is the only allowed URL scheme"
        return [Cause(f"{path}.url", "FieldValueInvalid", text)]
    return []
