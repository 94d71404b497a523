"""A small asynchronous client of the Kubernetes API on aiohttp: one object or list a call, raw dictionaries.

Used by every process of the standalone platform (node, Knative controllers, gateway, eventing, command line),
because the official client's watch and caches are thread-based and cost 0.3 s to import in each of them; the
controller's own adapter uses the official client. ``wakeful.kit.informer`` builds caches on ``watch``.

Invariant: every non-2xx answer becomes an ``ApiError`` that carries the server's ``Status``.
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import orjson
import yaml

Obj = dict[str, Any]
"""A Kubernetes object as its JSON."""

PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
WATCH_LINE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Resource:
    """The address of a kind: ``Resource("apps", "v1", "deployments")``; the core group is ``""``."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """The URL path of the collection, of one object, or of its subresource."""
        parts = [f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"]
        if self.namespaced and namespace:
            parts.append(f"namespaces/{namespace}")
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/".join(parts)


PODS = Resource("", "v1", "pods")
SERVICES = Resource("", "v1", "services")
ENDPOINTS = Resource("", "v1", "endpoints")
CONFIGMAPS = Resource("", "v1", "configmaps")
SECRETS = Resource("", "v1", "secrets")
EVENTS = Resource("", "v1", "events")
PVCS = Resource("", "v1", "persistentvolumeclaims")
NAMESPACES = Resource("", "v1", "namespaces", namespaced=False)
NODES = Resource("", "v1", "nodes", namespaced=False)
DEPLOYMENTS = Resource("apps", "v1", "deployments")
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)


class ApiError(Exception):
    """A non-2xx answer of the API server: ``code`` and ``reason`` of its Status, the text is its message."""

    def __init__(self, code: int, status: Obj) -> None:
        super().__init__(str(status.get("message") or f"API server answered {code}"))
        self.code = code
        self.reason = str(status.get("reason") or "")
        self.status = status


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where the API server is and how to speak to it."""

    server: str
    token: str | None
    tls: ssl.SSLContext | None
    namespace: str = "default"


def read_kubeconfig(path: Path, context: str | None = None) -> Credentials:
    """Read a kubeconfig with a token or client certificate in files or data. Raises ``ValueError`` in one sentence."""
    try:
        config = yaml.safe_load(path.read_text())
        name = context or config["current-context"]
        entry = next(c["context"] for c in config["contexts"] if c["name"] == name)
        cluster = next(c["cluster"] for c in config["clusters"] if c["name"] == entry["cluster"])
        user = next(u["user"] for u in config["users"] if u["name"] == entry["user"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, StopIteration) as error:
        raise ValueError(f"{path} is not a usable kubeconfig: {error!r}") from error
    tls = _tls(cluster, user) if str(cluster["server"]).startswith("https") else None
    return Credentials(
        cluster["server"].rstrip("/"), user.get("token"), tls, entry.get("namespace", "default")
    )


def _tls(cluster: Obj, user: Obj) -> ssl.SSLContext:
    data = cluster.get("certificate-authority-data")
    authority = base64.b64decode(data).decode() if data else None
    context = ssl.create_default_context(cafile=cluster.get("certificate-authority"), cadata=authority)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if user.get("client-certificate"):
        context.load_cert_chain(user["client-certificate"], user.get("client-key"))
    elif user.get("client-certificate-data"):
        _load_pair(context, user["client-certificate-data"], user.get("client-key-data") or "")
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """From base64, as kind and kubeadm write it: OpenSSL reads files only, so there is one for a moment."""
    with tempfile.NamedTemporaryFile(prefix="wakeful-client-") as pair:  # made readable for this user alone
        pair.write(base64.b64decode(certificate) + b"\n" + base64.b64decode(key))
        pair.flush()
        context.load_cert_chain(pair.name)


class KubeClient:
    """Calls on one API server. Use as ``async with KubeClient(credentials, manager) as client``."""

    def __init__(self, credentials: Credentials, field_manager: str, timeout_s: float = 30.0) -> None:
        self._credentials = credentials
        self.field_manager = field_manager
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json", "User-Agent": f"wakeful/{self.field_manager}"}
        if self._credentials.token:
            headers["Authorization"] = f"Bearer {self._credentials.token}"
        connector = aiohttp.TCPConnector(ssl=self._credentials.tls or True, limit=0)
        self._session = aiohttp.ClientSession(connector=connector, headers=headers, read_bufsize=1 << 18)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Obj:
        """One object. ``ApiError`` 404 when it does not exist."""
        return await self.request("GET", resource.path(namespace, name))

    async def find(self, resource: Resource, namespace: str | None, name: str) -> Obj | None:
        """One object, or None when it does not exist."""
        try:
            return await self.get(resource, namespace, name)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def list(self, resource: Resource, namespace: str | None = None, **query: str) -> Obj:
        """The list object (``items``, ``metadata.resourceVersion``). Query keys as the API names them."""
        return await self.request("GET", resource.path(namespace), query=query)

    async def create(self, resource: Resource, namespace: str | None, body: Obj) -> Obj:
        query = {"fieldManager": self.field_manager}
        return await self.request("POST", resource.path(namespace), body, query)

    async def replace(
        self, resource: Resource, namespace: str | None, body: Obj, subresource: str = ""
    ) -> Obj:
        """PUT the object (its ``metadata.resourceVersion`` guards against lost updates: 409)."""
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        return await self.request("PUT", path, body, {"fieldManager": self.field_manager})

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Any,
        kind: str = "merge",
        subresource: str = "",
    ) -> Obj:
        """PATCH with a kind of ``PATCH_TYPES``."""
        query = {"fieldManager": self.field_manager}
        return await self.request(
            "PATCH", resource.path(namespace, name, subresource), body, query, PATCH_TYPES[kind]
        )

    async def apply(self, resource: Resource, namespace: str | None, body: Obj, subresource: str = "") -> Obj:
        """Server-side apply with this client's field manager, taking over conflicting fields."""
        path = resource.path(namespace, body["metadata"]["name"], subresource)
        query = {"fieldManager": self.field_manager, "force": "true"}
        return await self.request("PATCH", path, body, query, PATCH_TYPES["apply"])

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, **options: Any
    ) -> Obj | None:
        """DELETE with DeleteOptions (``propagationPolicy``, ``preconditions`` ...). None when it did not exist."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", **options}
        try:
            return await self.request("DELETE", resource.path(namespace, name), body)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Obj:
        """Any call that answers one JSON object."""
        data = None if body is None else orjson.dumps(body)
        headers = {"Content-Type": content_type} if data is not None else None
        async with self._open.request(
            method,
            self._credentials.server + path,
            data=data,
            params=query,
            headers=headers,
            timeout=self._timeout,
        ) as response:
            raw = await response.read()
            if response.status >= 300:
                raise ApiError(response.status, _status(raw))
            answer: Obj = orjson.loads(raw) if raw else {}
            return answer

    async def text(self, path: str) -> str:
        """What a GET answers, as it is: logs of a pod."""
        async with self._open.get(self._credentials.server + path, timeout=self._timeout) as response:
            raw = await response.read()
            if response.status >= 300:
                raise ApiError(response.status, _status(raw))
            return raw.decode(errors="replace")

    async def watch(
        self, resource: Resource, namespace: str | None, query: Mapping[str, str]
    ) -> AsyncIterator[Obj]:
        """The events of one watch request, until the server ends it. ``ApiError`` 410 when it must be listed again."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=None)
        params = {"watch": "true", "allowWatchBookmarks": "true", **query}
        url = self._credentials.server + resource.path(namespace)
        async with self._open.get(url, params=params, timeout=timeout) as response:
            if response.status >= 300:
                raise ApiError(response.status, _status(await response.read()))
            buffer = bytearray()
            async for chunk in response.content.iter_any():
                buffer += chunk
                *lines, rest = buffer.split(b"\n")
                buffer = bytearray(rest)
                if len(buffer) > WATCH_LINE_BYTES:
                    raise ApiError(500, {"message": f"watch event over {WATCH_LINE_BYTES} bytes"})
                for line in lines:
                    if line:
                        yield _event(bytes(line))

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("KubeClient is used outside its 'async with'")
        return self._session


def _event(line: bytes) -> Obj:
    event: Obj = orjson.loads(line)
    if event.get("type") == "ERROR":
        status = event.get("object") or {}
        raise ApiError(int(status.get("code") or 500), status)
    return event


def _status(raw: bytes) -> Obj:
    try:
        status = json.loads(raw)
    except ValueError:
        return {"message": raw[:500].decode(errors="replace")}
    return status if isinstance(status, dict) else {"message": str(status)[:500]}


def key_of(obj: Obj) -> tuple[str, str]:
    """(namespace or "", name)."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference with ``controller: true``, or None."""
    owners = obj["metadata"].get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)
