"""delete and deletecollection, for clients and for the controllers in this process.

Called by ``routes``, ``collector`` and ``namespaces``. What happens to an object is decided by ``deletion``.

Invariant: an object is removed only from exactly the state the decision was made on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from standalone.apiserver import (
    deletion,
    errors,
    handlers_body,
    handlers_read,
    handlers_rules,
    store_selection,
    watch_rendering,
)
from standalone.apiserver.admission import Call
from standalone.apiserver.deletion import DeleteOptions, Outcome
from standalone.apiserver.handlers_context import Context
from standalone.apiserver.kinds import Kind
from standalone.apiserver.routes_target import Target
from standalone.apiserver.server_types import Request, Response, User, json_response
from standalone.apiserver.store import StaleWriteError
from standalone.apiserver.store_entries import Entry, Key, Obj, build_entry

MAX_TRIES = 8
AT_ONCE = 64
SYSTEM = User("system:serviceaccount:kube-system:generic-garbage-collector", ("system:masters",))
_ANSWERED_WITH_OBJECT = ("pods", "services", "persistentvolumeclaims", "serviceaccounts")


@dataclass(frozen=True, slots=True)
class Deleted:
    """The object as it was removed or as it is now."""

    entry: Entry
    is_removed: bool


class Deleter:
    """Deletes objects."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def delete(
        self,
        kind: Kind,
        key: Key,
        options: DeleteOptions,
        user: User = SYSTEM,
        warnings: list[str] | None = None,
    ) -> Deleted:
        """Delete one object. Raises ``StatusError`` (404, 409, an admission's refusal, storage)."""
        handlers_rules.check_deletable(kind, key[1])
        for _ in range(MAX_TRIES):
            current = self._context.store.latest(kind.resource, key)
            if current is None:
                raise errors.not_found(kind.plural, kind.group, key[1])
            try:
                return await self._delete(kind, current, options, user, warnings)
            except StaleWriteError:
                continue
        raise errors.stale(kind.plural, kind.group, key[1])

    async def _delete(
        self, kind: Kind, current: Entry, options: DeleteOptions, user: User, warnings: list[str] | None
    ) -> Deleted:
        old = current.load()
        old["apiVersion"] = kind.api_version
        call = Call(
            kind=kind,
            operation="DELETE",
            namespace=current.key[0],
            name=current.key[1],
            user=user,
            is_dry_run=options.is_dry_run,
            options={"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"},
            warnings=warnings if warnings is not None else [],
        )
        await self._context.admission.mutate(call, None, old)
        await self._context.admission.validate(call, None, old)
        outcome = deletion.decide(kind, current.load(), options, self._context.now())
        return await self._store(kind, current, outcome, options.is_dry_run)

    async def _store(self, kind: Kind, current: Entry, outcome: Outcome, is_dry_run: bool) -> Deleted:
        store, key = self._context.store, current.key
        if not outcome.is_changed or is_dry_run:
            await store.settled(kind.resource, key)
            entry = build_entry(current.id, kind.resource, key, current.version, outcome.obj)
            return Deleted(entry, outcome.is_removed)
        if outcome.is_removed:
            return Deleted(await store.remove(kind.resource, key, outcome.obj, current), True)
        return Deleted(await store.put(kind.resource, key, outcome.obj, current), False)


async def delete(deleter: Deleter, target: Target, request: Request) -> Response:
    """DELETE of one object: a Status when it is gone, the object when it still waits for something."""
    options = _options(request)
    deleted = await deleter.delete(target.kind, target.key, options, request.user, request.warnings)
    kind = target.kind
    if not deleted.is_removed or kind.resource in _ANSWERED_WITH_OBJECT:
        return Response(200, deleted.entry.raw_as(kind.api_version))
    details: Obj = {"name": target.name, "kind": kind.plural, "uid": deleted.entry.uid}
    if kind.group:
        details["group"] = kind.group
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return json_response(status)


def _options(request: Request) -> DeleteOptions:
    return deletion.parse(handlers_body.decode(request) if request.body else None, request.query)


async def delete_collection(context: Context, deleter: Deleter, target: Target, request: Request) -> Response:
    """DELETE of a collection: every object of the selection, a bounded number at a time."""
    options = _options(request)
    selection = store_selection.parse(request, target.kind, target.namespace or None)
    entries = handlers_read.select(context, target, selection)
    version = context.store.version
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(entry: Entry) -> Entry | None:
        async with gate:
            try:
                deleted = await deleter.delete(
                    target.kind, entry.key, options, request.user, request.warnings
                )
            except errors.StatusError as error:
                if error.code == 404:
                    return None
                raise
            return deleted.entry

    deleted = await asyncio.gather(*(one(entry) for entry in entries))
    items = watch_rendering.render_items(target.kind, [entry for entry in deleted if entry is not None])
    head = f'{{"kind":"{target.kind.list_kind}","apiVersion":"{target.kind.api_version}",'
    head += f'"metadata":{{"resourceVersion":"{version}"}},"items":['
    return Response(200, head.encode() + items + b"]}")
