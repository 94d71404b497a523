"""Objects of an S3 bucket (AWS, MinIO, any compatible server) as an ``ObjectStore``, through the minio client.

Where and as whom comes from the environment that the webhook sets (kserve.md 3.4): ``AWS_*``, ``S3_*``, and the
``storage-config`` Secret's ``STORAGE_CONFIG`` with ``STORAGE_OVERRIDE_CONFIG``. Errors are told apart by S3's code:
wrong keys, missing bucket or key, and a key that may not be read are three different sentences.

Invariant: neither key nor token appears in an error; redirects of the client library are off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import urllib3
from minio import Minio
from minio.credentials.providers import IamAwsProvider
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from storage import uri
from storage.errors import Reason, StorageError
from storage.ports import ObjectInfo
from storage.settings import is_true
from storage.stores import connection, responses

AUTH_CODES = frozenset(
    {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired",
     "AuthorizationHeaderMalformed", "AuthFailure", "RequestTimeTooSkewed", "InvalidClientTokenId"}
)  # fmt: skip
MISSING_CODES = frozenset(
    {"NoSuchKey", "NoSuchBucket", "NoSuchObject", "NotFound", "ResourceNotFound", "NoSuchVersion"}
)
BUSY_CODES = frozenset(
    {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Throttling", "RetryHead"}
)


AWS = "s3.amazonaws.com"
CONFIG_MEMBERS = (
    ("region", "region"),
    ("access_key_id", "key"),
    ("secret_access_key", "secret"),
    ("session_token", "token"),
    ("ca_bundle", "ca_file"),
    ("certificate", "ca_text"),
)
"""Members of a ``storage-config`` entry and what they are here; ``certificate`` is the PEM text itself."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the buckets are and who asks. ``key`` "" with no provider means anonymous."""

    endpoint: str = AWS
    is_secure: bool = True
    region: str | None = None
    key: str = ""
    secret: str = ""
    token: str | None = None
    verifies: bool = True
    ca_file: str = ""
    ca_text: str = ""
    is_virtual_host: bool = False
    is_accelerated: bool = False
    has_provider: bool = False
    """Ask the machine's identity (web identity token, container credentials) where no key is given."""

    def __repr__(self) -> str:
        return f"Access(endpoint={self.endpoint!r})"


def access(environ: Mapping[str, str]) -> Access:
    """How to reach S3 from the environment. Raises ``StorageError`` (invalid) for a STORAGE_CONFIG that is not JSON."""
    endpoint = (
        environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or environ.get("S3_ENDPOINT")
        or ""
    )
    found = Access(
        is_secure=is_true(environ.get("S3_USE_HTTPS") or "1"),
        region=environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION") or None,
        key=environ.get("AWS_ACCESS_KEY_ID", ""),
        secret=environ.get("AWS_SECRET_ACCESS_KEY", ""),
        token=environ.get("AWS_SESSION_TOKEN") or None,
        verifies=is_true(environ.get("S3_VERIFY_SSL") or "1"),
        ca_file=connection.ca_file(environ),
        is_virtual_host=is_true(
            environ.get("S3_USER_VIRTUAL_BUCKET") or environ.get("S3_USE_VIRTUAL_BUCKET") or ""
        ),
        is_accelerated=is_true(environ.get("S3_USE_ACCELERATE") or ""),
        has_provider=any(
            name in environ
            for name in ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        ),
    )
    config = _config(environ, "STORAGE_CONFIG") | _config(environ, "STORAGE_OVERRIDE_CONFIG")
    if config.get("type", "s3") == "s3":
        endpoint = str(config.get("endpoint_url") or endpoint)
        found = _with_config(found, config)
    if is_true(environ.get("awsAnonymousCredential", "")) or is_true(str(config.get("anonymous", ""))):
        found = replace(found, key="", secret="", token=None, has_provider=False)
    return _with_endpoint(found, endpoint) if endpoint else found


def _with_config(found: Access, config: Mapping[str, Any]) -> Access:
    changes: dict[str, Any] = {}
    for name, key in CONFIG_MEMBERS:
        if config.get(name):
            changes[key] = str(config[name])
    if "verify_ssl" in config:
        changes["verifies"] = is_true(str(config["verify_ssl"]))
    return replace(found, **changes)


def _with_endpoint(found: Access, endpoint: str) -> Access:
    """A scheme in the endpoint overrides S3_USE_HTTPS."""
    if "://" not in endpoint:
        endpoint = ("https://" if found.is_secure else "http://") + endpoint
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.path.strip("/"):
        raise StorageError(
            Reason.INVALID,
            f"S3 endpoint {uri.shown(endpoint)} is not a URL of the form http(s)://HOST[:PORT]",
        )
    return replace(found, endpoint=parts.netloc, is_secure=parts.scheme == "https")


def _config(environ: Mapping[str, str], name: str) -> dict[str, Any]:
    text = environ.get(name, "")
    if not text:
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise StorageError(Reason.INVALID, f"environment variable {name} is not a JSON object")
    return value


class S3Store:
    """One bucket; keys as in S3. Thread-safe."""

    def __init__(
        self, bucket: str, found: Access, policy: connection.Policy, proxy: str | None = None
    ) -> None:
        self._bucket = bucket
        trust = replace(policy, ca_file=found.ca_file, ca_text=found.ca_text)
        policy = replace(trust, verifies=found.verifies)
        pools = connection.through_proxy(proxy, policy) if proxy else connection.manager(policy)
        try:
            self._client = Minio(
                found.endpoint,
                access_key=found.key or None,
                secret_key=found.secret or None,
                session_token=found.token,
                secure=found.is_secure,
                region=found.region or "us-east-1",
                http_client=pools,
                credentials=IamAwsProvider() if found.has_provider and not found.key else None,
            )
        except (ValueError, TypeError) as error:
            raise StorageError(Reason.INVALID, f"S3 settings are wrong: {_line(error)}") from error
        if found.is_virtual_host:
            self._client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        if found.is_accelerated and found.endpoint == AWS:
            self._client.enable_accelerate_endpoint()  # type: ignore[no-untyped-call]

    def stat(self, key: str) -> ObjectInfo:
        with self._asking(key):
            try:
                found = self._client.stat_object(self._bucket, key)
            except S3Error as error:
                if error.code == "AccessDenied":
                    # a refused HEAD has no body, so a wrong key looks like a missing right: a GET is told which
                    self._client.get_object(self._bucket, key, length=1).close()
                raise
        return ObjectInfo(
            key, uri.relative(key.rpartition("/")[2], "key"), found.size or 0, _quoted(found.etag)
        )

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        folder = prefix.rstrip("/") + "/" if prefix.strip("/") else ""
        with self._asking(prefix):
            for found in self._client.list_objects(self._bucket, folder, recursive=True):
                key = found.object_name or ""
                if key.endswith("/") or found.is_dir:
                    continue
                path = uri.relative(key.removeprefix(folder), "key")
                yield ObjectInfo(key, path, found.size or 0, _quoted(found.etag))

    @contextmanager
    def open_range(self, info: ObjectInfo, start: int) -> Iterator[responses.ResponseBody]:
        headers: dict[str, str | list[str] | tuple[str]] = {"x-amz-checksum-mode": "ENABLED"}
        if info.version:
            headers["If-Match"] = info.version
        if start and start == info.size_bytes:
            start = 0  # nothing is left to ask for, and an empty range is an error in S3
        with self._asking(info.key):
            response = self._client.get_object(self._bucket, info.key, offset=start, request_headers=headers)
        try:
            begin = start if response.status == 206 else 0
            found = responses.digests(response.headers, response.status == 200)
            yield responses.ResponseBody(response, begin, (*found, *responses.etag_digest(response.headers)))
        finally:
            response.close()

    @contextmanager
    def _asking(self, key: str) -> Iterator[None]:
        """Turn the client's exceptions into reasons."""
        shown = uri.shown(f"s3://{self._bucket}/{key}")
        try:
            yield
        except S3Error as error:
            raise _meaning(error, shown) from error
        except ServerError as error:
            raise responses.refused(error.status_code, shown) from error
        except InvalidResponseError as error:
            raise StorageError(Reason.UNAVAILABLE, f"{shown}: the endpoint does not speak S3") from error
        except MinioException as error:
            raise StorageError(Reason.UNAVAILABLE, f"{shown}: {type(error).__name__}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            failure = responses.broken(error)
            raise StorageError(failure.reason, f"{shown}: {failure}") from error
        except ValueError as error:
            raise StorageError(Reason.INVALID, f"{shown}: {_line(error)}") from error


def _meaning(error: S3Error, shown: str) -> StorageError:
    code = error.code or ""
    if code == "AuthorizationHeaderMalformed":
        return StorageError(
            Reason.AUTH_FAILED, f"{shown}: the bucket is in another region: set AWS_DEFAULT_REGION"
        )
    if code in AUTH_CODES:
        return StorageError(
            Reason.AUTH_FAILED, f"{shown}: authentication failed ({code}): check the access key and secret"
        )
    if code in MISSING_CODES:
        what = "the bucket does not exist" if code == "NoSuchBucket" else "not found"
        return StorageError(Reason.NOT_FOUND, f"{shown}: {what} ({code})")
    if code in ("AccessDenied", "AllAccessDisabled", "AccountProblem"):
        return StorageError(
            Reason.ACCESS_DENIED, f"{shown}: access denied ({code}): the credentials may not read this"
        )
    if code == "PreconditionFailed":
        return StorageError(Reason.CHANGED, f"{shown}: changed while it was being downloaded")
    if code in BUSY_CODES:
        return StorageError(Reason.UNAVAILABLE, f"{shown}: the server answered {code}")
    status = getattr(error.response, "status", 0) or 0
    return (
        responses.refused(status, f"{shown} ({code})")
        if status >= 400
        else StorageError(Reason.INVALID, f"{shown}: {code}")
    )


def _quoted(etag: str | None) -> str:
    return f'"{etag.strip(chr(34))}"' if etag else ""


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
