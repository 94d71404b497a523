"""Admission of writes: in-process reviewers and the cluster's webhook configurations, as kube-apiserver runs them.

Called by the write handlers: ``mutate`` before validation, ``validate`` after it. Left out: matching
(``webhook_match``), HTTPS (``webhook_client``).

Invariant: a mutating webhook is called at most twice for one write (the second time only with ``reinvocationPolicy:
IfNeeded`` and after a later change), in the order of configuration names.
"""

from __future__ import annotations

import asyncio
import base64
import uuid
from dataclasses import dataclass, field
from typing import Any

import orjson

from standalone.apiserver import errors, webhook_match
from standalone.apiserver.errors import Cause
from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_core import MUTATING, VALIDATING
from standalone.apiserver.patching import json_patch
from standalone.apiserver.patching.failure import PatchError
from standalone.apiserver.ports import Denied, Review, Reviewers
from standalone.apiserver.server_types import User
from standalone.apiserver.store import Store
from standalone.apiserver.store_entries import Event, Obj
from standalone.apiserver.webhook_client import CallError, WebhookClient
from wakeful.kit import logs

_log = logs.get("apiserver.admission")


@dataclass(frozen=True, slots=True)
class Call:
    """One write, as admission sees it."""

    kind: Kind
    operation: str
    """``CREATE``, ``UPDATE``, ``DELETE`` or ``CONNECT``."""
    namespace: str
    name: str
    user: User
    subresource: str = ""
    is_dry_run: bool = False
    options: Obj = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Admission:
    """Runs admission. Follows the webhook configurations in the store."""

    def __init__(self, store: Store, reviewers: Reviewers) -> None:
        self._store = store
        self._reviewers = dict(reviewers)
        self._client = WebhookClient(store)
        self._webhooks: dict[str, list[Obj]] = {MUTATING: [], VALIDATING: []}
        for resource in self._webhooks:
            self._read(resource)

    def on_events(self, events: list[Event]) -> None:
        """The store's listener: read the configurations again when one changed."""
        for resource in {event.entry.resource for event in events} & self._webhooks.keys():
            self._read(resource)

    def _read(self, resource: str) -> None:
        entries = self._store.bucket(resource).ordered()
        self._webhooks[resource] = [
            webhook for entry in entries for webhook in entry.load().get("webhooks") or ()
        ]
        if self._webhooks[resource]:
            self._client.prepare()

    async def mutate(self, call: Call, obj: Obj | None, old: Obj | None) -> Obj | None:
        """The object after mutation (the same dictionary or another). Raises ``StatusError``."""
        if self._webhooks[MUTATING]:
            obj = await self._mutate(call, obj, old)
        reviewer = self._reviewers.get((call.kind.group, call.kind.kind))
        if reviewer is not None and obj is not None and not call.subresource:
            review = Review(call.operation, obj, old, call.user.name, call.is_dry_run)
            try:
                reviewer(review)
            except Denied as denied:
                raise _denial(call, denied) from denied
            call.warnings.extend(review.warnings)
        return obj

    async def _mutate(self, call: Call, obj: Obj | None, old: Obj | None) -> Obj | None:
        last_change = -1
        called_at: dict[int, int] = {}
        webhooks = self._webhooks[MUTATING]
        for index, webhook in enumerate(webhooks):
            changed = await self._call_mutating(webhook, call, obj, old)
            if changed is not None:
                called_at[index] = index
                if changed is not obj:
                    obj, last_change = changed, index
        for index, webhook in enumerate(webhooks):
            again = (
                webhook.get("reinvocationPolicy") == "IfNeeded" and index in called_at and last_change > index
            )
            if again:
                changed = await self._call_mutating(webhook, call, obj, old)
                obj = obj if changed is None else changed
        return obj

    async def _call_mutating(self, webhook: Obj, call: Call, obj: Obj | None, old: Obj | None) -> Obj | None:
        """The object after this webhook: ``obj`` itself when unchanged, None when it was not concerned or failed."""
        response = await self._ask(webhook, call, obj, old)
        if response is None:
            return None
        patch = response.get("patch")
        if not patch or obj is None:
            return obj
        try:
            if response.get("patchType", "JSONPatch") != "JSONPatch":
                raise ValueError(f"patchType {response.get('patchType')!r} is not JSONPatch")
            changed = json_patch.apply(obj, orjson.loads(base64.b64decode(patch)))
        except (ValueError, PatchError) as error:
            text = f'admission webhook "{webhook["name"]}" returned an unusable patch: {error}'
            raise errors.internal(text) from error
        changed["apiVersion"], changed["kind"] = obj["apiVersion"], obj["kind"]
        return obj if changed == obj else changed

    async def validate(self, call: Call, obj: Obj | None, old: Obj | None) -> None:
        """Ask all validating webhooks at once. Raises the first refusal in the order of names."""
        webhooks = self._webhooks[VALIDATING]
        if not webhooks:
            return
        asked = (self._ask(webhook, call, obj, old) for webhook in webhooks)
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(answer, BaseException):
                raise answer

    async def _ask(self, webhook: Obj, call: Call, obj: Obj | None, old: Obj | None) -> Obj | None:
        version = webhook_match.match_version(webhook, self._subject(call, obj, old))
        if version is None:
            return None
        name = webhook["name"]
        if call.is_dry_run and webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise errors.bad_request(f'admission webhook "{name}" does not support dry run')
        try:
            response = await self._client.call(webhook, _review(call, obj, old, version))
        except CallError as error:
            if webhook.get("failurePolicy", "Fail") == "Ignore":
                _log.warning("webhook failed and is ignored", webhook=name, error=str(error))
                return None
            raise errors.internal(f'failed calling webhook "{name}": {error}') from error
        call.warnings.extend(str(text)[:256] for text in response.get("warnings") or ())
        if not response["allowed"]:
            raise _refusal(name, response)
        return response

    def _subject(self, call: Call, obj: Obj | None, old: Obj | None) -> webhook_match.Subject:
        labels = _labels(obj)
        namespace_labels: dict[str, str] | None = None
        if call.kind.resource == "namespaces":
            namespace_labels = labels or _labels(old)
        elif call.kind.namespaced:
            found = self._store.latest("namespaces", ("", call.namespace))
            namespace_labels = found.labels if found is not None else {}
        return webhook_match.Subject(
            call.kind, call.operation, call.subresource, namespace_labels, labels, _labels(old)
        )

    async def close(self) -> None:
        await self._client.close()


def _labels(obj: Obj | None) -> dict[str, str]:
    return (obj["metadata"].get("labels") or {}) if obj is not None else {}


def _review(call: Call, obj: Obj | None, old: Obj | None, version: str) -> Obj:
    kind = call.kind
    grouped = f"{kind.group}/{version}" if kind.group else version
    seen: Any = obj if obj is None else {**obj, "apiVersion": grouped}
    before: Any = old if old is None else {**old, "apiVersion": grouped}
    request: Obj = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": kind.group, "version": version, "kind": kind.kind},
        "resource": {"group": kind.group, "version": version, "resource": kind.plural},
        "requestKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "requestResource": {"group": kind.group, "version": kind.version, "resource": kind.plural},
        "name": call.name,
        "operation": call.operation,
        "userInfo": call.user.info(),
        "object": seen,
        "oldObject": before,
        "dryRun": call.is_dry_run,
        "options": call.options or None,
    }
    if kind.namespaced:
        request["namespace"] = call.namespace
    if call.subresource:
        request["subResource"] = request["requestSubResource"] = call.subresource
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _refusal(name: str, response: Obj) -> errors.StatusError:
    status = response.get("status") or {}
    given = status.get("code")
    code = given if isinstance(given, int) and 400 <= given < 600 else 400
    text = status.get("message") or status.get("reason") or ""
    message = f'admission webhook "{name}" denied the request'
    message += f": {text}" if text else " without explanation"
    return errors.StatusError(code, str(status.get("reason") or ""), message, status.get("details"))


def _denial(call: Call, denied: Denied) -> errors.StatusError:
    if denied.path:
        cause = Cause(denied.path, denied.reason, denied.message)
        return errors.invalid(call.kind.kind, call.kind.group, call.name, [cause])
    if denied.reason == "BadRequest":  # as a webhook of Knative answers: its own sentence, verbatim
        return errors.bad_request(denied.message)
    return errors.forbidden(call.kind.plural, call.kind.group, call.name, denied.message)
