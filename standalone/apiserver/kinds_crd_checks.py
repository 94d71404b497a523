"""What Kubernetes refuses in the names, versions, columns and conversion of a CustomResourceDefinition.

Called by ``handlers_rules`` when a definition is written. Pure. The schema itself is checked by ``schema.checks_crd``.
A definition whose versions all say the same is shown by Kubernetes as if it had no versions: ``place`` gives the paths.

Invariant: a definition that a real API server takes is refused here only for what the embedded API cannot do (webhook
conversion between several versions).
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.errors import Cause
from standalone.apiserver.schema import failure, names
from standalone.apiserver.schema.core_checks_pod import part
from standalone.apiserver.schema.core_defaults_pod import dicts

Obj = dict[str, Any]
_COLUMN_TYPES = "boolean,date,integer,number,string"
_PROTECTED = ("k8s.io", "kubernetes.io")
_APPROVED = "api-approved.kubernetes.io"
_APPROVAL = f'protected groups must have approval annotation "{_APPROVED}"'
_SIMPLE_PATH = "must be a simple json path starting with ."


def check(definition: Obj) -> list[Cause]:
    """What is wrong with a definition whose types are right, its schemas left out."""
    spec = definition.get("spec")
    if not isinstance(spec, dict):
        return [_required("spec")]
    causes = _check_names(definition, spec)
    if spec.get("scope") not in (None, "Namespaced", "Cluster"):
        causes.append(_unsupported("spec.scope", spec["scope"], ("Cluster", "Namespaced")))
    if spec.get("preserveUnknownFields") is True:
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        causes.append(_invalid("spec.preserveUnknownFields", True, why))
    causes += _check_versions(spec)
    if not causes:
        for index, version in enumerate(dicts(spec.get("versions"))):
            causes += _check_version(spec, index, version)
    return causes + _check_conversion(spec)


def place(spec: Obj, index: int, field: str) -> str:
    """Where a field of a version is shown: at ``spec`` when all versions have the same one."""
    values = [version.get(field) for version in dicts(spec.get("versions"))]
    if any(value != values[0] for value in values):
        return f"spec.versions[{index}].{field}"
    return "spec.validation" if field == "schema" else f"spec.{field}"


def _check_names(definition: Obj, spec: Obj) -> list[Cause]:
    causes = []
    group, given = spec.get("group"), spec.get("names")
    metadata = part(definition, "metadata")
    if isinstance(group, str):
        causes += _check_group(group, part(metadata, "annotations"))
    if not isinstance(given, dict):
        return causes
    for key in ("plural", "singular"):
        if isinstance(given.get(key), str) and (why := names.service_problem(given[key])):
            causes.append(_invalid(f"spec.names.{key}", given[key], why))
    for key in ("kind", "listKind"):
        if isinstance(given.get(key), str) and (why := names.service_problem(given[key].lower())):
            text = f"may have mixed case, but should otherwise match: {why}"
            causes.append(_invalid(f"spec.names.{key}", given[key], text))
    if given.get("kind") and given.get("kind") == given.get("listKind"):
        causes.append(
            _invalid("spec.names.listKind", given["listKind"], "kind and listKind may not be the same")
        )
    for key in ("shortNames", "categories"):
        for index, name in enumerate(given.get(key) or ()):
            if isinstance(name, str) and (why := names.service_problem(name)):
                causes.append(_invalid(f"spec.names.{key}[{index}]", name, why))
    if metadata.get("name") != f"{given.get('plural') or ''}.{group or ''}":
        causes.append(
            _invalid("metadata.name", metadata.get("name"), 'must be spec.names.plural+"."+spec.group')
        )
    return causes


def _check_group(group: str, annotations: Obj) -> list[Cause]:
    if group and (why := names.subdomain_problem(group)):
        return [_invalid("spec.group", group, why)]
    if group and "." not in group:
        return [_invalid("spec.group", group, "should be a domain with at least one dot")]
    if not group:
        return [_required("spec.group")]
    is_protected = any(group == one or group.endswith(f".{one}") for one in _PROTECTED)
    if is_protected and not annotations.get(_APPROVED):
        text = f"Required value: {_APPROVAL}, see https://github.com/kubernetes/enhancements/pull/1111"
        return [Cause(f"metadata.annotations[{_APPROVED}]", "FieldValueRequired", text)]
    return []


def _check_versions(spec: Obj) -> list[Cause]:
    versions = spec.get("versions")
    if not isinstance(versions, list) or not versions:
        return [] if versions is None else [_invalid("spec.versions", versions, _ONE_STORED)]
    causes = []
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        name = version.get("name") if isinstance(version, dict) else None
        if not isinstance(name, str):
            continue
        if why := names.service_problem(name):
            causes.append(_invalid(f"{path}.name", name, why))
        if name in seen:
            causes.append(Cause(f"{path}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
        seen.add(name)
        if not isinstance(part(version, "schema").get("openAPIV3Schema"), dict):
            causes.append(_required(f"{path}.schema.openAPIV3Schema"))
    if sum(1 for version in dicts(versions) if version.get("storage") is True) != 1:
        causes.append(_invalid("spec.versions", None, _ONE_STORED))
    return causes


_ONE_STORED = "must have exactly one version marked as storage version"


def _check_version(spec: Obj, index: int, version: Obj) -> list[Cause]:
    causes = []
    columns = place(spec, index, "additionalPrinterColumns")
    for number, column in enumerate(dicts(version.get("additionalPrinterColumns"))):
        path, kind, where = f"{columns}[{number}]", column.get("type"), column.get("jsonPath")
        if kind and kind not in _COLUMN_TYPES.split(","):
            causes.append(_invalid(f"{path}.type", kind, f"must be one of {_COLUMN_TYPES}"))
        if isinstance(where, str) and where and not where.startswith("."):
            causes.append(_invalid(f"{path}.JSONPath", where, _SIMPLE_PATH))
    scale, where = part(part(version, "subresources"), "scale"), place(spec, index, "subresources")
    pairs = (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status"), ("labelSelectorPath", ""))
    for key, root in pairs:
        value = scale.get(key)
        if not isinstance(value, str) or not value:
            continue
        if not value.startswith("."):
            causes.append(_invalid(f"{where}.scale.{key}", value, _SIMPLE_PATH))
        elif root and not value.startswith(f"{root}."):
            causes.append(_invalid(f"{where}.scale.{key}", value, f"should be a json path under {root}"))
    fields, schema = place(spec, index, "selectableFields"), version["schema"]["openAPIV3Schema"]
    for number, field in enumerate(dicts(version.get("selectableFields"))):
        path = str(field.get("jsonPath") or "")
        if not _is_field(schema, path):
            why = "is an invalid path: does not refer to a valid field"
            causes.append(_invalid(f"{fields}[{number}].jsonPath", path, why))
    return causes


def _is_field(schema: Any, path: str) -> bool:
    """Whether a simple path leads to a scalar of the schema."""
    for name in path.strip(".").split("."):
        schema = part(schema, "properties").get(name)
    return isinstance(schema, dict) and schema.get("type") in ("string", "integer", "boolean")


def _check_conversion(spec: Obj) -> list[Cause]:
    conversion = part(spec, "conversion")
    strategy = conversion.get("strategy", "None")
    if strategy == "None":
        return []
    if strategy != "Webhook":
        return [_unsupported("spec.conversion.strategy", strategy, ("None", "Webhook"))]
    webhook, causes = part(conversion, "webhook"), []
    if not webhook.get("clientConfig"):
        text = "Required value: required when strategy is set to Webhook"
        causes.append(Cause("spec.conversion.webhookClientConfig", "FieldValueRequired", text))
    if not webhook.get("conversionReviewVersions"):
        causes.append(_required("spec.conversion.conversionReviewVersions"))
    if not causes and len(spec.get("versions") or ()) > 1:
        text = "conversion webhooks are not supported by the embedded API when there are several versions: use None"
        causes.append(_invalid("spec.conversion.strategy", strategy, text))
    return causes


def _required(path: str) -> Cause:
    return Cause(path, "FieldValueRequired", "Required value")


def _invalid(path: str, value: object, text: str) -> Cause:
    return Cause(path, "FieldValueInvalid", f"Invalid value: {failure.shown(value)}: {text}")


def _unsupported(path: str, value: object, allowed: tuple[str, ...]) -> Cause:
    listed = ", ".join(f'"{item}"' for item in allowed)
    return Cause(path, "FieldValueNotSupported", f'Unsupported value: "{value}": supported values: {listed}')
