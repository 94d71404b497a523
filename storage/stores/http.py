"""One file behind an HTTP(S) URL as an ``ObjectStore``.

Redirects are followed by hand (at most 5): never from https to http, never to a link-local address, never from a
public host to a private one, and ``{host}-headers`` credentials go only to the host they are named after. Content
types are checked as kserve.md 3.9 says, because a login page with status 200 is the commonest wrong "model".
Keys are URLs; ``list`` yields the one file.

Invariant: bytes are asked for as they are stored (``Accept-Encoding: identity``), so ranges and checksums fit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import urllib3

from storage import uri
from storage.errors import Reason, StorageError
from storage.ports import ObjectInfo
from storage.stores import connection, responses

MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)
ZIP_TYPES = ("application/zip", "application/x-zip", "application/octet-stream", "application/zip-compressed")
TAR_TYPES = ("tar", "gzip", "octet-stream", "x-gtar", "x-tgz", "x-compressed")


class HttpStore:
    """GET with ranges; thread-safe."""

    def __init__(self, environ: Mapping[str, str], policy: connection.Policy) -> None:
        self._environ = environ
        self._policy = policy
        self._pools: dict[tuple[bool, str], urllib3.PoolManager] = {}

    def stat(self, key: str) -> ObjectInfo:
        source = uri.parse(key)
        with self._open("HEAD", source, {}) as response:
            status, headers = response.status, response.headers
        if status in (400, 403, 405, 501):  # a presigned URL or a simple server may know GET only
            with self._open("GET", source, {"Range": "bytes=0-0"}) as response:
                status, headers = response.status, response.headers
        if status not in (200, 206):
            raise responses.refused(status, source.shown)
        _check_type(source, headers.get("Content-Type", ""))
        return ObjectInfo(key, uri.relative(source.name, "file"), _size(status, headers), _version(headers))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield self.stat(prefix)

    @contextmanager
    def open_range(self, info: ObjectInfo, start: int) -> Iterator[responses.ResponseBody]:
        source = uri.parse(info.key)
        headers = {}
        if start:
            headers["Range"] = f"bytes={start}-"
            if info.version.startswith('"'):
                headers["If-Range"] = info.version
        with self._open("GET", source, headers) as response:
            if start and response.status == 416:
                raise StorageError(Reason.CHANGED, f"{source.shown}: shorter than before")
            if response.status not in (200, 206):
                raise responses.refused(response.status, source.shown)
            _check_type(source, response.headers.get("Content-Type", ""))
            found = _version(response.headers)
            if info.version and found and found != info.version:
                raise StorageError(Reason.CHANGED, f"{source.shown}: changed while it was being downloaded")
            begin = _range_start(response, source) if response.status == 206 else 0
            yield responses.ResponseBody(
                response, begin, responses.digests(response.headers, response.status == 200)
            )

    @contextmanager
    def _open(
        self, method: str, source: uri.Source, headers: dict[str, str]
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """The response after redirects; its connection is closed at the end."""
        url, policy = source.key, self._policy
        first = urlsplit(url)
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(method, url, policy, headers)
            if response.status not in REDIRECTS:
                try:
                    yield response
                finally:
                    response.close()
                return
            target = response.headers.get("Location", "")
            response.close()
            url = _redirect(url, target, source)
            if not policy.is_public_only and not connection.is_private_host(first.hostname or ""):
                policy = replace(policy, is_public_only=True)
        raise StorageError(Reason.UNAVAILABLE, f"{source.shown}: more than {MAX_REDIRECTS} redirects")

    def _request(
        self, method: str, url: str, policy: connection.Policy, headers: dict[str, str]
    ) -> urllib3.BaseHTTPResponse:
        pool = self._pool(url, policy)
        host = urlsplit(url).hostname or ""
        sent = {
            "Accept-Encoding": "identity",
            "User-Agent": "wakeful-storage",
            **self._credentials(host),
            **headers,
        }
        try:
            return pool.request(method, url, headers=sent, preload_content=False, redirect=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            failure = responses.broken(error)
            raise StorageError(failure.reason, f"{uri.shown(url)}: {failure}") from error

    def _pool(self, url: str, policy: connection.Policy) -> urllib3.PoolManager:
        proxy = connection.proxy_for(url, self._environ) or ""
        key = (policy.is_public_only, proxy)
        if key not in self._pools:
            made = connection.through_proxy(proxy, policy) if proxy else connection.manager(policy)
            self._pools[key] = made
        return self._pools[key]

    def _credentials(self, host: str) -> dict[str, str]:
        """Headers of the environment variable ``{host}-headers``: a JSON object, as the Secret convention has it."""
        text = self._environ.get(f"{host}-headers", "")
        if not text:
            return {}
        try:
            value = json.loads(text)
        except ValueError:
            value = None
        if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
            raise StorageError(
                Reason.INVALID, f"environment variable {host}-headers is not a JSON object of strings"
            )
        return {str(name): str(text) for name, text in value.items()}


def _redirect(url: str, target: str, source: uri.Source) -> str:
    if not target:
        raise StorageError(Reason.UNAVAILABLE, f"{source.shown}: a redirect without Location")
    joined = urljoin(url, target)
    before, after = urlsplit(url), urlsplit(joined)
    if after.scheme not in ("http", "https") or "@" in after.netloc or "\\" in joined:
        raise StorageError(Reason.UNSAFE, f"{source.shown}: refusing a redirect to {uri.shown(joined)}")
    if before.scheme == "https" and after.scheme == "http":
        raise StorageError(Reason.UNSAFE, f"{source.shown}: refusing a redirect from https to http")
    return joined


def _size(status: int, headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "")
    if status == 206:
        text = headers.get("Content-Range", "").rpartition("/")[2]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _version(headers: Mapping[str, str]) -> str:
    """A strong ETag, else Last-Modified, else ''."""
    etag = headers.get("ETag", "")
    return etag if etag.startswith('"') else headers.get("Last-Modified", "")


def _range_start(response: urllib3.BaseHTTPResponse, source: uri.Source) -> int:
    text = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise StorageError(Reason.UNAVAILABLE, f"{source.shown}: HTTP 206 without a usable Content-Range")
    return int(text)


def _check_type(source: uri.Source, content_type: str) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    name = source.name.lower()
    if name.endswith(".zip"):
        is_right = not kind or kind in ZIP_TYPES or "zip" in kind
    elif name.endswith((".tar", ".tar.gz", ".tgz")):
        is_right = not kind or any(part in kind for part in TAR_TYPES)
    else:
        is_right = kind not in ("text/html", "application/xhtml+xml")
    if not is_right:
        raise StorageError(
            Reason.INVALID,
            f"{source.shown}: the server answered Content-Type {kind[:60]!r}, which is not what {name[-40:]!r} is: "
            "is it an error or login page?",
        )
