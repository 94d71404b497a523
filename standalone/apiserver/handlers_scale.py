"""The ``scale`` subresource: an ``autoscaling/v1`` Scale read from and written into the object's replicas.

Called by ``routes``. Paths come from the kind (``ScalePaths``): fixed for core kinds, declared by definitions.

Invariant: a write of scale changes nothing but the replicas.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver import errors, handlers_body, handlers_patch, handlers_schema
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.handlers_write import Change, Writer
from standalone.apiserver.kinds import Kind, ScalePaths
from standalone.apiserver.routes_target import Target
from standalone.apiserver.server_types import Request, Response, json_response
from standalone.apiserver.store_entries import Obj

SCALE_KIND = Kind("autoscaling", "v1", "Scale", "scales", "scale", True)


def get(context: Context, target: Target) -> Response:
    entry = context.store.get(target.kind.resource, target.key)
    if entry is None:
        raise target.not_found()
    return json_response(render(_paths(target), entry.load()))


def _paths(target: Target) -> ScalePaths:
    if target.kind.scale is None:
        raise errors.no_such_path()
    return target.kind.scale


def render(paths: ScalePaths, obj: Obj) -> Obj:
    """The Scale of an object."""
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    status: Obj = {"replicas": _at(obj, paths.status) or 0}
    selector = _at(obj, paths.selector) if paths.selector else None
    if selector:
        status["selector"] = selector if isinstance(selector, str) else _selector_text(selector)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": wanted} if (wanted := _at(obj, paths.spec) or 0) else {},
        "status": status,
    }


def _selector_text(selector: Obj) -> str:
    is_map = all(isinstance(value, str) for value in selector.values())
    labels = selector if is_map else selector.get("matchLabels") or {}
    parts = [f"{key}={value}" for key, value in sorted(labels.items())]
    for term in selector.get("matchExpressions") or ():
        key, values = term.get("key"), ",".join(term.get("values") or ())
        forms = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        parts.append(str(forms.get(term.get("operator"), key)))
    return ",".join(parts)


async def write(writer: Writer, target: Target, request: Request) -> Response:
    """PUT or PATCH of the Scale."""
    paths = _paths(target)
    options = handlers_body.parse_options(request)
    if request.method == "PUT":
        wanted = handlers_schema.read_object(handlers_body.decode(request), SCALE_KIND, target.name)

        scaled: Change = lambda _: wanted  # noqa: E731
    else:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media == handlers_patch.APPLY[0]:
            media = handlers_patch.MERGE
        if media == handlers_patch.STRATEGIC:
            media = handlers_patch.MERGE
        scaled = handlers_patch.parse(SCALE_KIND, media, request)

    def change(obj: Obj) -> Obj:
        scale = scaled(render(paths, obj))
        spec = scale.get("spec")
        replicas = (spec if isinstance(spec, dict) else {}).get("replicas", 0)
        if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
            text = f"Invalid value: {replicas!s:.40}: must be greater than or equal to 0"
            cause = errors.Cause("spec.replicas", "FieldValueInvalid", text)
            raise errors.invalid("Scale", "autoscaling", target.name, [cause])
        version = scale["metadata"].get("resourceVersion")
        if version:
            obj["metadata"]["resourceVersion"] = version
        _put(obj, paths.spec, replicas)
        return obj

    written = await writer.update(target, change, options)
    return json_response(render(paths, written.entry.load()))


def _at(obj: Obj, path: str) -> Any:
    value: Any = obj
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _put(obj: Obj, path: str, value: int) -> None:
    *parents, last = path.strip(".").split(".")
    for part in parents:
        obj = obj.setdefault(part, {})
    obj[last] = value
