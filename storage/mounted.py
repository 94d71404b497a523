"""Credentials from Secrets that are mounted as folders, for a controller that may not read Secrets itself.

Called by ``__main__``. A folder below ``WAKEFUL_CREDENTIALS`` is one Secret, a file in it one key; it is recognised by
its keys as KServe's controller would do it (kserve.md 3.4), and becomes the variables the stores read. What KServe takes
from a Secret's annotations cannot be seen from here: the same words as keys (``S3_ENDPOINT``, ``AWS_DEFAULT_REGION``)
say the same. Invariant: a variable is only set where its Secret says something; the rest of the environment stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from storage.errors import Reason, StorageError

FOLDER = "WAKEFUL_CREDENTIALS"
SPEC_SCHEME = "storage-spec://"
GCS_FILE = "gcloud-application-credentials.json"
S3_PAIRS = (("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"), ("awsSecretAccessKey", "awsAccessKeyID"))
S3_SETTINGS = (
    "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL",
    "S3_ENDPOINT",
    "S3_USE_HTTPS",
    "AWS_DEFAULT_REGION",
    "S3_VERIFY_SSL",
    "awsAnonymousCredential",
    "S3_USER_VIRTUAL_BUCKET",
    "S3_USE_ACCELERATE",
    "AWS_CA_BUNDLE",
)
AZURE = ("SUBSCRIPTION_ID", "TENANT_ID", "CLIENT_ID", "CLIENT_SECRET")
PLAIN = ("AZURE_ACCESS_TOKEN", "AZURE_STORAGE_ACCESS_KEY", "HF_TOKEN", "MODELSCOPE_API_TOKEN")
HINT = (
    "the Secrets {names} are mounted, since the controller may not read them: what only their annotations say "
    "(serving.kserve.io/s3-endpoint and the like) is not seen. Write it as keys of the Secret (S3_ENDPOINT, "
    "S3_USE_HTTPS, AWS_DEFAULT_REGION) or as annotations of the ServiceAccount"
)


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """``environ`` and what the mounted Secrets say. Raises ``StorageError`` where one cannot be read."""
    result = dict(environ)
    for folder in _folders(environ):
        result |= _from_secret(folder)
    return result


def hint(environ: Mapping[str, str]) -> str:
    """What to try when a download from S3 fails and its endpoint was told nowhere; "" otherwise."""
    folders = _folders(environ)
    is_told = any(environ.get(name) for name in ("S3_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"))
    if not folders or is_told or not environ.get("AWS_SECRET_ACCESS_KEY"):
        return ""
    return HINT.format(names=", ".join(item.name for item in folders))


def resolve(uri: str, environ: Mapping[str, str]) -> str:
    """The source of a ``storage`` spec whose type only its Secret knows. Raises ``StorageError`` (invalid)."""
    if not uri.startswith(SPEC_SCHEME):
        return uri
    path = uri.removeprefix(SPEC_SCHEME)
    entry = _json(environ, "STORAGE_CONFIG") | _json(environ, "STORAGE_OVERRIDE_CONFIG")
    type_, bucket = str(entry.get("type") or ""), str(entry.get("bucket") or "")
    if type_ in ("hdfs", "webhdfs"):
        return f"{type_}://{path}"
    if type_ != "s3":
        found = f"type {type_!r}" if type_ else "no type (or the Secret has no such key)"
        raise StorageError(
            Reason.INVALID, f"storage: the Secret's JSON names {found}; use s3, hdfs or webhdfs"
        )
    if not bucket:
        raise StorageError(
            Reason.INVALID, "storage: type s3 needs a bucket, in storage.parameters or in the Secret's JSON"
        )
    return f"s3://{bucket}/{path}"


def _folders(environ: Mapping[str, str]) -> list[Path]:
    root = environ.get(FOLDER)
    if not root:
        return []
    try:
        return sorted(item for item in Path(root).iterdir() if item.is_dir())
    except OSError as error:
        raise StorageError(Reason.INVALID, f"{FOLDER}={root} cannot be read: {error.strerror}") from error


def _from_secret(folder: Path) -> dict[str, str]:
    """The first kind of credentials that the keys fit, as a controller that sees the Secret does it."""
    for secret, identity in S3_PAIRS:
        if _text(folder, secret) is not None:
            found = {name: _text(folder, name) or "" for name in S3_SETTINGS}
            found |= {"AWS_SECRET_ACCESS_KEY": _text(folder, secret) or ""}
            found |= {"AWS_ACCESS_KEY_ID": _text(folder, identity) or ""}
            return {name: value for name, value in found.items() if value}
    if (folder / GCS_FILE).is_file():
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(folder / GCS_FILE)}
    for prefix in ("AZ_", "AZURE_"):
        if _text(folder, f"{prefix}CLIENT_ID") is not None:
            values = {f"AZURE_{name}": _text(folder, prefix + name) for name in AZURE}
            return {name: value for name, value in values.items() if value is not None}
    host = _text(folder, "https-host")
    if host is not None:
        headers = _text(folder, "headers")
        return {f"{host}-headers": headers} if headers is not None else {}
    plain = {name: _text(folder, name) for name in PLAIN}
    return {name: value for name, value in plain.items() if value is not None}


def _text(folder: Path, key: str) -> str | None:
    try:
        return (folder / key).read_text().strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        message = f"key {key} of the mounted Secret {folder.name} is not readable text"
        raise StorageError(Reason.INVALID, message) from error


def _json(environ: Mapping[str, str], name: str) -> dict[str, object]:
    try:
        value = json.loads(environ.get(name) or "{}")
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StorageError(Reason.INVALID, f"{name} (from the storage Secret) must be a JSON object")
    return value
