"""PATCH: JSON, merge, strategic merge and server-side apply, each as a change of the present object.

Called by ``routes``. The arithmetic is in ``patching`` and ``apply``; storing is ``handlers_write``'s.

Invariant: a patch without a resourceVersion is computed again when another write comes between; one with a
resourceVersion is refused then.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver import errors, handlers_body, handlers_depth, handlers_schema
from standalone.apiserver.handlers_body import WriteOptions
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.handlers_write import Change, Writer, Written
from standalone.apiserver.kinds import Kind
from standalone.apiserver.patching import json_patch, merge_patch
from standalone.apiserver.patching.failure import PatchError
from standalone.apiserver.routes_target import Target
from standalone.apiserver.schema import failure
from standalone.apiserver.server_types import Request
from standalone.apiserver.store_entries import Obj

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")


async def patch(context: Context, writer: Writer, target: Target, request: Request) -> Written:
    """Apply the body to the object at ``target``."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    options = handlers_body.parse_options(request)
    if media == APPLY[0]:
        return await _server_side_apply(context, writer, target, request, options)
    if "force" in request.query and options.force:
        raise _options_error("force", "Forbidden: may not be specified for non-apply patch")
    return await writer.update(target, parse(target.kind, media, request), options)


def parse(kind: Kind, media: str, request: Request) -> Change:
    """The change a patch body describes. Raises 400 or 415."""
    if media not in (JSON_PATCH, MERGE, STRATEGIC) or (media == STRATEGIC and kind.is_custom):
        raise _unsupported(kind)
    if not request.body:
        raise errors.bad_request("the body is empty: a patch was expected")
    body = handlers_body.decode_json(request.body)

    def change(present: Obj) -> Obj:
        try:
            return _checked(_apply(kind, media, present, body), kind, present)
        except PatchError as error:
            text = f"the server rejected our request: {error}"
            if media == JSON_PATCH and isinstance(body, list):
                raise errors.StatusError(422, "Invalid", text, {}) from error
            raise errors.bad_request(text) from error

    return change


def _apply(kind: Kind, media: str, present: Obj, body: Any) -> Any:
    if media == JSON_PATCH:
        return json_patch.apply(present, body)
    if media == MERGE:
        return merge_patch.apply(present, body)
    from standalone.apiserver.patching import strategic

    return strategic.apply(present, body, handlers_schema.schema_of(kind))


def _checked(value: Any, kind: Kind, present: Obj) -> Obj:
    """The patched value is still an object of this kind, name and uid. Raises 400 or 422."""
    handlers_depth.check(value)
    metadata = present["metadata"]
    type_named = isinstance(value, dict) and (value.get("apiVersion"), value.get("kind"))
    if type_named != (present.get("apiVersion"), present.get("kind")):
        raise handlers_schema.unreadable(
            value, "apiVersion and kind of an object cannot be changed by a patch"
        )
    obj = handlers_schema.read_object(value, kind, metadata["name"])
    _check_uid(kind, metadata, obj["metadata"])
    return obj


def _check_uid(kind: Kind, before: Obj, after: Obj) -> None:
    uid = after.get("uid")
    if uid and "uid" in before and uid != before["uid"]:
        text = f"Invalid value: {failure.shown(uid)}: field is immutable"
        cause = errors.Cause("metadata.uid", "FieldValueInvalid", text)
        raise errors.invalid(kind.kind, kind.group, before["name"], [cause])


async def _server_side_apply(
    context: Context, writer: Writer, target: Target, request: Request, options: WriteOptions
) -> Written:
    if not request.query.get("fieldManager"):
        raise _options_error("fieldManager", "Required value: is required for apply patch")
    value = handlers_body.decode_yaml(request.body)
    if not isinstance(value, dict) or not value.get("apiVersion") or not value.get("kind"):
        raise errors.bad_request("invalid object type: an applied object must say its apiVersion and kind")
    applied = handlers_schema.read_object(value, target.kind, target.name)
    if applied["metadata"].get("managedFields"):
        raise errors.bad_request("metadata.managedFields must be nil")
    if target.kind.namespaced:
        given = applied["metadata"].setdefault("namespace", target.namespace)
        if given != target.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
    _check_typed(target.kind, applied)

    def change(present: Obj | None) -> Obj:
        return _merge(context, target, present, applied, options)

    for _ in range(3):
        try:
            return await writer.update(target, change, options, is_apply=True)
        except errors.StatusError as error:
            if error.code != 404 or target.subresource or _is_there(context, target):
                raise
        if applied["metadata"].get("resourceVersion"):
            raise errors.stale(target.kind.plural, target.kind.group, target.name)
        if uid := applied["metadata"].get("uid"):
            why = (
                f"uid mismatch: the provided object specified uid {uid:.64}, and no existing object was found"
            )
            raise errors.conflict(target.kind.plural, target.kind.group, target.name, why)
        try:
            return await writer.create(target, change(None), options, is_apply=True)
        except errors.StatusError as error:
            if error.reason != "AlreadyExists":
                raise
    raise errors.stale(target.kind.plural, target.kind.group, target.name)


def _check_typed(kind: Kind, applied: Obj) -> None:
    """What is applied must be typed before it can be merged: Kubernetes answers 500 where it is not."""
    unknown: list[str] = []
    named = f"(/{applied['metadata']['name']}; {kind.group}/{kind.version}, Kind={kind.kind})"
    try:
        handlers_schema.read_fields(kind, applied, "Warn", unknown)
    except errors.StatusError as error:
        raise errors.StatusError(
            500, "", f"failed to create typed patch object {named}: {error.message}"
        ) from error
    if unknown:
        listed = "; ".join(
            f".{text.removeprefix('unknown field ').strip(chr(34))}: field not declared in schema"
            for text in unknown
        )
        raise errors.StatusError(500, "", f"failed to create typed patch object {named}: {listed}")


def _is_there(context: Context, target: Target) -> bool:
    return context.store.latest(target.kind.resource, target.key) is not None


def _merge(context: Context, target: Target, present: Obj | None, applied: Obj, options: WriteOptions) -> Obj:
    from standalone.apiserver.apply import managed

    author = managed.Author(options.manager, target.kind.api_version, context.stamp(), target.subresource)
    schema = handlers_schema.schema_of(target.kind)
    if present is not None:
        _check_uid(target.kind, present["metadata"], applied["metadata"])
    try:
        return managed.server_side_apply(present, applied, author, force=options.force, schema=schema)
    except managed.ApplyConflict as conflict:
        raise _conflict(conflict.conflicts) from conflict


def _conflict(conflicts: list[tuple[str, str]]) -> errors.StatusError:
    """The 409 that kubectl explains with ``--force-conflicts``."""
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {_quoted(manager)}", "field": path}
        for manager, path in conflicts
    ]
    count = len(causes)
    by_manager: dict[str, list[str]] = {}
    for manager, path in conflicts:
        by_manager.setdefault(manager, []).append(path)
    if count == 1:
        listed = f"conflict with {_quoted(conflicts[0][0])}: {conflicts[0][1]}"
    else:
        parts = []
        for manager, paths in by_manager.items():
            parts.append(f"conflicts with {_quoted(manager)}:\n- " + "\n- ".join(paths))
        listed = "\n".join(parts)
    message = f"Apply failed with {count} conflict{'s' if count > 1 else ''}: {listed}"
    return errors.StatusError(409, "Conflict", message, {"causes": causes})


def _quoted(manager: str) -> str:
    name, _, rest = manager.partition(" ")
    return manager if name.startswith('"') else f'"{name}"' + (f" {rest}" if rest else "")


def _unsupported(kind: Kind) -> errors.StatusError:
    if not kind.is_custom:
        return errors.StatusError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    return errors.unsupported_media(", ".join((JSON_PATCH, MERGE, APPLY[0])))


def _options_error(field: str, text: str) -> errors.StatusError:
    reason = "FieldValueRequired" if text.startswith("Required") else "FieldValueForbidden"
    return errors.invalid("PatchOptions", "meta.k8s.io", "", [errors.Cause(field, reason, text)])
