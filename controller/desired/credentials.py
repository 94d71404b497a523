"""Credentials for the storage initializer, from the Secrets of a ServiceAccount or from the ``storage`` spec's Secret.

Called by ``desired.podmutation``. Values stay in the Secret wherever the environment can refer to it by key; only
endpoints and flags, which decide other variables, are read. Source: KServe behaviour page section 3.4, section 6,
items 19 and 20. Left out: IAM role annotations of other clouds than AWS. Invariant: a Secret is recognised by the
first matching rule only.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.desired.configuration import StorageConfig
from wakeful.core.api import isvc_names as names
from wakeful.core.api.isvc_problem import Obj, mapping, mappings, text

EKS_ROLE = "eks.amazonaws.com/role-arn"
GCS_MOUNT = "/var/secrets/"
HDFS_MOUNT = "/var/secrets/kserve-hdfscreds"
MOUNTED = "/var/run/wakeful/credentials"
SPEC_TYPES = ("s3", "hdfs", "webhdfs")

AZURE_VARIABLES = ("AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")
PLAIN_VARIABLES = ("AZURE_ACCESS_TOKEN", "AZURE_STORAGE_ACCESS_KEY", "HF_TOKEN", "MODELSCOPE_API_TOKEN")

S3_SETTINGS = (
    ("s3-verifyssl", "S3_VERIFY_SSL", "s3VerifySSL"),
    ("s3-useanoncredential", "awsAnonymousCredential", "s3UseAnonymousCredential"),
    ("s3-region", "AWS_DEFAULT_REGION", "s3Region"),
    ("s3-usevirtualbucket", "S3_USER_VIRTUAL_BUCKET", "s3UseVirtualBucket"),
    ("s3-useaccelerate", "S3_USE_ACCELERATE", "s3UseAccelerate"),
    ("s3-cabundle", "AWS_CA_BUNDLE", "s3CABundle"),
    ("s3-cabundle-configmap", "AWS_CA_BUNDLE_CONFIGMAP", "s3CABundleConfigMap"),
)
"""Annotation (below ``serving.kserve.io/``), variable (KServe's spelling), key of ``credentials.s3``."""


class CredentialsError(Exception):
    """The credentials cannot be used; the text is one sentence naming Secret and key."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the storage initializer's container gets. ``uri`` is set where the Secret decides the source."""

    env: tuple[Obj, ...] = ()
    volumes: tuple[Obj, ...] = ()
    mounts: tuple[Obj, ...] = ()
    uri: str = ""


@dataclass(frozen=True, slots=True)
class SpecSource:
    """The ``storage`` spec as the controller's annotations carry it."""

    path: str
    key: str = ""
    parameters: Obj = field(default_factory=dict)


def secret_names(account: Obj | None, override: str) -> list[str]:
    """The Secrets to read for a ServiceAccount; ``override`` (an annotation) replaces the account's list."""
    if override:
        return [override]
    return [text(item.get("name")) for item in mappings(mapping(account).get("secrets")) if item.get("name")]


def from_account(account: Obj | None, secrets: Iterable[Obj], config: StorageConfig) -> Credentials:
    """Credentials of every Secret in ``secrets``, after those of the account's own annotations."""
    annotations = mapping(mapping(mapping(account).get("metadata")).get("annotations"))
    env: list[Obj] = []
    volumes: list[Obj] = []
    mounts: list[Obj] = []
    if annotations.get(EKS_ROLE):
        env += _s3_settings(annotations, {}, config.s3)
    for secret in secrets:
        found = _from_secret(secret, config)
        replaced = {item["name"] for item in found.env}
        env = [item for item in env if item["name"] not in replaced] + list(found.env)
        volumes += found.volumes
        mounts += found.mounts
    return Credentials(tuple(env), tuple(volumes), tuple(mounts))


def _from_secret(secret: Obj, config: StorageConfig) -> Credentials:
    name = text(secret["metadata"]["name"])
    data = mapping(secret.get("data"))
    s3_key = next((key for key in _s3_key_names(config) if key in data), None)
    if s3_key is not None:
        return Credentials(tuple(_s3(secret, name, data, s3_key, config)))
    if config.gcs_file in data:
        return Credentials(
            ({"name": "GOOGLE_APPLICATION_CREDENTIALS", "value": GCS_MOUNT + config.gcs_file},),
            ({"name": "user-gcp-sa", "secret": {"secretName": name}},),
            ({"name": "user-gcp-sa", "mountPath": GCS_MOUNT, "readOnly": True},),
        )
    if "AZ_CLIENT_ID" in data:
        pairs = [(variable, variable.replace("AZURE_", "AZ_")) for variable in AZURE_VARIABLES]
        return Credentials(tuple(_reference(variable, name, key) for variable, key in pairs))
    if "AZURE_CLIENT_ID" in data:
        return Credentials(tuple(_reference(variable, name, variable) for variable in AZURE_VARIABLES))
    if "https-host" in data:
        host = _decode(secret, "https-host").strip()
        return Credentials((_reference(f"{host}-headers", name, "headers"),) if "headers" in data else ())
    if "HDFS_NAMENODE" in data:
        volume = {"name": "hdfs-secrets", "secret": {"secretName": name}}
        mount = {"name": "hdfs-secrets", "mountPath": HDFS_MOUNT, "readOnly": True}
        return Credentials((), (volume,), (mount,))
    return Credentials(tuple(_reference(key, name, key) for key in PLAIN_VARIABLES if key in data))


def _s3_key_names(config: StorageConfig) -> tuple[str, ...]:
    configured = text(config.s3.get("s3SecretAccessKeyName"))
    return tuple(key for key in (configured, "AWS_SECRET_ACCESS_KEY", "awsSecretAccessKey") if key)


def _s3(secret: Obj, name: str, data: Obj, s3_key: str, config: StorageConfig) -> list[Obj]:
    configured = text(config.s3.get("s3AccessKeyIDName"))
    fallback = "awsAccessKeyID" if s3_key == "awsSecretAccessKey" else "AWS_ACCESS_KEY_ID"
    id_key = configured if configured and configured in data else fallback
    env = [_reference("AWS_ACCESS_KEY_ID", name, id_key), _reference("AWS_SECRET_ACCESS_KEY", name, s3_key)]
    known = {key: _decode(secret, key) for key in data if key not in (id_key, s3_key)}
    return env + _s3_settings(mapping(secret["metadata"].get("annotations")), known, config.s3)


def _s3_settings(annotations: Obj, data: Mapping[str, str], config: Obj) -> list[Obj]:
    def value_of(annotation: str, variable: str, key: str) -> str:
        return str(
            annotations.get(f"{names.GROUP}/{annotation}") or data.get(variable) or config.get(key) or ""
        )

    env: list[Obj] = []
    endpoint = value_of("s3-endpoint", "S3_ENDPOINT", "s3Endpoint")
    use_https = value_of("s3-usehttps", "S3_USE_HTTPS", "s3UseHttps")
    if endpoint:
        scheme, separator, rest = endpoint.partition("://")
        if separator:
            use_https = "1" if scheme == "https" else "0"
            endpoint = rest
        scheme = "http" if use_https == "0" else "https"
        if use_https:
            env.append({"name": "S3_USE_HTTPS", "value": use_https})
        env.append({"name": "S3_ENDPOINT", "value": endpoint})
        env.append({"name": "AWS_ENDPOINT_URL", "value": f"{scheme}://{endpoint}"})
    elif use_https:
        env.append({"name": "S3_USE_HTTPS", "value": use_https})
    for annotation, variable, key in S3_SETTINGS:
        value = value_of(annotation, variable, key)
        if value:
            env.append({"name": variable, "value": value})
    return env


def from_mounts(secrets: Iterable[str], account: Obj | None, config: StorageConfig) -> Credentials:
    """Secrets that may not be read here: the pod mounts them, and the storage initializer recognises them itself.

    Settings come from the annotations of the ServiceAccount and the operator's configuration; keys of a Secret win.
    """
    annotations = mapping(mapping(mapping(account).get("metadata")).get("annotations"))
    env = [{"name": "WAKEFUL_CREDENTIALS", "value": MOUNTED}, *_s3_settings(annotations, {}, config.s3)]
    volumes, mounts = [], []
    for index, name in enumerate(secrets):
        volumes.append({"name": f"wakeful-credentials-{index}", "secret": {"secretName": name}})
        path = f"{MOUNTED}/{name}"
        mounts.append({"name": f"wakeful-credentials-{index}", "mountPath": path, "readOnly": True})
    return Credentials(tuple(env), tuple(volumes), tuple(mounts))


def from_unread_spec(source: SpecSource, secret_name: str) -> Credentials:
    """As ``from_spec`` where the Secret may not be read: its key goes to the initializer, which finds type and bucket.

    ``uri`` is "" where only the Secret's JSON can tell the source.
    """
    type_, bucket = text(source.parameters.get("type")), text(source.parameters.get("bucket"))
    key = source.key or (f"default_{type_}" if type_ else "default")
    reference = {"name": secret_name, "key": key, "optional": not source.key}
    env: list[Obj] = [{"name": "STORAGE_CONFIG", "valueFrom": {"secretKeyRef": reference}}]
    if source.parameters:
        env.append(
            {"name": "STORAGE_OVERRIDE_CONFIG", "value": json.dumps(source.parameters, sort_keys=True)}
        )
    uri = f"s3://{bucket}/{source.path}" if type_ == "s3" and bucket else ""
    return Credentials(tuple(env), uri=uri)


def from_spec(source: SpecSource, secret_name: str, secret: Obj | None) -> Credentials:
    """Source and credentials of a ``storage`` spec. Raises ``CredentialsError``."""
    key, entry = _spec_entry(source, secret_name, secret)
    type_ = text(source.parameters.get("type")) or text(entry.get("type"))
    if type_ not in SPEC_TYPES:
        where = f"key {key} of Secret {secret_name}" if key else "storage.parameters.type"
        found = f"{type_!r}" if type_ else "no type"
        raise CredentialsError(f"storage: {found} given by {where}; use one of {', '.join(SPEC_TYPES)}")
    bucket = text(source.parameters.get("bucket")) or text(entry.get("bucket"))
    if type_ == "s3" and not bucket:
        raise CredentialsError(
            "storage: type s3 needs a bucket, in storage.parameters.bucket or in the Secret's JSON"
        )
    uri = f"s3://{bucket}/{source.path}" if type_ == "s3" else f"{type_}://{source.path}"
    env: list[Obj] = []
    if key:
        env.append(_reference("STORAGE_CONFIG", secret_name, key))
    if source.parameters:
        env.append(
            {"name": "STORAGE_OVERRIDE_CONFIG", "value": json.dumps(source.parameters, sort_keys=True)}
        )
    if entry.get("cabundle_configmap"):
        env.append({"name": "AWS_CA_BUNDLE_CONFIGMAP", "value": text(entry["cabundle_configmap"])})
    return Credentials(tuple(env), uri=uri)


def _spec_entry(source: SpecSource, secret_name: str, secret: Obj | None) -> tuple[str, Obj]:
    """The key of the Secret that applies ("" for none) and its JSON."""
    data = mapping(mapping(secret).get("data"))
    type_ = text(source.parameters.get("type"))
    key = source.key or (f"default_{type_}" if type_ else "default")
    if key not in data:
        if source.key:
            raise CredentialsError(
                f"storage: the Secret {secret_name} has no key {key}; add it or correct storage.key"
            )
        return "", {}
    try:
        entry = json.loads(_decode(mapping(secret), key))
    except ValueError as error:
        raise CredentialsError(f"storage: key {key} of Secret {secret_name} is not JSON: {error}") from error
    if not isinstance(entry, dict):
        raise CredentialsError(f"storage: key {key} of Secret {secret_name} must be a JSON object")
    return key, entry


def _reference(variable: str, secret: str, key: str) -> Obj:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _decode(secret: Obj, key: str) -> str:
    try:
        return base64.b64decode(text(mapping(secret.get("data")).get(key)), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        name = mapping(secret.get("metadata")).get("name")
        raise CredentialsError(f"key {key} of Secret {name} is not readable text") from error
