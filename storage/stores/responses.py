"""What HTTP responses of any store have in common: a body read as it comes, checksums, and what a status means.

Used by ``http`` and ``s3``. Invariant: a digest is returned only when it covers the whole object.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping

import urllib3

from storage.errors import Reason, StorageError
from storage.ports import Digest

CHUNK_BYTES = 1024 * 1024
_LENGTHS = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64, "crc32": 4}
_MEMBER = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*:?([A-Za-z0-9+/=]+):?\s*")
_ETAG_MD5 = re.compile(r'"?([0-9a-f]{32})"?')


class ResponseBody:
    """The bytes of a streamed response."""

    def __init__(self, response: urllib3.BaseHTTPResponse, start: int, digests: tuple[Digest, ...]) -> None:
        self.start = start
        self.digests = digests
        self._response = response

    def read(self) -> bytes:
        try:
            return self._response.read1(CHUNK_BYTES, decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise broken(error) from error


def broken(error: Exception) -> StorageError:
    """A transport failure as a retryable ``StorageError``; the library's text may hold a URL, so it is not repeated."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, StorageError):
            return cause
        cause = cause.__cause__ or cause.__context__
    match error:
        case urllib3.exceptions.NameResolutionError():
            what = "the host name is not known"
        case urllib3.exceptions.NewConnectionError():
            what = "nothing accepts connections there"
        case urllib3.exceptions.ConnectTimeoutError():
            what = "the connection was not accepted in time"
        case urllib3.exceptions.ReadTimeoutError() | TimeoutError():
            return StorageError(Reason.STALLED, "the server sent nothing for the whole read timeout")
        case urllib3.exceptions.SSLError():
            what = "the TLS connection failed (certificate not trusted, or not TLS)"
        case _:
            what = f"the connection broke ({type(error).__name__})"
    return StorageError(Reason.UNAVAILABLE, what)


def refused(status: int, shown: str) -> StorageError:
    """The failure that an HTTP status means for ``shown``."""
    if status == 401:
        return StorageError(
            Reason.AUTH_FAILED, f"{shown}: authentication failed (HTTP 401): check the credentials"
        )
    if status == 403:
        return StorageError(Reason.ACCESS_DENIED, f"{shown}: access denied (HTTP 403)")
    if status in (404, 410):
        return StorageError(Reason.NOT_FOUND, f"{shown}: not found (HTTP {status})")
    if status == 412:
        return StorageError(Reason.CHANGED, f"{shown}: changed while it was being downloaded")
    if status in (408, 425, 429) or status >= 500:
        return StorageError(Reason.UNAVAILABLE, f"{shown}: the server answered HTTP {status}")
    return StorageError(Reason.INVALID, f"{shown}: the server answered HTTP {status}")


def digests(headers: Mapping[str, str], is_whole: bool) -> tuple[Digest, ...]:
    """Checksums of the whole object in response headers. ``is_whole``: the body is not a range."""
    found: list[Digest] = []
    for algorithm in ("sha256", "sha1", "crc32"):
        found += _base64(algorithm, headers.get(f"x-amz-checksum-{algorithm}", ""))
    for name in ("Repr-Digest", *(("Digest", "Content-Digest") if is_whole else ())):
        for key, value in _MEMBER.findall(headers.get(name, "")):
            algorithm = {"sha": "sha1", "unixsum": ""}.get(key.lower(), key.lower().replace("-", ""))
            found += _base64(algorithm, value)
    if is_whole:
        found += _base64("md5", headers.get("Content-MD5", ""))
    return tuple(found)


def etag_digest(headers: Mapping[str, str]) -> tuple[Digest, ...]:
    """S3's ETag as MD5 of the object: single part and no KMS or customer key, where the ETag is something else."""
    if "kms" in headers.get("x-amz-server-side-encryption", "") or any(
        name.lower().startswith("x-amz-server-side-encryption-customer") for name in headers
    ):
        return ()
    match = _ETAG_MD5.fullmatch(headers.get("ETag", ""))
    return (Digest("md5", match.group(1)),) if match else ()


def _base64(algorithm: str, value: str) -> list[Digest]:
    """A digest of the right length, else nothing: composite checksums (``...-3``) cover parts, not the object."""
    try:
        raw = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return []
    return [Digest(algorithm, raw.hex())] if raw and _LENGTHS.get(algorithm) == len(raw) else []
