"""What the pod webhook does to a serving pod: the model's volume, the storage initializer, its credentials.

Called by ``webhooks.pods`` for pods with our label. Left out, refused with a sentence: agent (logger, batcher,
puller) and OCI images as models. Source: KServe behaviour page sections 3.1 to 3.4, section 6, items 16 to 20.
Invariant: idempotent; a mutated pod passes through unchanged, as reinvocation demands.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.desired.composition import SPEC_PLACEHOLDER, STORAGE_URIS
from controller.desired.configuration import StorageConfig
from controller.desired.credentials import (
    Credentials,
    CredentialsError,
    SpecSource,
    from_account,
    from_mounts,
    from_spec,
    from_unread_spec,
    secret_names,
)
from wakeful.core.api import isvc_names as names
from wakeful.core.api import podspec, storage_uri
from wakeful.core.api.isvc_problem import Obj, mapping, mappings, text

PVC_VOLUME = "kserve-pvc-source"
PROVISION_VOLUME = "kserve-provision-location"
CA_VOLUME = "cabundle-cert"
HF_SETTINGS = (
    ("HF_HUB_ENABLE_HF_TRANSFER", "1"),
    ("HF_XET_HIGH_PERFORMANCE", "1"),
    ("HF_XET_NUM_CONCURRENT_RANGE_GETS", "8"),
)
MODEL_CONTAINERS = (names.MAIN_CONTAINER, names.WORKER_CONTAINER, names.TRANSFORMER_CONTAINER)


class PodRefusedError(Exception):
    """The pod must not start as it is; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What the webhook looked up for a pod: its ServiceAccount, the Secrets that were asked for, by name."""

    account: Obj | None = None
    secrets: Mapping[str, Obj] = field(default_factory=dict)
    unread: tuple[str, ...] = ()
    """Secrets that the controller has no right to read: the pod takes them itself."""


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to bring: where it lies, where it shall appear."""

    uri: str
    mount_path: str


def sources_of(pod: Obj) -> list[Source]:
    """What the annotations ask for."""
    annotations = _annotations(pod)
    if annotations.get(STORAGE_URIS):
        try:
            items = mappings(json.loads(annotations[STORAGE_URIS]))
        except ValueError as error:
            raise PodRefusedError(f"annotation {STORAGE_URIS} is not JSON: {error}") from error
        return [
            Source(text(item.get("uri")), text(item.get("mountPath")) or names.MODEL_MOUNT) for item in items
        ]
    uri = annotations.get(names.SOURCE_URI)
    return [Source(uri, names.MODEL_MOUNT)] if uri is not None else []


def secrets_needed(pod: Obj, account: Obj | None, config: StorageConfig) -> list[str]:
    """Names of the Secrets that ``mutate`` will want to see; empty where nothing is downloaded."""
    downloads = [item for item in sources_of(pod) if not storage_uri.is_pvc(item.uri)]
    if not downloads or not _is_ours(pod) or _has_initializer(pod):
        return []
    annotations = _annotations(pod)
    override = text(annotations.get(config.secret_annotation))
    if annotations.get(names.STORAGE_SPEC) == "true":
        return [override or config.secret_name]
    return secret_names(account, override)


def mutate(pod: Obj, facts: PodFacts, config: StorageConfig) -> Obj:
    """The pod as it shall be created. Raises ``PodRefusedError``."""
    if not _is_ours(pod):
        return pod
    annotations = _annotations(pod)
    for trigger in names.AGENT_TRIGGERS:
        if annotations.get(trigger) == "true":
            raise PodRefusedError(
                f"annotation {trigger}: logger, batcher and agent are not supported yet; remove it"
            )
    sources = sources_of(pod)
    pod = _with_accelerator(pod, annotations)
    if not sources or _has_initializer(pod):
        return pod
    _check_containers(pod)
    volumes = [_pvc(index, item) for index, item in enumerate(sources) if storage_uri.is_pvc(item.uri)]
    downloads = [item for item in sources if not storage_uri.is_pvc(item.uri)]
    is_read_only = annotations.get(names.STORAGE_READONLY) != "false"
    for volume, mount in volumes:
        pod = _mounted(pod, volume, [{**mount, "readOnly": is_read_only}])
    if downloads:
        pod = _with_initializer(pod, downloads, facts, config, is_read_only)
    return pod


def _pvc(index: int, source: Source) -> tuple[Obj, Obj]:
    try:
        path = storage_uri.parse_pvc(source.uri)
    except storage_uri.StorageUriError as error:
        raise PodRefusedError(str(error)) from error
    name = PVC_VOLUME if index == 0 else f"{PVC_VOLUME}-{index}"
    mount: Obj = {"name": name, "mountPath": source.mount_path}
    if path.sub_path:
        mount["subPath"] = path.sub_path
    return {"name": name, "persistentVolumeClaim": {"claimName": path.claim}}, mount


def _with_initializer(
    pod: Obj, downloads: list[Source], facts: PodFacts, config: StorageConfig, is_read_only: bool
) -> Obj:
    credentials = _credentials(pod, downloads, facts, config)
    arguments: list[str] = []
    for item in downloads:
        uri = credentials.uri or item.uri
        if not uri.startswith(
            SPEC_PLACEHOLDER
        ):  # else the initializer finds out, from a Secret we may not read
            _check_uri(uri)
        arguments += [uri, item.mount_path]
    mounts = [
        {"name": PROVISION_VOLUME if index == 0 else f"{PROVISION_VOLUME}-{index}", "mountPath": path}
        for index, path in enumerate(_provision_paths([item.mount_path for item in downloads]))
    ]
    volumes: list[Obj] = [{"name": mount["name"], "emptyDir": {}} for mount in mounts]
    container = _initializer(pod, config, arguments, credentials)
    extra = [*credentials.volumes]
    own_mounts = [*mounts, *credentials.mounts]
    if config.ca_bundle_configmap:
        extra.append({"name": CA_VOLUME, "configMap": {"name": "global-ca-bundle"}})
        own_mounts.append({"name": CA_VOLUME, "mountPath": config.ca_bundle_mount, "readOnly": True})
    container["volumeMounts"] = own_mounts
    for volume, mount in zip(volumes, mounts, strict=True):
        pod = _mounted(pod, volume, [{**mount, "readOnly": is_read_only}])
    spec = pod["spec"]
    initializers = [*mappings(spec.get("initContainers")), container]
    return {**pod, "spec": {**spec, "initContainers": initializers, "volumes": [*spec["volumes"], *extra]}}


def _provision_paths(mount_paths: list[str]) -> list[str]:
    """Where the downloads' volume goes: one at their common parent, as in KServe; one each where that is the root."""
    parent = posixpath.commonpath(mount_paths)
    return [parent] if parent != "/" else mount_paths


def _initializer(pod: Obj, config: StorageConfig, arguments: list[str], credentials: Credentials) -> Obj:
    env = list(credentials.env)
    if config.ca_bundle_configmap:
        env.append({"name": "CA_BUNDLE_CONFIGMAP_NAME", "value": config.ca_bundle_configmap})
        env.append({"name": "CA_BUNDLE_VOLUME_MOUNT_POINT", "value": config.ca_bundle_mount})
    env += [{"name": name, "value": value} for name, value in HF_SETTINGS]
    container: Obj = {
        "name": names.STORAGE_INITIALIZER,
        "image": config.image,
        "args": arguments,
        "env": env,
        "resources": config.resources,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    main = podspec.find(mappings(pod["spec"].get("containers")), names.MAIN_CONTAINER)
    security = dict(mapping(mapping(main).get("securityContext")))
    uid = text(_annotations(pod).get(names.STORAGE_INITIALIZER_UID))
    if uid:
        if not uid.isdigit():
            raise PodRefusedError(f"annotation {names.STORAGE_INITIALIZER_UID} must be a number, not {uid!r}")
        security["runAsUser"] = int(uid)
    if security:
        container["securityContext"] = security
    return container


def _credentials(pod: Obj, downloads: list[Source], facts: PodFacts, config: StorageConfig) -> Credentials:
    annotations = _annotations(pod)
    override = text(annotations.get(config.secret_annotation))
    try:
        if annotations.get(names.STORAGE_SPEC) == "true":
            source = downloads[0].uri
            name = override or config.secret_name
            parameters = mapping(json.loads(annotations.get(names.STORAGE_SPEC_PARAM) or "{}"))
            path = source.removeprefix(SPEC_PLACEHOLDER)
            spec = SpecSource(path, text(annotations.get(names.STORAGE_SPEC_KEY)), parameters)
            if name in facts.unread:
                found = from_unread_spec(spec, name)
            else:
                found = from_spec(spec, name, facts.secrets.get(name))
            return found if source.startswith(SPEC_PLACEHOLDER) else Credentials(found.env)
        if facts.unread:  # one right for all Secrets of a namespace: none of them was read
            return from_mounts(facts.unread, facts.account, config)
        return from_account(facts.account, facts.secrets.values(), config)
    except CredentialsError as error:
        raise PodRefusedError(str(error)) from error
    except ValueError as error:
        raise PodRefusedError(f"annotation {names.STORAGE_SPEC_PARAM} is not JSON: {error}") from error


def _check_uri(uri: str) -> None:
    try:
        storage_uri.check(uri)
    except storage_uri.StorageUriError as error:
        raise PodRefusedError(str(error)) from error


def _mounted(pod: Obj, volume: Obj, mounts: list[Obj]) -> Obj:
    """The pod with ``volume``, mounted in every container that reads models."""
    spec = pod["spec"]
    containers = []
    for container in mappings(spec.get("containers")):
        if container.get("name") in MODEL_CONTAINERS:
            container = _with_mounts(container, mounts)
        containers.append(container)
    return {
        **pod,
        "spec": {**spec, "containers": containers, "volumes": [*mappings(spec.get("volumes")), volume]},
    }


def _with_mounts(container: Obj, mounts: list[Obj]) -> Obj:
    existing = mappings(container.get("volumeMounts"))
    taken = {text(item.get("mountPath")).rstrip("/") for item in existing}
    for mount in mounts:
        if mount["mountPath"].rstrip("/") in taken:
            message = (
                f"container {container.get('name')} already mounts something at {mount['mountPath']}, where the model "
                "of storageUri must go; remove one of the two"
            )
            raise PodRefusedError(message)
    result = {**container, "volumeMounts": [*existing, *mounts]}
    if podspec.env_value(container, "STORAGE_URI") is not None:
        result["env"] = [
            {**item, "value": mounts[0]["mountPath"]} if item.get("name") == "STORAGE_URI" else item
            for item in mappings(container.get("env"))
        ]
    return result


def _with_accelerator(pod: Obj, annotations: dict[str, str]) -> Obj:
    accelerator = annotations.get(names.GKE_ACCELERATOR)
    spec = mapping(pod.get("spec"))
    if not accelerator or not any(podspec.wants_gpu(item) for item in mappings(spec.get("containers"))):
        return pod
    selector = {**mapping(spec.get("nodeSelector")), "cloud.google.com/gke-accelerator": accelerator}
    return {**pod, "spec": {**spec, "nodeSelector": selector}}


def _check_containers(pod: Obj) -> None:
    present = {item.get("name") for item in mappings(mapping(pod.get("spec")).get("containers"))}
    if not present & set(MODEL_CONTAINERS):
        raise PodRefusedError(f"Invalid configuration: cannot find container: {names.MAIN_CONTAINER}")


def _has_initializer(pod: Obj) -> bool:
    spec = mapping(pod.get("spec"))
    if podspec.find(mappings(spec.get("initContainers")), names.STORAGE_INITIALIZER) is not None:
        return True
    volumes: Iterable[Obj] = mappings(spec.get("volumes"))
    return any(text(item.get("name")).startswith((PVC_VOLUME, PROVISION_VOLUME)) for item in volumes)


def _is_ours(pod: Obj) -> bool:
    return names.ISVC_LABEL in mapping(mapping(pod.get("metadata")).get("labels"))


def _annotations(pod: Obj) -> dict[str, str]:
    found = mapping(mapping(pod.get("metadata")).get("annotations"))
    return {key: value for key, value in found.items() if isinstance(value, str)}
