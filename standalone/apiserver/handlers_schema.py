"""Schema work on one object: unknown fields, defaults, validation. Where handlers meet the ``schema`` package.

Called by the write handlers for every kind. Custom resources have their definition's schema; core kinds have
``schema.core`` and ``schema.core_defaults``.

Invariant: after ``read_fields`` and ``default`` an object holds no field its kind does not know.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson

from standalone.apiserver import errors
from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind
from standalone.apiserver.schema import decoding, failure, structural
from standalone.apiserver.store_entries import Obj

MODES = ("", "Ignore", "Warn", "Strict")


@lru_cache(maxsize=512)
def _core_schema(group: str, version: str, kind: str) -> Obj | None:
    from standalone.apiserver.schema import core

    return core.core_schema(group, version, kind)


def schema_of(kind: Kind) -> Obj | None:
    """The schema of a kind; None where anything goes."""
    return kind.schema if kind.is_custom else _core_schema(kind.group, kind.version, kind.kind)


def check_mode(mode: str, options: str) -> str:
    """``fieldValidation`` of a request. Raises 422 for another word."""
    if mode not in MODES:
        text = f'Unsupported value: "{mode[:40]}": supported values: "", "Ignore", "Strict", "Warn"'
        raise errors.invalid(
            options, "meta.k8s.io", "", [Cause("fieldValidation", "FieldValueNotSupported", text)]
        )
    return mode or "Warn"


def read_fields(kind: Kind, obj: Obj, mode: str, warnings: list[str]) -> None:
    """Drop unknown fields: silently, with warnings, or (``Strict``) refusing with 400."""
    schema = schema_of(kind)
    if schema is None:
        return
    mistyped = decoding.mistyped(schema, obj, metadata_only=kind.is_custom)
    if mistyped:
        listed = "; ".join(mistyped)
        raise errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {listed}'
        )
    unknown = sorted(structural.prune(schema, obj))
    if not unknown or mode == "Ignore":
        return
    complain(kind, [f'unknown field "{path.lstrip(".")}"' for path in unknown], mode, warnings)


def read_patched(kind: Kind, obj: Obj, mode: str, warnings: list[str]) -> None:
    """``read_fields`` of what a patch made: what cannot be read is 422 instead of 400."""
    try:
        read_fields(kind, obj, mode, warnings)
    except errors.StatusError as error:
        raise unreadable(obj, error.message) from error


def unreadable(value: Any, why: str) -> errors.StatusError:
    """422: what a patch made of an object is no object of its kind."""
    text = f"Invalid value: {failure.shown(orjson.dumps(value).decode())}: {why}"
    return errors.invalid("", "", "", [Cause("patch", "FieldValueInvalid", text)])


def complain(kind: Kind, complaints: list[str], mode: str, warnings: list[str]) -> None:
    """Refuse (``Strict``, 400) or warn about fields that strict decoding does not take."""
    if mode == "Strict":
        listed = ", ".join(complaints)
        raise errors.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: {listed}'
        )
    warnings += complaints


def default(kind: Kind, obj: Obj) -> None:
    """Fill in what the schema (or Kubernetes, for core kinds) defaults."""
    if kind.is_custom:
        if kind.schema is not None:
            structural.apply_defaults(kind.schema, obj)
        return
    from standalone.apiserver.schema import core_defaults

    core_defaults.default_core(kind, obj)


def validate(kind: Kind, obj: Obj) -> list[Cause]:
    """What the schema refuses in an object."""
    schema = schema_of(kind)
    if schema is None:
        return []
    return [Cause(error.path, error.reason, error.message) for error in structural.validate(schema, obj)]


def raise_invalid(kind: Kind, obj: Obj, causes: list[Cause]) -> None:
    """422 when there are causes."""
    if causes:
        name = str((obj.get("metadata") or {}).get("name", ""))
        raise errors.invalid(kind.kind, kind.group, name, causes)


def read_object(value: Any, kind: Kind, target_name: str, needs_name: bool = False) -> Obj:
    """Check that a decoded body is an object of this kind. Raises 400.

    Without a name it is the one of ``target_name``, unless it ``needs_name``.
    """
    if value is None and not kind.is_custom:
        value = {}
    if not isinstance(value, dict):
        raise errors.bad_request(f"the body must be a JSON object, a {kind.kind} was expected")
    if value.get("metadata") is None:
        value["metadata"] = {}
    metadata = value["metadata"]
    if not isinstance(metadata, dict):
        raise errors.bad_request("metadata must be an object")
    if kind.is_custom:
        _check_custom_type(value, kind)
    value.setdefault("apiVersion", kind.api_version)
    value.setdefault("kind", kind.kind)
    if (value["apiVersion"], value["kind"]) != (kind.api_version, kind.kind):
        given = f"{value['kind']!s:.80} {value['apiVersion']!s:.80}"
        raise errors.bad_request(
            f"the API version in the data ({given}) does not match the expected API version "
            f"({kind.kind} {kind.api_version})"
        )
    for field in ("name", "namespace", "generateName", "uid", "resourceVersion"):
        if metadata.get(field) is None:
            metadata.pop(field, None)
        elif not isinstance(metadata[field], str):
            raise errors.bad_request(f"metadata.{field} must be a string")
    if target_name and not metadata.get("name"):
        if needs_name:
            raise errors.bad_request(
                f"the name of the object ({target_name} based on URL) was undeterminable: name must be provided"
            )
        metadata["name"] = target_name
    if target_name and metadata["name"] != target_name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name'][:253]}) does not match the name on the URL ({target_name})"
        )
    return value


def _check_custom_type(value: Obj, kind: Kind) -> None:
    """A custom resource says its type. Raises 400, or 422 for another kind of the same group and version."""
    named, version = value.get("kind"), value.get("apiVersion") or ""
    if not named:
        text = f"the object provided is unrecognized (must be of type {kind.kind}): Object 'Kind' is missing"
        raise errors.bad_request(text)
    if version != kind.api_version:
        text = f"the API version in the data ({version!s:.80}) does not match the expected API version"
        raise errors.bad_request(f"{text} ({kind.api_version})")
    if named != kind.kind:
        text = f"Invalid value: {failure.shown(named)}: must be {kind.kind}"
        name = str((value.get("metadata") or {}).get("name", ""))
        cause = Cause("kind", "FieldValueInvalid", text)
        raise errors.invalid(f"{named!s:.80}", kind.group, name, [cause])
