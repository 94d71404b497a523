"""get, list and watch.

Called by ``routes``. Answers from memory and without awaiting: what is visible is durable. Left out: rendering
(``watch_rendering``), following (``watch``), the choice of objects (``store_selection``).

Invariant: a list and the watch that starts from its resourceVersion together miss nothing and repeat nothing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from standalone.apiserver import errors, store_selection, watch_rendering
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.routes_target import Flavor, Target, parse_flavor
from standalone.apiserver.server_types import Request, Response, Sink, Stream
from standalone.apiserver.store_entries import ADDED, Entry
from standalone.apiserver.watch import View, Watcher, error_line

MIN_WATCH_S = 1800
MAX_LIMIT = 1 << 31


def get(context: Context, target: Target, request: Request) -> Response:
    """One object."""
    entry = context.store.get(target.kind.resource, target.key)
    if entry is None:
        raise target.not_found()
    if request.query_text:
        _check_not_future(context, request)
    flavor = parse_flavor(request)
    include = _include(request) if flavor is Flavor.TABLE else ""
    return Response(200, watch_rendering.render_object(target.kind, entry, flavor, context.now, include))


def _check_not_future(context: Context, request: Request) -> int | None:
    version = _version(request)
    if version is not None and version > context.store.version:
        causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
        message = f"Timeout: Too large resource version: {version}, current: {context.store.version}"
        raise errors.StatusError(504, "Timeout", message, {"causes": causes, "retryAfterSeconds": 1})
    return version


def list_or_watch(context: Context, target: Target, request: Request) -> Response | Stream:
    """A collection: its objects, or with ``watch`` their changes."""
    if request.is_set("watch"):
        return watch(context, target, request)
    selection = store_selection.parse(request, target.kind, target.namespace or None)
    flavor = parse_flavor(request)
    limit = max(0, min(request.integer("limit") or 0, MAX_LIMIT))
    request.integer("timeoutSeconds")
    token = request.query.get("continue", "")
    now = asyncio.get_running_loop().time()
    scope = f"{target.kind.resource}|{selection.group_key}"
    if token:
        _check_page(request)
        identifier, snapshot, position = context.pages.find(token, scope, now)
        entries, version = snapshot.entries, snapshot.version
    else:
        _check_match(context, request)
        identifier, position, version = "", 0, context.store.version
        entries = select(context, target, selection)
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if target.kind.is_custom and flavor is Flavor.OBJECT:
        metadata["continue"] = ""  # Kubernetes says so of custom resources only
    page = entries[position : position + limit] if limit else entries[position:]
    left = len(entries) - position - len(page)
    if left > 0:
        identifier = identifier or context.pages.keep(entries, version, scope, now)
        metadata["continue"] = f"{identifier}.{position + len(page)}"
        if selection.takes_all():
            metadata["remainingItemCount"] = left
    include = _include(request) if flavor is Flavor.TABLE else ""
    return Response(
        200, watch_rendering.render_list(target.kind, page, flavor, context.now, metadata, include)
    )


def _include(request: Request) -> str:
    """What the rows of a Table carry. Raises 400."""
    word = request.query.get("includeObject", "")
    if word not in ("", "Metadata", "Object", "None"):
        wrong = f'includeObject: Invalid value: "{word[:40]}"'
        known = "must be 'Metadata', 'Object', 'None', or empty"
        raise errors.bad_request(f"Unable to convert to Table as requested: {wrong}: {known}")
    return word


def _version(request: Request) -> int | None:
    try:
        return request.number("resourceVersion")
    except errors.StatusError as error:
        raise errors.bad_request(f"invalid resource version: {error.message}") from error


def _check_page(request: Request) -> None:
    """What may not be asked for together with ``continue``."""
    version, match = request.query.get("resourceVersion", ""), request.query.get("resourceVersionMatch", "")
    causes = []
    if match:
        if not version:
            text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            causes.append(errors.Cause("resourceVersionMatch", "FieldValueForbidden", text))
        text = "Forbidden: resourceVersionMatch is forbidden when continue is provided"
        causes.append(errors.Cause("resourceVersionMatch", "FieldValueForbidden", text))
        raise errors.invalid("ListOptions", "meta.k8s.io", "", causes)
    if version not in ("", "0"):
        raise errors.bad_request("specifying resource version is not allowed when using continue")


def _check_match(context: Context, request: Request) -> None:
    version = _check_not_future(context, request)
    match = request.query.get("resourceVersionMatch", "")
    if "sendInitialEvents" in request.query:
        raise _wrong_option("sendInitialEvents", "Forbidden: sendInitialEvents is forbidden for list")
    if match not in ("", "Exact", "NotOlderThan"):
        text = f'Unsupported value: "{match[:40]}": supported values: "Exact", "NotOlderThan", ""'
        raise _wrong_option("resourceVersionMatch", text)
    if match and version is None:
        text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        raise _wrong_option("resourceVersionMatch", text)
    if match == "Exact" and version == 0:
        text = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        raise _wrong_option("resourceVersionMatch", text)
    if match == "Exact" and version != context.store.version:
        raise errors.expired(f"The resourceVersion for the provided list is too old: {version}")


def _check_watch_options(request: Request) -> bool:
    """Whether the watch begins with the present objects by ``sendInitialEvents``. Raises 422."""
    match = request.query.get("resourceVersionMatch", "")
    if "sendInitialEvents" not in request.query:
        if match:
            text = (
                "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
            )
            raise _wrong_option("resourceVersionMatch", text)
        return False
    if match != "NotOlderThan":
        text = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        causes = [errors.Cause("resourceVersionMatch", "FieldValueForbidden", text)]
        if match:
            text = f'Unsupported value: "{match[:40]}": supported values: "NotOlderThan"'
            causes.append(errors.Cause("resourceVersionMatch", "FieldValueNotSupported", text))
        raise errors.invalid("ListOptions", "meta.k8s.io", "", causes)
    return request.is_set("sendInitialEvents")


def _wrong_option(name: str, text: str) -> errors.StatusError:
    reason = "FieldValueForbidden" if text.startswith("Forbidden") else "FieldValueNotSupported"
    cause = errors.Cause(name, reason, text)
    return errors.invalid("ListOptions", "meta.k8s.io", "", [cause])


def select(context: Context, target: Target, selection: store_selection.Selection) -> list[Entry]:
    """The visible objects of a selection, by key."""
    bucket = context.store.bucket(target.kind.resource)
    if selection.name is not None and selection.namespace is not None:
        found = bucket.entries.get((selection.namespace, selection.name))
        return [found] if found is not None and selection.takes(found) else []
    entries = bucket.ordered(selection.namespace)
    if selection.takes_all():
        return entries
    return [entry for entry in entries if selection.takes(entry)]


def watch(context: Context, target: Target, request: Request) -> Stream:
    """The changes of a collection or of one object, from ``resourceVersion`` on."""
    selection = store_selection.parse(request, target.kind, target.namespace or None, target.name)
    flavor = parse_flavor(request)
    view = View(target.kind, selection, flavor, _include(request) if flavor is Flavor.TABLE else "")
    timeout_s = max(0, request.integer("timeoutSeconds") or 0) or random.randint(MIN_WATCH_S, 2 * MIN_WATCH_S)
    wants_bookmarks = (
        request.is_set("allowWatchBookmarks") if "allowWatchBookmarks" in request.query else False
    )
    sends_initial = _check_watch_options(request)
    version = request.number("resourceVersion") or 0

    def start(sink: Sink) -> Callable[[], None]:
        try:
            if version > context.store.version:
                raise errors.expired(f"too new resource version: {version} ({context.store.version})")
            if sends_initial or version == 0:
                first = [context.hub.line(view, ADDED, entry) for entry in select(context, target, selection)]
                if sends_initial and wants_bookmarks:
                    first.append(
                        watch_rendering.render_bookmark(target.kind, context.store.version, flavor, True)
                    )
            else:
                first = context.hub.replay(view, version)
        except errors.StatusError as error:
            sink.write(error_line(error))
            sink.close()
            return lambda: None
        return context.hub.add(Watcher(view, sink, wants_bookmarks), first, float(timeout_s))

    media = "application/json;stream=watch" if flavor is Flavor.OBJECT else "application/json"
    return Stream(media.partition(";")[0], start)
