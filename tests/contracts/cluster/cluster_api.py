"""A Kubernetes API as the contract suite sees it: HTTPS, JSON, a token or a client certificate. Nothing else.

``read`` makes an ``Api`` from any kubeconfig. Written on ``http.client`` so that no client library hides a status
code or a header. Invariant: every call and every watch has a deadline.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import ssl
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

Obj = dict[str, Any]
T = TypeVar("T")
Define = Callable[..., Obj]
"""The fixture ``define``: changes of a definition to the established definition."""
KUBECONFIG = os.environ.get("WAKEFUL_CONTRACT_KUBECONFIG", "")
"""Another cluster to hold to the contract."""
CALL_S = 30.0
JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """One complete answer."""

    status: int
    headers: list[tuple[str, str]]
    raw: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def reason(self) -> str:
        """The reason of a Status, empty for another body."""
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    def causes(self) -> dict[str, str]:
        """Reason by field of a 422."""
        return {item["field"]: item["reason"] for item in self.body["details"].get("causes", ())}

    def header(self, name: str) -> str:
        return ", ".join(value for key, value in self.headers if key.lower() == name.lower())

    def ok(self) -> Obj:
        """The body of a success; fails the test otherwise."""
        assert 200 <= self.status < 300, f"{self.status}: {self.raw[:500]!r}"
        found: Obj = self.body
        return found

    def fails(self, status: int, reason: str) -> Answer:
        """Assert a complete Status with this code and reason."""
        assert self.status == status, f"{self.status} instead of {status}: {self.raw[:500]!r}"
        body = self.body
        assert (body["kind"], body["apiVersion"], body["status"]) == ("Status", "v1", "Failure")
        assert body["code"] == status
        assert body.get("reason") == reason, body
        assert body["message"]
        return self


@dataclass
class Watch:
    """An open watch; ``next`` reads one event, ``until`` reads to one that fits."""

    response: http.client.HTTPResponse
    status: int
    seen: list[Obj] = field(default_factory=list)

    def next(self) -> Obj:
        """The next event. Raises ``EOFError`` at the end of the stream, ``TimeoutError`` when none comes."""
        line = self.response.readline()
        if not line:
            raise EOFError
        event: Obj = json.loads(line)
        self.seen.append(event)
        return event

    def take(self, count: int) -> list[tuple[str, str]]:
        """(type, name) of the next events, bookmarks left out."""
        found: list[tuple[str, str]] = []
        while len(found) < count:
            event = self.next()
            if event["type"] != "BOOKMARK":
                found.append((event["type"], event["object"]["metadata"]["name"]))
        return found

    def until(self, fits: Callable[[Obj], bool]) -> Obj:
        while True:
            event = self.next()
            if fits(event):
                return event


@dataclass
class Api:
    """One API server."""

    host: str
    port: int
    tls: ssl.SSLContext
    headers: dict[str, str]
    is_embedded: bool
    data_dir: Path | None = None
    """The data directory of the embedded server; None for another cluster."""
    base: str = ""
    no_identity: ssl.SSLContext | None = None
    """TLS without the client certificate, which Kubernetes prefers to a token."""
    _connection: http.client.HTTPSConnection | None = None

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        media: str = JSON,
        headers: dict[str, str] | None = None,
        **query: str,
    ) -> Answer:
        """One request on a kept connection. ``body`` is JSON, or bytes as they are."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Accept": JSON, **self.headers, **(headers or {})}
        if data is not None:
            sent["Content-Type"] = media
        target = self.base + path + (f"?{urllib.parse.urlencode(query)}" if query else "")
        for is_last in (False, True):
            if self._connection is None:
                self._connection = self.connect()
            try:
                self._connection.request(method, target, data, {k: v for k, v in sent.items() if v})
                response = self._connection.getresponse()
                answer = Answer(response.status, response.getheaders(), response.read())
            except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError):
                self.close()
                if is_last:
                    raise
                continue
            except BaseException:  # an answer that did not come: what comes late belongs to no later call
                self.close()
                raise
            if response.will_close:
                self.close()
            return answer
        raise AssertionError("unreachable")

    def connect(self) -> http.client.HTTPSConnection:
        """A connection of one's own."""
        return http.client.HTTPSConnection(self.host, self.port, timeout=CALL_S, context=self.tls)

    def without_identity(self) -> Api:
        """The same server, asked by nobody in particular; close it."""
        tls = self.no_identity or self.tls
        return Api(self.host, self.port, tls, {}, self.is_embedded, self.data_dir, self.base)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, path: str, **more: Any) -> Answer:
        return self.call("GET", path, **more)

    def post(self, path: str, body: Any, **more: Any) -> Answer:
        return self.call("POST", path, body, **more)

    def put(self, path: str, body: Any, **more: Any) -> Answer:
        return self.call("PUT", path, body, **more)

    def patch(self, path: str, body: Any, media: str = "application/merge-patch+json", **more: Any) -> Answer:
        return self.call("PATCH", path, body, media=media, **more)

    def delete(self, path: str, body: Any = None, **more: Any) -> Answer:
        return self.call("DELETE", path, body, **more)

    @contextmanager
    def watch(
        self, path: str, *, within_s: float = 10.0, headers: dict[str, str] | None = None, **query: str
    ) -> Iterator[Watch]:
        """A watch on ``path``; each event must come within ``within_s``."""
        connection = self.connect()
        try:
            target = f"{self.base}{path}?{urllib.parse.urlencode({'watch': 'true', **query})}"
            connection.request("GET", target, headers={"Accept": JSON, **self.headers, **(headers or {})})
            response = connection.getresponse()
            assert connection.sock is not None
            connection.sock.settimeout(within_s)
            yield Watch(response, response.status)
        finally:
            connection.close()

    def gone(self, path: str, within_s: float = 20.0) -> None:
        """Wait until ``path`` is 404."""
        eventually(lambda: self.get(path).status == 404, f"{path} is still there", within_s)


def eventually(check: Callable[[], T], text: str, within_s: float = 20.0) -> T:
    """Await a truthy result, with a deadline."""
    deadline = time.monotonic() + within_s
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, text
        time.sleep(0.02)


def read(path: Path, data_dir: Path | None) -> Api:
    """The API of a kubeconfig's current context."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    url = urllib.parse.urlsplit(cluster["server"])
    tls, plain = (
        ssl.create_default_context(
            cafile=cluster.get("certificate-authority"),
            cadata=_decoded(cluster, "certificate-authority-data"),
        )
        for _ in range(2)
    )
    if user.get("client-certificate-data"):
        _load_chain(tls, user)
    elif user.get("client-certificate"):
        tls.load_cert_chain(user["client-certificate"], user["client-key"])
    headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
    assert url.hostname is not None
    base = url.path.rstrip("/")
    return Api(url.hostname, url.port or 443, tls, headers, data_dir is not None, data_dir, base, plain)


def _named(items: list[Obj], name: str) -> Obj:
    return next(item for item in items if item["name"] == name)


def _decoded(holder: Obj, key: str) -> str | None:
    return base64.b64decode(holder[key]).decode() if holder.get(key) else None


def _load_chain(tls: ssl.SSLContext, user: Obj) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("crt", "key")]
        for path, key in zip(paths, ("client-certificate-data", "client-key-data"), strict=True):
            path.write_text(_decoded(user, key) or "")
        tls.load_cert_chain(*paths)
