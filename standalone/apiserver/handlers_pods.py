"""What only pods have: their log, eviction and binding.

Called by ``routes``. exec, attach and port-forward are refused with a clear error (docs/reference/parity.md).

Invariant: following a log ends when its container has ended for good, when the pod is gone, or with the connection.
"""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from standalone.apiserver import deletion, errors, handlers_body
from standalone.apiserver.errors import Cause
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.handlers_delete import Deleter
from standalone.apiserver.handlers_write import Writer
from standalone.apiserver.log_reader import LogFile, LogQuery
from standalone.apiserver.routes_target import Target
from standalone.apiserver.server_types import Request, Response, Sink, Stream, json_response
from standalone.apiserver.store_entries import Entry, Obj
from standalone.layout import Layout
from wakeful.kit import logs

FOLLOW_S = 0.1
PAUSE_BYTES = 4 * 1024 * 1024
TEXT = "text/plain"
_log = logs.get("apiserver.pods")


def log(context: Context, target: Target, request: Request) -> Response | Stream:
    """GET ``pods/NAME/log``."""
    entry = context.store.get("pods", target.key)
    if entry is None:
        raise target.not_found()
    pod = entry.load()
    container = _container(pod, request.query.get("container", ""))
    _check_options(target.name, request)
    is_previous = "previous" in request.query and request.is_set("previous")
    suffix = ".previous.log" if is_previous else ".log"
    path = Layout(context.settings.data_dir).pods / entry.uid / "logs" / f"{container}{suffix}"
    _check_started(pod, container, path, is_previous)
    reader = LogFile(path, _query(context, request))
    reader.start()
    follows = "follow" in request.query and request.is_set("follow") and not is_previous

    def start(sink: Sink) -> Callable[[], None]:
        task = asyncio.get_running_loop().create_task(_copy(context, entry, container, reader, sink, follows))

        def end() -> None:
            task.cancel()

        return end

    return Stream(TEXT, start)


async def _copy(
    context: Context, entry: Entry, container: str, reader: LogFile, sink: Sink, follows: bool
) -> None:
    """Send the log, and what is added to it, never holding more than a few pieces unread."""
    while True:
        is_last = not follows or not _is_running(context, entry, container)
        try:
            for piece in reader.read(is_last):
                sink.write(piece)
                while sink.waiting_bytes() > PAUSE_BYTES:  # noqa: ASYNC110 a socket tells no event to wait for
                    await asyncio.sleep(FOLLOW_S)
        except OSError as error:  # unreadable, or no file descriptor left: the client must not wait for ever
            _log.warning("log not readable", container=container, error=str(error))
            sink.abort()
            return
        if is_last or reader.is_exhausted():
            sink.close()
            return
        await asyncio.sleep(FOLLOW_S)


def _is_running(context: Context, entry: Entry, container: str) -> bool:
    """Whether more may be written: the container has not ended for good."""
    current = context.store.get("pods", entry.key)
    if current is None or current.uid != entry.uid:
        return False
    status = current.load().get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return False
    for state in _statuses(status):
        if state.get("name") == container:
            return "terminated" not in (state.get("state") or {})
    return True


def _statuses(status: Obj) -> list[Obj]:
    names = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    return [item for name in names for item in status.get(name) or ()]


def _container(pod: Obj, wanted: str) -> str:
    spec = pod["spec"]
    names = [item["name"] for item in spec.get("containers") or ()]
    inits = [item["name"] for item in spec.get("initContainers") or ()]
    pod_name = pod["metadata"]["name"]
    if not wanted:
        if len(names) == 1:
            return str(names[0])
        more = f" or one of the init containers: [{' '.join(inits)}]" if inits else ""
        raise errors.bad_request(
            f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(names)}]{more}"
        )
    if wanted not in (*names, *inits):
        raise errors.bad_request(f"container {wanted[:63]} is not valid for pod {pod_name}")
    return wanted


def _check_started(pod: Obj, container: str, path: Path, is_previous: bool) -> None:
    """Say why there is no log instead of giving an empty one."""
    if path.exists():
        return
    name = pod["metadata"]["name"]
    if is_previous:
        raise errors.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    for state in _statuses(pod.get("status") or {}):
        waiting = (state.get("state") or {}).get("waiting")
        if state.get("name") == container and waiting:
            reason = waiting.get("reason", "waiting")
            detail = f" ({waiting['message'][:300]})" if waiting.get("message") else ""
            text = f'container "{container}" in pod "{name}" is waiting to start: {reason}{detail}'
            raise errors.bad_request(text)
    if not _statuses(pod.get("status") or {}):
        text = (
            f'container "{container}" in pod "{name}" is waiting to start: the node has not seen the pod yet'
        )
        raise errors.bad_request(text)


def _check_options(name: str, request: Request) -> None:
    """Numbers of a log's options. Raises 400 for no number, 422 for one out of range."""
    causes = []
    for key, least, rule in _LEAST:
        value = request.integer(key)
        if value is not None and value < least:
            causes.append(
                Cause(key, "FieldValueInvalid", f"Invalid value: {value}: must be greater than {rule}")
            )
    if request.query.get("sinceSeconds") and request.query.get("sinceTime"):
        text = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
        causes.append(Cause("[]", "FieldValueForbidden", text))
    if causes:
        raise errors.invalid("PodLogOptions", "", name, causes)


_LEAST = (("tailLines", 0, "or equal to 0"), ("sinceSeconds", 1, "0"), ("limitBytes", 1, "0"))


def _query(context: Context, request: Request) -> LogQuery:
    since = request.query.get("sinceTime", "")
    seconds = request.number("sinceSeconds")
    at: datetime.datetime | None = None
    if seconds is not None:
        at = context.now() - datetime.timedelta(seconds=min(seconds, 10**9))
    elif since:
        try:
            at = datetime.datetime.fromisoformat(since)
        except ValueError as error:
            raise errors.bad_request(f"sinceTime {since[:40]!r} is not an RFC 3339 instant") from error
        at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return LogQuery(
        tail_lines=request.number("tailLines"),
        since_stamp=at.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S") if at else "",
        limit_bytes=request.number("limitBytes"),
        with_timestamps="timestamps" in request.query and request.is_set("timestamps"),
    )


async def evict(deleter: Deleter, target: Target, request: Request) -> Response:
    """POST ``pods/NAME/eviction``: a deletion. Disruption budgets are stored and not evaluated."""
    decoded: Any = handlers_body.decode(request)
    body: Obj = decoded if isinstance(decoded, dict) else {}
    if body.get("kind") not in (None, "", "Eviction"):
        raise errors.bad_request(f"{body['kind']!s:.63} cannot be handled as a Eviction")
    if (body.get("metadata") or {}).get("name") not in (None, "", target.name):
        raise errors.bad_request("name in URL does not match name in Eviction object")
    options = deletion.parse(body.get("deleteOptions"), request.query)
    await deleter.delete(target.kind, target.key, options, request.user, request.warnings)
    return json_response(_DONE, 201)


_DONE: Obj = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


async def bind(writer: Writer, target: Target, request: Request) -> Response:
    """POST ``pods/NAME/binding``: name the node of a pod that has none (here every pod has one from the start)."""
    body: Any = handlers_body.decode(request)
    node = ((body if isinstance(body, dict) else {}).get("target") or {}).get("name")
    if not isinstance(node, str) or not node:
        raise errors.bad_request("target.name must be the name of a node")

    def change(pod: Obj) -> Obj:
        present = pod["spec"].get("nodeName")
        if present:
            why = f"pod {target.name} is already assigned to node {present}"
            if pod["spec"].get("schedulingGates"):
                why = f"pod {target.name} has non-empty .spec.schedulingGates"
            raise errors.conflict("pods/binding", "", target.name, why)
        pod["spec"]["nodeName"] = node
        return pod

    await writer.update(
        Target(target.kind, target.namespace, target.name), change, handlers_body.parse_options(request)
    )
    return json_response(_DONE, 201)
