"""The ConfigMap ``inferenceservice-config`` as a value: JSON in its keys, KServe's shipped defaults where absent.

Called at every reconcile and admission with whatever the ConfigMap holds at that moment. Left out: keys of features
that are not built yet (router, localModel, multiNode, opentelemetryCollector, autoscaler), which are ignored. Source:
KServe behaviour page section 3.8. Invariant: a bad key never hides the good ones, it is named in ``problems``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from wakeful.core.api import code_bearing
from wakeful.core.api import isvc_names as names
from wakeful.core.api.code_bearing import Policy
from wakeful.core.api.inferenceservice_defaults import Defaults
from wakeful.core.api.isvc_problem import Obj, mapping, sequence, text

CONFIG_NAME = "inferenceservice-config"

DISALLOWED_ANNOTATIONS = (
    "autoscaling.knative.dev/min-scale",
    "autoscaling.knative.dev/max-scale",
    names.SOURCE_URI,
    names.LAST_APPLIED,
    "modelFormat",
)
DISALLOWED_LABELS = (names.VISIBILITY_LABEL,)
DEFAULT_INITIALIZER_IMAGE = "wakeful/storage-initializer:0.1.0"


@dataclass(frozen=True, slots=True)
class IngressConfig:
    """``ingress``: how the InferenceService is reached from outside."""

    url_scheme: str = ""
    """Scheme of ``status.url``; "" takes the one of the component's own URL."""
    is_virtual_host_disabled: bool = False
    path_template: str = ""
    additional_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """``storageInitializer`` and ``credentials``."""

    image: str = DEFAULT_INITIALIZER_IMAGE
    resources: Obj = field(
        default_factory=lambda: {
            "requests": {"cpu": "100m", "memory": "100Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        }
    )
    ca_bundle_configmap: str = ""
    ca_bundle_mount: str = "/etc/ssl/custom-certs"
    secret_name: str = "storage-config"
    secret_annotation: str = names.STORAGE_SECRET_NAME
    gcs_file: str = "gcloud-application-credentials.json"
    s3: Obj = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Configuration:
    """All of it. ``problems`` are sentences, each naming a key."""

    defaults: Defaults = field(default_factory=Defaults)
    ingress: IngressConfig = field(default_factory=IngressConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    disallowed_annotations: frozenset[str] = frozenset(DISALLOWED_ANNOTATIONS)
    disallowed_labels: frozenset[str] = frozenset(DISALLOWED_LABELS)
    code_bearing: Policy = Policy.WARN
    """``security.codeBearingModels``: what is done with model files that run code when loaded."""
    problems: tuple[str, ...] = ()


def parse(configmap: Obj | None) -> Configuration:
    """The configuration in ``configmap`` (None: it does not exist, so everything is default)."""
    data = mapping(mapping(configmap).get("data"))
    problems: list[str] = []
    parts = {key: _section(key, data, problems) for key in _SECTIONS}
    service = parts["inferenceService"]
    storage = _storage(parts["storageInitializer"], parts["credentials"])
    return Configuration(
        defaults=_defaults(parts, problems),
        ingress=_ingress(parts["ingress"], problems),
        storage=storage,
        code_bearing=_policy(parts["security"], problems),
        disallowed_annotations=frozenset(DISALLOWED_ANNOTATIONS)
        | _strings(service, "serviceAnnotationDisallowedList"),
        disallowed_labels=frozenset(DISALLOWED_LABELS) | _strings(service, "serviceLabelDisallowedList"),
        problems=tuple(problems),
    )


_SECTIONS = ("deploy", "ingress", "storageInitializer", "credentials", "inferenceService", "security")


def _section(key: str, data: Obj, problems: list[str]) -> Obj:
    raw = data.get(key)
    if raw is None or not str(raw).strip():
        return {}
    try:
        value = json.loads(raw)
    except (ValueError, TypeError) as error:
        problems.append(
            f"ConfigMap {CONFIG_NAME}, key {key}: not JSON ({error}); correct it or remove the key"
        )
        return {}
    if not isinstance(value, dict):
        problems.append(
            f"ConfigMap {CONFIG_NAME}, key {key}: must be a JSON object, not {type(value).__name__}"
        )
        return {}
    return value


def _defaults(parts: dict[str, Obj], problems: list[str]) -> Defaults:
    # Wakeful's own default is Knative: it is what the shipped ConfigMap of KServe sets, too.
    mode = names.normalise_mode(text(parts["deploy"].get("defaultDeploymentMode")) or names.KNATIVE)
    if mode not in names.MODES:
        problems.append(
            f"ConfigMap {CONFIG_NAME}, key deploy: defaultDeploymentMode {mode!r} is not one of {', '.join(names.MODES)}"
        )
        mode = names.KNATIVE
    resource = mapping(parts["inferenceService"].get("resource"))
    return Defaults(
        deployment_mode=mode,
        requests=_resources(resource, "Request"),
        limits=_resources(resource, "Limit"),
        automount_token=parts["security"].get("autoMountServiceAccountToken") is not False,
    )


def _policy(security: Obj, problems: list[str]) -> Policy:
    value = text(security.get("codeBearingModels"))
    policy = code_bearing.policy_of(value)
    if policy is None:
        problems.append(
            f"ConfigMap {CONFIG_NAME}, key security: codeBearingModels must be Allow, Warn or Refuse, not {value!r}"
        )
    return policy or Policy.REFUSE


def _resources(resource: Obj, suffix: str) -> dict[str, str]:
    shipped = {"cpu": "1", "memory": "2Gi"}
    chosen = {name: str(resource.get(f"{name}{suffix}", default)) for name, default in shipped.items()}
    return {name: quantity for name, quantity in chosen.items() if quantity}


def _ingress(section: Obj, problems: list[str]) -> IngressConfig:
    scheme = text(section.get("urlScheme"))
    if scheme not in ("", "http", "https"):
        problems.append(
            f"ConfigMap {CONFIG_NAME}, key ingress: urlScheme must be http or https, not {scheme!r}"
        )
        scheme = ""
    return IngressConfig(
        url_scheme=scheme,
        is_virtual_host_disabled=_flag(section.get("disableIstioVirtualHost")),
        path_template=text(section.get("pathTemplate")),
        additional_domains=tuple(sorted(_strings(section, "additionalIngressDomains"))),
    )


def _storage(section: Obj, credentials: Obj) -> StorageConfig:
    default = StorageConfig()
    resources = {
        part: {
            name: str(section.get(f"{name}{part.capitalize()[:-1]}", quantity))
            for name, quantity in mapping(default.resources[part]).items()
        }
        for part in ("requests", "limits")
    }
    return StorageConfig(
        image=text(section.get("image")) or default.image,
        resources=resources,
        ca_bundle_configmap=text(section.get("caBundleConfigMapName")),
        ca_bundle_mount=text(section.get("caBundleVolumeMountPath")) or default.ca_bundle_mount,
        secret_name=text(credentials.get("storageSpecSecretName")) or default.secret_name,
        secret_annotation=text(credentials.get("storageSecretNameAnnotation")) or default.secret_annotation,
        gcs_file=text(mapping(credentials.get("gcs")).get("gcsCredentialFileName")) or default.gcs_file,
        s3=mapping(credentials.get("s3")),
    )


def _flag(value: Any) -> bool:
    return value is True or str(value).lower() == "true"


def _strings(section: Obj, key: str) -> frozenset[str]:
    return frozenset(item for item in sequence(section.get(key)) if isinstance(item, str) and item)
