"""create and update: from a decoded object to a durable one. All writes of the API come through ``Writer``.

Used by the POST, PUT, PATCH and apply handlers and by the controllers in this process. The steps are Kubernetes':
read fields, default, prepare, mutate, validate, ask validating webhooks, record managers, store.
Left out: decoding (``handlers_body``), patches (``handlers_patch``), deletion (``deletion``).

Invariant: what is stored was computed from exactly the version it replaces; a dry run stores nothing.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from standalone.apiserver import (
    errors,
    handlers_definitions,
    handlers_metadata,
    handlers_rules,
    handlers_schema,
    webhook_match,
)
from standalone.apiserver.admission import Call
from standalone.apiserver.errors import Cause
from standalone.apiserver.handlers_body import WriteOptions
from standalone.apiserver.handlers_context import Context, new_suffix
from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_core import CRD_RESOURCE
from standalone.apiserver.routes_target import Target
from standalone.apiserver.schema import core_zero
from standalone.apiserver.store import StaleWriteError
from standalone.apiserver.store_entries import Entry, Obj, build_entry

MAX_TRIES = 8
MAX_PREFIX = 58
_GUARDED = ("Lease", "PodDisruptionBudget", "CustomResourceDefinition")
"""Core kinds that Kubernetes never updates unconditionally."""
Change = Callable[[Obj], Obj]
"""From the present object (a copy, the callable's to change) to the wanted one."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a write left: the entry to answer with, and whether it was created."""

    entry: Entry
    is_created: bool = False


class Writer:
    """Creates and updates."""

    def __init__(self, context: Context) -> None:
        self._context = context

    # -- create

    async def create(
        self, target: Target, obj: Obj, options: WriteOptions, is_apply: bool = False
    ) -> Written:
        """Create ``obj`` (already checked by ``read_object``). Raises ``StatusError``."""
        kind, namespace = target.kind, target.namespace or ""
        self._check_namespace(kind, namespace)
        handlers_definitions.check_creatable(self._context, kind)
        self._name(kind, namespace, obj)
        name = obj["metadata"].get("name", "")
        handlers_schema.read_fields(kind, obj, options.validation, options.warnings)
        handlers_schema.default(kind, obj)
        metadata = obj["metadata"]
        handlers_metadata.prepare_create(kind, obj, namespace, self._context.stamp(), self._context.new_uid())
        self._track(kind, None, obj, options, "", is_apply)
        handlers_rules.fill_create(kind, obj, self._context.settings.node_name)
        call = Call(
            kind=kind,
            operation="CREATE",
            namespace=namespace,
            name=name,
            user=options.user,
            is_dry_run=options.is_dry_run,
            options=options.as_kubernetes("CreateOptions"),
            warnings=options.warnings,
        )
        admitted = await self._context.admission.mutate(call, obj, None)
        if admitted is not obj and admitted is not None:
            obj = admitted
            for field in ("uid", "creationTimestamp", "namespace", "name"):
                if field in metadata:
                    obj["metadata"][field] = metadata[field]
            handlers_schema.read_fields(kind, obj, "Ignore", [])
        handlers_schema.default(kind, obj)
        self._validate(kind, obj, None, "")
        self._admit(kind, obj, namespace, options)
        await self._context.admission.validate(call, obj, None)
        if kind.resource == CRD_RESOURCE:
            handlers_definitions.set_status(self._context, obj, None)
            handlers_definitions.warn(obj, options.warnings)
        obj["apiVersion"] = _stored_version(kind)
        key = (namespace if kind.namespaced else "", obj["metadata"]["name"])
        return await self._store_new(target, key, obj, options)

    def _admit(self, kind: Kind, obj: Obj, namespace: str, options: WriteOptions) -> None:
        """What admission of Kubernetes itself looks up and warns about."""
        if kind.is_custom:
            return
        from standalone.apiserver.schema import core_warnings

        handlers_rules.check_references(kind, obj, namespace, self._context.store)
        options.warnings.extend(core_warnings.warnings_of(kind, obj))

    async def _store_new(
        self, target: Target, key: tuple[str, str], obj: Obj, options: WriteOptions
    ) -> Written:
        kind, store = target.kind, self._context.store
        exists = errors.already_exists(kind.plural, kind.group, key[1])
        if options.is_dry_run:
            if store.latest(kind.resource, key) is not None:
                raise exists
            return Written(build_entry(0, kind.resource, key, 0, obj), True)
        self._check_namespace(kind, key[0])
        try:
            done = store.put(kind.resource, key, obj, None)
        except StaleWriteError as error:
            await store.settled(kind.resource, key)
            raise exists from error
        return Written(await done, True)

    def _check_namespace(self, kind: Kind, namespace: str) -> None:
        if not kind.namespaced:
            return
        found = self._context.store.latest("namespaces", ("", namespace))
        if found is None:
            raise errors.not_found("namespaces", "", namespace)
        if found.is_deleting:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            causes = {
                "causes": [
                    {
                        "reason": "NamespaceTerminating",
                        "message": f"namespace {namespace} is being terminated",
                        "field": "metadata.namespace",
                    }
                ]
            }
            raise errors.forbidden(kind.plural, kind.group, "", why, causes)

    def _name(self, kind: Kind, namespace: str, obj: Obj) -> None:
        metadata = obj["metadata"]
        prefix = metadata.get("generateName")
        if metadata.get("name") or not prefix:
            return
        for _ in range(MAX_TRIES):
            metadata["name"] = prefix[:MAX_PREFIX] + new_suffix()
            key = (namespace if kind.namespaced else "", metadata["name"])
            if self._context.store.latest(kind.resource, key) is None:
                return

    # -- update

    async def update(
        self, target: Target, change: Change, options: WriteOptions, is_apply: bool = False
    ) -> Written:
        """Replace the object at ``target`` by ``change`` of it; again when another write came between."""
        for _ in range(MAX_TRIES):
            current = self._context.store.latest(target.kind.resource, target.key)
            if current is None:
                raise target.not_found()
            try:
                return await self._update(target, current, change, options, is_apply)
            except StaleWriteError:
                continue
        raise self._stale(target)

    async def _update(
        self, target: Target, current: Entry, change: Change, options: WriteOptions, is_apply: bool
    ) -> Written:
        kind = target.kind
        old = current.load()
        old["apiVersion"] = kind.api_version
        new = change(copy.deepcopy(old))
        handlers_metadata.check_namespace(kind, new["metadata"], target.key[0])
        wanted = new["metadata"].get("resourceVersion")
        if wanted and wanted != str(current.version):
            await self._context.store.settled(kind.resource, target.key)
            raise self._stale(target)
        new["metadata"]["resourceVersion"] = str(current.version)
        subresource = target.subresource if target.subresource in ("status", "finalize") else ""
        read = handlers_schema.read_patched if options.is_patch else handlers_schema.read_fields
        read(kind, new, options.validation, options.warnings)
        handlers_schema.default(kind, new)
        handlers_metadata.prepare_update(kind, old, new, subresource)
        self._track(kind, old, new, options, subresource, is_apply)
        new = await self._admit_update(target, old, new, options, subresource)
        if kind.resource == CRD_RESOURCE and not subresource:
            handlers_definitions.set_status(self._context, new, old)
            handlers_definitions.warn(new, options.warnings)
        return await self._store_update(target, current, old, new, options)

    async def _admit_update(
        self, target: Target, old: Obj, new: Obj, options: WriteOptions, subresource: str
    ) -> Obj:
        kind, admission = target.kind, self._context.admission
        call = Call(
            kind=kind,
            operation="UPDATE",
            namespace=target.namespace or "",
            name=target.name,
            user=options.user,
            subresource=target.subresource,
            is_dry_run=options.is_dry_run,
            options=options.as_kubernetes("UpdateOptions"),
            warnings=options.warnings,
        )
        admitted = await admission.mutate(call, new, old)
        if admitted is not None and admitted is not new:
            new = admitted
            handlers_schema.read_fields(kind, new, "Ignore", [])
        handlers_schema.default(kind, new)
        handlers_metadata.prepare_update(kind, old, new, subresource)
        self._validate(kind, new, old, subresource)
        await admission.validate(call, new, old)
        return new

    async def _store_update(
        self, target: Target, current: Entry, old: Obj, new: Obj, options: WriteOptions
    ) -> Written:
        kind, store = target.kind, self._context.store
        if new == old:
            await store.settled(kind.resource, target.key)
            return Written(current)
        new["apiVersion"] = _stored_version(kind)
        if options.is_dry_run:
            return Written(build_entry(current.id, kind.resource, target.key, current.version, new))
        if _is_gone(new):
            return Written(await store.remove(kind.resource, target.key, new, current))
        return Written(await store.put(kind.resource, target.key, new, current))

    def _stale(self, target: Target) -> errors.StatusError:
        return errors.stale(target.kind.plural, target.kind.group, target.name)

    # -- both

    def _validate(self, kind: Kind, obj: Obj, old: Obj | None, subresource: str) -> None:
        causes = handlers_metadata.validate(kind, obj["metadata"])
        owners = "metadata.ownerReferences["  # their rules are those of metadata
        causes += [one for one in handlers_schema.validate(kind, obj) if not one.field.startswith(owners)]
        if causes and kind.is_custom:  # a built-in object has its types by now: say all that is wrong
            handlers_schema.raise_invalid(kind, obj, causes)
        found = [] if subresource else handlers_rules.validate(kind, obj)
        if old is not None:
            found += handlers_metadata.validate_update(old, obj)
            found += [] if subresource else handlers_rules.validate_update(kind, old, obj)
        causes += [cause for cause in found if cause not in causes]
        handlers_schema.raise_invalid(kind, obj, causes)

    def _track(
        self, kind: Kind, old: Obj | None, new: Obj, options: WriteOptions, subresource: str, is_apply: bool
    ) -> None:
        """Record who manages which fields; an apply has done so already.

        Before admission and before the server's own values: those are nobody's, as in Kubernetes.
        """
        if is_apply:
            return
        from standalone.apiserver.apply import managed

        author = managed.Author(options.manager, kind.api_version, self._context.stamp(), subresource)
        schema = handlers_schema.schema_of(kind)
        before: Obj | None = None
        if old is None and not kind.is_custom:
            before = core_zero.zero(kind.group, kind.kind)
        reset = ("status",) if kind.has("status") and subresource != "status" else ()
        entries = managed.track_write(old, new, author, schema, before, reset)
        if entries:
            new["metadata"]["managedFields"] = entries
        else:
            new["metadata"].pop("managedFields", None)


def require_version(kind: Kind, obj: Obj) -> None:
    """A PUT of some kinds must say which version it replaces."""
    guarded = kind.is_custom or kind.kind in _GUARDED or kind.group == webhook_match.OWN_GROUP
    if guarded and not obj["metadata"].get("resourceVersion"):
        text = "Invalid value: 0: must be specified for an update"
        cause = Cause("metadata.resourceVersion", "FieldValueInvalid", text)
        raise errors.invalid(kind.plural, kind.group, obj["metadata"].get("name", ""), [cause])


def copy_of(obj: Obj) -> Callable[[], Obj]:
    """A source of fresh copies of a body, for updates that may be tried several times."""
    return lambda: copy.deepcopy(obj)


def _stored_version(kind: Kind) -> str:
    return f"{kind.group}/{kind.storage_version}" if kind.group else kind.storage_version


def _is_gone(obj: Obj) -> bool:
    """Whether an object under deletion has nothing left to wait for."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if (obj.get("spec") or {}).get("finalizers") and obj["kind"] == "Namespace":
        return False
    return not metadata.get("deletionGracePeriodSeconds")
