"""Bodies and options of writes: JSON or YAML to values, query parameters to ``WriteOptions``.

Called by the write handlers. Invariant: no body, however malformed, gives anything but a 400, 415 or a value.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import orjson

from standalone.apiserver import errors, handlers_depth, handlers_schema
from standalone.apiserver.errors import Cause
from standalone.apiserver.schema import failure
from standalone.apiserver.server_types import Request, User

MAX_MANAGER = 128
PROTOBUF = "application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is to be done, whoever asks for it."""

    user: User
    manager: str
    is_dry_run: bool = False
    validation: str = "Warn"
    force: bool = False
    is_patch: bool = False
    """Whether the object was made by a patch: what cannot be read of it is the patch's fault (422)."""
    warnings: list[str] = field(default_factory=list)

    def as_kubernetes(self, kind: str) -> dict[str, Any]:
        """The ``CreateOptions`` (or Update, Patch, Delete) for admission."""
        options: dict[str, Any] = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if kind != "DeleteOptions":
            options["fieldManager"] = self.manager
            options["fieldValidation"] = self.validation
        if self.is_dry_run:
            options["dryRun"] = ["All"]
        return options


def parse_options(request: Request) -> WriteOptions:
    """The options in the query. Raises 400 or 422."""
    query = request.query
    manager = (
        query.get("fieldManager") or request.headers.get("user-agent", "").partition("/")[0] or "unknown"
    )
    kind = _OPTIONS.get(request.method, "CreateOptions")
    if "fieldManager" in query:
        _check_manager(manager, kind)
    return WriteOptions(
        user=request.user,
        manager=manager[:MAX_MANAGER],
        is_dry_run=check_dry_run(query.get("dryRun", ""), kind),
        validation=handlers_schema.check_mode(query.get("fieldValidation", ""), kind),
        force=request.is_set("force") if "force" in query else False,
        is_patch=request.method == "PATCH",
        warnings=request.warnings,
    )


_OPTIONS = {"PUT": "UpdateOptions", "PATCH": "PatchOptions"}


def _check_manager(manager: str, kind: str) -> None:
    if len(manager.encode()) > MAX_MANAGER:
        text = f"Too long: may not be more than {MAX_MANAGER} bytes"
        cause = Cause("fieldManager", "FieldValueTooLong", text)
        raise errors.invalid(kind, "meta.k8s.io", "", [cause])
    for place, char in enumerate(manager):
        if not char.isprintable():
            shown = failure.shown(manager)
            text = f"Invalid value: {shown}: invalid character U+{ord(char):04X} (at position {place})"
            cause = Cause("fieldManager", "FieldValueInvalid", text)
            raise errors.invalid(kind, "meta.k8s.io", "", [cause])


def check_dry_run(value: str, kind: str) -> bool:
    """Whether a ``dryRun`` asks for a dry run. Raises 422 for anything but ``All``."""
    if value not in ("", "All"):
        text = f'Unsupported value: ["{value[:40]}"]: supported values: "All"'
        cause = Cause("dryRun", "FieldValueNotSupported", text)
        raise errors.invalid(kind, "meta.k8s.io", "", [cause])
    return value == "All"


def decode(request: Request) -> Any:
    """The body as a value. Raises 400 or 415."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not request.body:
        raise errors.bad_request("the body is empty: an object was expected")
    if media == "application/yaml" or media.endswith("+yaml"):
        return decode_yaml(request.body)
    if media == PROTOBUF:
        return _decode_protobuf(request.body)
    if media and not media.endswith("json") and media != "application/octet-stream":
        raise errors.unsupported_media()
    return decode_json(request.body)


def _decode_protobuf(body: bytes) -> Any:
    from standalone.apiserver import server_protobuf

    try:
        return server_protobuf.decode(body)
    except server_protobuf.ProtobufError as error:
        raise errors.bad_request(str(error)) from error


def decode_json(body: bytes) -> Any:
    try:
        value = orjson.loads(body)
    except ValueError as error:
        raise errors.bad_request(f"the body is not valid JSON: {error}") from error
    handlers_depth.check(value)
    return value


def find_duplicates(body: bytes, value: Any) -> list[str]:
    """Paths of fields that a JSON body gives more than once (the last one counts); none for YAML and protobuf.

    A duplicate makes the serialised value lose quotation marks against the body. Only then (or when the body writes
    a quotation mark as an escape, which is rare) the body is parsed again, slowly.
    """
    if body.count(b'"') == orjson.dumps(value).count(b'"'):
        return []
    found: list[str] = []
    try:
        _collect_duplicates(json.loads(body, object_pairs_hook=_Pairs), "", found)
    except (ValueError, RecursionError):
        return []
    return found


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all its fields."""


def _collect_duplicates(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, item in value:
            place = f"{path}.{key}" if path else key
            if key in seen and place not in found:
                found.append(place)
            seen.add(key)
            _collect_duplicates(item, place, found)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _collect_duplicates(item, f"{path}[{index}]", found)


def decode_yaml(body: bytes) -> Any:
    """YAML, of which JSON is a part; JSON is tried first because it is a hundred times faster."""
    try:
        value = orjson.loads(body)
    except ValueError:
        return _decode_yaml(body)
    handlers_depth.check(value)
    return value


def _decode_yaml(body: bytes) -> Any:
    import yaml

    try:
        handlers_depth.check_yaml(body)
        value = yaml.load(body, Loader=_loader())
        orjson.dumps(value)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise errors.bad_request(f"error decoding YAML: {error}") from error
    return value


def _loader() -> Any:
    """Safe YAML with the types of JSON only: timestamps stay text."""
    import yaml

    class JsonLoader(yaml.CSafeLoader):
        pass

    JsonLoader.yaml_implicit_resolvers = {
        first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
        for first, pairs in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }
    return JsonLoader
