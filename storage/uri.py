"""Source URIs in parts, and relative paths that cannot leave a folder. Pure; fuzzed by ``tests/fuzz``.

Called by ``initializer`` and the stores. The forms are kserve.md 3.9's; those without a store yet are recognised, so
that the error says "not in this version" instead of "unknown".

Invariant: ``relative`` returns a path without empty, ``.`` or ``..`` segments, or raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from storage.errors import Reason, StorageError

SUPPORTED = ("file://", "/absolute/path", "http://", "https://", "s3://")
LATER = {
    "gs": "Google Cloud Storage",
    "hf": "Hugging Face",
    "modelscope": "ModelScope",
    "hdfs": "HDFS",
    "webhdfs": "HDFS",
    "oci": "OCI images",
    "oci+fetch": "OCI images",
    "oci+native": "OCI images",
    "oci+modelcar": "OCI images",
    "git": "git",
    "azure": "Azure Blob Storage",
}
MAX_CHARACTERS = 4096
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


@dataclass(frozen=True, slots=True)
class Source:
    """A parsed URI. ``location`` is a bucket (s3) or ""; ``key`` a key, a path or the whole URL; ``shown`` is for people."""

    scheme: str
    location: str
    key: str
    shown: str

    @property
    def name(self) -> str:
        """The last segment, for a single file's name."""
        path = urlsplit(self.key).path if self.scheme in ("http", "https") else self.key
        return unquote(path.rstrip("/").rpartition("/")[2])


def parse(uri: str) -> Source:
    """The parts of ``uri``. Raises ``StorageError`` (invalid, unsupported)."""
    if not uri or len(uri) > MAX_CHARACTERS or _CONTROL.search(uri):
        raise StorageError(
            Reason.INVALID, f"the source URI is empty, too long or has control characters; use {_forms()}"
        )
    if uri.startswith("/"):
        return _file(uri, uri)
    scheme, separator, rest = uri.partition("://")
    scheme = scheme.lower()
    if not separator or not re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme):
        raise StorageError(Reason.UNSUPPORTED, f"source {shown(uri)} has no scheme; use {_forms()}")
    match scheme:
        case "file":
            return _file(uri, unquote(rest))
        case "s3":
            return _s3(uri, rest)
        case "http" | "https":
            return _http(uri, scheme)
        case "pvc":
            raise StorageError(
                Reason.UNSUPPORTED,
                f"source {shown(uri)}: a claim is mounted into the pod by the webhook, not downloaded; "
                "this pod was made without it",
            )
        case _ if scheme in LATER:
            raise StorageError(
                Reason.UNSUPPORTED,
                f"source {shown(uri)}: {LATER[scheme]} is not in this version; use {_forms()}",
            )
    raise StorageError(Reason.UNSUPPORTED, f"source {shown(uri)}: unknown scheme {scheme!r}; use {_forms()}")


def _file(uri: str, path: str) -> Source:
    if not path.startswith("/") or "\x00" in path:
        raise StorageError(Reason.INVALID, f"source {shown(uri)}: write file:///ABSOLUTE/PATH")
    if ".." in path.split("/"):
        raise StorageError(Reason.UNSAFE, f"source {shown(uri)}: the path must not contain '..'")
    return Source("file", "", path.rstrip("/") or "/", shown(uri))


def _s3(uri: str, rest: str) -> Source:
    bucket, _, key = rest.partition("/")
    if not _BUCKET.fullmatch(bucket):
        if "@" in bucket:
            raise StorageError(
                Reason.INVALID,
                f"source {shown(uri)} carries a user name: put the keys into a Secret of the ServiceAccount",
            )
        raise StorageError(
            Reason.INVALID, f"source {shown(uri)}: {bucket[:64]!r} is not a bucket; write s3://BUCKET/KEY"
        )
    return Source("s3", bucket, key, shown(uri))


def _http(uri: str, scheme: str) -> Source:
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise StorageError(Reason.INVALID, f"source {shown(uri)} is not a URL: {error}") from error
    if not host or "\\" in uri:
        raise StorageError(
            Reason.INVALID, f"source {shown(uri)} has no host; write {scheme}://HOST/PATH/FILE"
        )
    if parts.username is not None or parts.password is not None:
        raise StorageError(
            Reason.INVALID,
            f"source {shown(uri)} carries a user name: put credentials into a Secret with https-host and headers",
        )
    source = Source(scheme, "", uri, shown(uri))
    if source.name in ("", ".", "..") or "/" in source.name:
        raise StorageError(
            Reason.INVALID, f"source {shown(uri)} names no file: end the path with a file name"
        )
    return source


def shown(uri: str) -> str:
    """``uri`` for people: without user-info, query and fragment, at most 200 characters, no control characters."""
    text = _CONTROL.sub("?", uri[:MAX_CHARACTERS]).partition("?")[0].partition("#")[0]
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "", text
    authority, slash, path = rest.partition("/")
    text = f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"
    return text if len(text) <= 200 else text[:197] + "..."


def relative(path: str, what: str = "object") -> str:
    """``path`` as a safe relative path with ``/``. Raises ``StorageError`` (unsafe)."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or _CONTROL.search(path):
        raise StorageError(Reason.UNSAFE, f"{what} {shown(path)!r} is not a usable relative path")
    if ".." in parts:
        raise StorageError(Reason.UNSAFE, f"{what} {shown(path)!r} leads out of the folder with '..'")
    kept = [part for part in parts if part not in ("", ".")]
    if not kept or any(len(part.encode(errors="surrogatepass")) > 255 for part in kept):
        raise StorageError(Reason.UNSAFE, f"{what} {shown(path)!r} is empty or has a name over 255 bytes")
    return "/".join(kept)


def _forms() -> str:
    return ", ".join(SUPPORTED)
