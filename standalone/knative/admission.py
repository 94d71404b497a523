"""Knative Serving's webhooks, in the API server's own process: defaulting, then validation, in Knative's words.

``standalone.apiserver`` composes ``REVIEWERS`` as in-process admission (``standalone/apiserver/ports.py``). The
ConfigMaps that matter are given by ``ADMISSION.load`` (at start and after each write of one); without it Knative's
built-in defaults hold. Left out: Knative's own check that a dry-run pod can be created (removed in 1.20).

Invariant: a reviewer changes only ``review.obj``, does no I/O, and an object that passed passes again unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from standalone.apiserver.ports import Denied, Review, Reviewer
from standalone.knative.settings import CLUSTER_DOMAIN, HOST, ServingConfig, with_configmap
from wakeful.core.api import knative_serving_kinds as kinds
from wakeful.core.api import knative_serving_names as names
from wakeful.core.api.knative_serving_config import parse_defaults, parse_features
from wakeful.core.api.knative_serving_problem import Problem, render
from wakeful.core.scaling.config_autoscaler import parse_config

VALIDATION = "validation.webhook.serving.knative.dev"
CONFIG_VALIDATION = "config.webhook.serving.knative.dev"


class Admission:
    """The reviewers of one API server, over the settings they were last given."""

    def __init__(self) -> None:
        self.settings = kinds.Settings()

    def load(self, name: str, data: Mapping[str, str]) -> None:
        """Take over ConfigMap ``name`` of namespace knative-serving. Raises ``ValueError``; others are ignored."""
        if name == "config-defaults":
            self.settings = replace(self.settings, defaults=parse_defaults(data))
        elif name == "config-features":
            self.settings = replace(self.settings, features=parse_features(data))
        elif name == "config-autoscaler":
            self.settings = replace(self.settings, autoscaler=parse_config(data))

    def service(self, review: Review) -> None:
        kinds.default_template(review.obj, review.old, self.settings)
        kinds.default_routing(review.obj, is_service=True)
        kinds.record_user(review.obj, review.old, review.username)
        self._deny(kinds.validate_service(review.obj, review.old, self.settings), review)

    def configuration(self, review: Review) -> None:
        kinds.default_template(review.obj, review.old, self.settings)
        if not _is_child(review.obj):
            kinds.record_user(review.obj, review.old, review.username)
        self._deny(kinds.validate_configuration(review.obj, review.old, self.settings), review)

    def route(self, review: Review) -> None:
        kinds.default_routing(review.obj, is_service=False)
        if not _is_child(review.obj):
            kinds.record_user(review.obj, review.old, review.username)
        self._deny(kinds.validate_route(review.obj, review.old, self.settings), review)

    def revision(self, review: Review) -> None:
        kinds.default_revision(review.obj, review.old, self.settings)
        self._deny(kinds.validate_revision(review.obj, review.old, self.settings), review)

    def domain_mapping(self, review: Review) -> None:
        """Record who made it; refuse names that the platform's own hosts would shadow."""
        kinds.record_user(review.obj, review.old, review.username)
        name = str(review.obj["metadata"].get("name") or "")
        problems = []
        if name == CLUSTER_DOMAIN or name.endswith(f".{CLUSTER_DOMAIN}"):
            text = f'must not be a subdomain of cluster local domain "{CLUSTER_DOMAIN}"'
            problems.append(Problem(f"invalid value: {name}", "metadata.name", text))
        elif not HOST.fullmatch(name) or "." not in name:
            text = "want a domain name of two or more lower-case parts"
            problems.append(Problem(f"invalid value: {name}", "metadata.name", text))
        self._deny(iter(problems), review)

    def config_map(self, review: Review) -> None:
        """Refuse a ConfigMap of Serving that could not be used."""
        metadata = review.obj["metadata"]
        if metadata.get("namespace") != names.SYSTEM_NAMESPACE:
            return
        name, data = str(metadata.get("name")), _texts(review.obj.get("data"))
        try:
            Admission().load(name, data)
            with_configmap(ServingConfig(), name, data)
        except ValueError as error:
            raise Denied(
                f'admission webhook "{CONFIG_VALIDATION}" denied the request: validation failed: {error}',
                reason="BadRequest",
            ) from None

    def _deny(self, problems: Iterator[Problem], review: Review) -> None:
        if review.obj["metadata"].get("deletionTimestamp"):
            return
        raise_denied(problems)


def raise_denied(problems: Iterable[Problem]) -> None:
    """Raise ``Denied`` with the text of Knative's webhook when there is any problem."""
    found = list(problems)
    if found:
        text = f'admission webhook "{VALIDATION}" denied the request: validation failed: {render(found)}'
        raise Denied(text, reason="BadRequest")


def _is_child(obj: Mapping[str, Any]) -> bool:
    owners = obj["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") for owner in owners)


def _texts(data: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in data.items()} if isinstance(data, dict) else {}


ADMISSION = Admission()
REVIEWERS: Mapping[tuple[str, str], Reviewer] = {
    (names.GROUP, "Service"): ADMISSION.service,
    (names.GROUP, "Configuration"): ADMISSION.configuration,
    (names.GROUP, "Route"): ADMISSION.route,
    (names.GROUP, "Revision"): ADMISSION.revision,
    (names.GROUP, "DomainMapping"): ADMISSION.domain_mapping,
    ("", "ConfigMap"): ADMISSION.config_map,
}
