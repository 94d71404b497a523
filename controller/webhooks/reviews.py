"""AdmissionReview in, AdmissionReview out: defaulting and validation of our kinds, mutation of serving pods.

Called by ``webhooks.server``, one coroutine a path. What is decided is decided by pure functions; here is the lookup of
what they need (runtimes, ServiceAccount, Secrets). Invariant: an object of any shape gets an answer; nothing a user
sends can raise out of here.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from controller.cache import CLUSTER_RUNTIMES, SERVING_RUNTIMES
from controller.connection import Api, ApiFailureError
from controller.desired import images, podmutation, selection
from controller.desired.podmutation import PodFacts, PodRefusedError
from controller.desired.reasons import SpecError
from controller.facts import FORBIDDEN, Facts
from wakeful.core.api import (
    inferenceservice,
    inferenceservice_defaults,
    inferenceservice_validate,
    isvc_unsupported,
    servingruntime,
)
from wakeful.core.api import isvc_names as names
from wakeful.core.api.isvc_problem import Obj, Problem, mapping, mappings, text
from wakeful.kit import logs
from wakeful.kit.kube import SECRETS, Resource

SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts")
OWN_INITIALIZER = "storage-initializer"
DENIED = 400
SHOWN_PROBLEMS = 10

log = logs.get("controller.webhooks")


@dataclass(frozen=True, slots=True)
class Review:
    """The request of an AdmissionReview."""

    uid: str
    operation: str
    namespace: str
    obj: Obj
    old: Obj | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``refusal`` None allows; ``changed`` is the mutated object, where it differs."""

    refusal: str | None = None
    warnings: list[str] = field(default_factory=list)
    changed: Obj | None = None


class Reviewer:
    """The reviews; stateless but for what it may read."""

    def __init__(self, api: Api, facts: Facts) -> None:
        self._api = api
        self._facts = facts

    async def default_isvc(self, review: Review) -> Verdict:
        defaults = self._facts.config.defaults
        return Verdict(changed=inferenceservice_defaults.default(review.obj, defaults, review.old))

    async def validate_isvc(self, review: Review) -> Verdict:
        if review.operation == "DELETE":
            return Verdict()
        findings = inferenceservice_validate.validate(review.obj, review.old)
        if findings.problems:
            return Verdict(_refusal(findings.problems))
        warnings = [*findings.warnings, *await self._runtime_warning(review)]
        if images.is_own(self._facts.config.storage.image, OWN_INITIALIZER):
            warnings += isvc_unsupported.unread_sources(inferenceservice.parse(review.obj))
        return Verdict(warnings=warnings)

    async def validate_runtime(self, review: Review) -> Verdict:
        if review.operation == "DELETE":
            return Verdict()
        namespaced = review.obj.get("kind") == servingruntime.NAMESPACED
        others = await (
            self._runtimes(SERVING_RUNTIMES, review.namespace)
            if namespaced
            else self._runtimes(CLUSTER_RUNTIMES)
        )
        problems = servingruntime.validate(review.obj, others, review.old)
        return Verdict(_refusal(problems)) if problems else Verdict()

    async def mutate_pod(self, review: Review) -> Verdict:
        config = self._facts.config.storage
        try:
            account = await self._account(review)
            needed = podmutation.secrets_needed(review.obj, account, config)
            secrets, unread = await self._secrets(review, needed)
            return Verdict(changed=podmutation.mutate(review.obj, PodFacts(account, secrets, unread), config))
        except PodRefusedError as error:
            return Verdict(str(error))

    async def _runtime_warning(self, review: Review) -> list[str]:
        """A sentence when no runtime fits now. Not a refusal: the runtime may come later."""
        predictor = inferenceservice.parse(review.obj).predictor
        if predictor.model is None:
            return []
        try:
            own = await self._runtimes(SERVING_RUNTIMES, review.namespace)
            shared = await self._runtimes(CLUSTER_RUNTIMES)
        except ApiFailureError as error:
            log.warning("runtimes not listed", error=str(error))
            return []
        namespaced = [servingruntime.parse({**item, "kind": servingruntime.NAMESPACED}) for item in own]
        cluster = [servingruntime.parse({**item, "kind": servingruntime.CLUSTER}) for item in shared]
        try:
            selection.decide(predictor.model, namespaced, cluster, inferenceservice.is_multi_model(predictor))
        except SpecError as error:
            return [f"spec.predictor.model: {error.reason}: {error.message}"]
        return []

    async def _runtimes(self, resource: Resource, namespace: str | None = None) -> list[Obj]:
        """Asked of the API server: right after a start the cache does not know them all yet."""
        return mappings((await self._api.request("GET", resource.path(namespace))).get("items"))

    async def _account(self, review: Review) -> Obj | None:
        sources = podmutation.sources_of(review.obj)
        if all(item.uri.startswith("pvc://") for item in sources):
            return None
        given = text(mapping(review.obj.get("spec")).get("serviceAccountName"))
        name = given or "default"
        try:
            account = await self._api.get(SERVICE_ACCOUNTS.path(review.namespace, name))
        except ApiFailureError as error:
            raise PodRefusedError(f"ServiceAccount {name} cannot be read: {error}") from error
        if account is None and given not in ("", "default"):
            message = (
                f"ServiceAccount {given}, named for storage credentials, does not exist in {review.namespace}"
            )
            raise PodRefusedError(message)
        return account

    async def _secrets(self, review: Review, needed: list[str]) -> tuple[dict[str, Obj], tuple[str, ...]]:
        """The Secrets that may be read, and the names of those that may not (none, where config/rbac is as shipped)."""
        found: dict[str, Obj] = {}
        unread: list[str] = []
        is_spec = mapping(mapping(review.obj.get("metadata")).get("annotations")).get(names.STORAGE_SPEC)
        for name in needed:
            try:
                secret = await self._api.get(SECRETS.path(review.namespace, name))
            except ApiFailureError as error:
                if error.code == FORBIDDEN:
                    unread.append(name)
                    continue
                raise PodRefusedError(
                    f"Secret {name} with storage credentials cannot be read: {error}"
                ) from error
            if secret is not None:
                found[name] = secret
            elif not is_spec:
                raise PodRefusedError(
                    f"Secret {name}, named for storage credentials, does not exist in {review.namespace}"
                )
        return found, tuple(unread)


def decode(body: Any) -> Review:
    """The request of an AdmissionReview. Raises ``ValueError``."""
    request = mapping(mapping(body).get("request"))
    if not request.get("uid"):
        raise ValueError("not an AdmissionReview: request.uid is missing")
    old = request.get("oldObject")
    return Review(
        uid=text(request["uid"]),
        operation=text(request.get("operation")),
        namespace=text(request.get("namespace")),
        obj=mapping(request.get("object")),
        old=old if isinstance(old, dict) and old else None,
    )


def encode(review: Review, verdict: Verdict) -> Obj:
    """The answer, with a JSON patch where the object was changed."""
    response: Obj = {"uid": review.uid, "allowed": verdict.refusal is None}
    if verdict.refusal is not None:
        response["status"] = {"code": DENIED, "reason": "BadRequest", "message": verdict.refusal}
    if verdict.warnings:
        response["warnings"] = [item[:256] for item in verdict.warnings]
    patch = _patch(review.obj, verdict.changed) if verdict.changed is not None else []
    if patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(json.dumps(patch).encode()).decode()
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}


def _patch(before: Obj, after: Obj) -> list[Obj]:
    """Replacements one level below ``spec`` and ``metadata``: small, and exact about what was touched."""
    operations: list[Obj] = []
    for part in ("metadata", "spec"):
        old, new = mapping(before.get(part)), mapping(after.get(part))
        for key in sorted(old.keys() | new.keys()):
            path = f"/{part}/{key.replace('~', '~0').replace('/', '~1')}"
            if key not in new:
                operations.append({"op": "remove", "path": path})
            elif old.get(key) != new[key] or key not in old:
                operations.append({"op": "replace" if key in old else "add", "path": path, "value": new[key]})
    return operations


def _refusal(problems: list[Problem]) -> str:
    shown = "; ".join(str(item) for item in problems[:SHOWN_PROBLEMS])
    more = len(problems) - SHOWN_PROBLEMS
    return shown + (f"; and {more} more" if more > 0 else "")
