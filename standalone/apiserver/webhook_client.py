"""Calls an admission webhook over HTTPS and reads its answer.

Called by ``admission``. The address comes from ``clientConfig``: a URL, or a Service, whose Endpoints (the controller
registers ``127.0.0.1:PORT``) give the address and whose name is the TLS server name, as in a cluster.
aiohttp is imported with the first call, or before it by ``prepare``: servers without webhooks need none.

Invariant: every way a call can fail becomes ``CallError`` with one sentence; what the webhook sends is bounded.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import importlib
import os
import ssl
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from standalone.apiserver.store import Store

if TYPE_CHECKING:
    import aiohttp

Obj = dict[str, Any]
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_CONTEXTS = 32
PREPARE_AFTER_S = 2.0
KEEP_ALIVE_S = 60.0
"""Shorter than the 75 s of aiohttp's own servers, so that the client closes first."""


class CallError(Exception):
    """The webhook could not be asked or answered nonsense."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a webhook is."""

    url: str
    server_name: str
    shown: str
    """The URL for messages, as a cluster would show it."""


class WebhookClient:
    """Keeps connections and TLS contexts. ``close`` it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None
        self._contexts: OrderedDict[str, ssl.SSLContext] = OrderedDict()
        self._is_prepared = False

    def prepare(self) -> None:
        """There are webhooks: import what a call needs soon, beside the work. 0.3 s that the first write would wait."""
        if not self._is_prepared:
            self._is_prepared = True
            timer = threading.Timer(PREPARE_AFTER_S, importlib.import_module, ("aiohttp",))
            timer.daemon = True
            timer.start()

    async def call(self, webhook: Obj, review: Obj) -> Obj:
        """The ``response`` of the webhook to an AdmissionReview. Raises ``CallError``."""
        import aiohttp

        client = webhook["clientConfig"]
        timeout_s = float(webhook.get("timeoutSeconds", 10))
        address = self.resolve(client)
        context = self._context(client.get("caBundle") or "")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=64, keepalive_timeout=KEEP_ALIVE_S)
            self._session = aiohttp.ClientSession(connector=connector)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(
                    address.url,
                    data=orjson.dumps(review),
                    params={"timeout": f"{timeout_s:.0f}s"},
                    headers={"Content-Type": "application/json", "Accept": "application/json"},
                    ssl=context,
                    server_hostname=address.server_name or None,
                    allow_redirects=False,
                ) as response,
            ):
                raw = await response.content.read(MAX_ANSWER_BYTES + 1)
                while len(raw) <= MAX_ANSWER_BYTES and not response.content.at_eof():
                    raw += await response.content.read(MAX_ANSWER_BYTES + 1 - len(raw))
                return _read(raw, response.status, review["request"]["uid"])
        except TimeoutError as error:
            text = f'Post "{address.shown}?timeout={timeout_s:.0f}s": context deadline exceeded'
            raise CallError(f"failed to call webhook: {text}") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallError(f'failed to call webhook: Post "{address.shown}": {_cause(error)}') from error

    def resolve(self, client: Obj) -> Address:
        """The address of a ``clientConfig``. Raises ``CallError`` when its Service or endpoints are missing."""
        if client.get("url"):
            return Address(client["url"], "", client["url"])
        service = client["service"]
        namespace, name = service["namespace"], service["name"]
        port, path = service.get("port", 443), service.get("path", "")
        host = f"{name}.{namespace}.svc"
        shown = f"https://{host}:{port}{path}"
        found = self._store.get("services", (namespace, name))
        if found is None:
            raise CallError(f'failed to call webhook: Post "{shown}": service "{name}" not found')
        backend = self._endpoint(namespace, name, _port_of(found.load(), port))
        if backend is None:
            raise CallError(
                f'failed to call webhook: Post "{shown}": no endpoints available for service "{name}"'
            )
        return Address(f"https://{backend}{path}", host, shown)

    def _endpoint(self, namespace: str, name: str, port: Obj) -> str | None:
        found = self._store.get("endpoints", (namespace, name))
        for subset in (found.load().get("subsets") or ()) if found is not None else ():
            ports = subset.get("ports") or ()
            chosen = [item for item in ports if item.get("name", "") == port.get("name", "")] or list(ports)
            for address in subset.get("addresses") or ():
                if chosen:
                    return f"{address['ip']}:{chosen[0]['port']}"
        return None

    def _context(self, bundle: str) -> ssl.SSLContext:
        key = hashlib.sha256(bundle.encode()).hexdigest()
        if key not in self._contexts:
            try:
                authority = base64.b64decode(bundle).decode() if bundle else None
                self._contexts[key] = ssl.create_default_context(cadata=authority)
            except (ValueError, ssl.SSLError) as error:
                raise CallError(
                    f"unable to load root certificates: caBundle is not PEM in base64: {error}"
                ) from error
            while len(self._contexts) > MAX_CONTEXTS:
                self._contexts.popitem(last=False)
        return self._contexts[key]

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def _cause(error: BaseException) -> str:
    """What stopped a call, without the client's own objects: aiohttp shows its whole TLS context."""
    inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    if inner is None:
        return str(error) or type(error).__name__
    if isinstance(inner, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: {inner.verify_message}"
    if isinstance(inner, ssl.SSLError):
        return f"tls: {inner.reason or inner}"
    reason = os.strerror(inner.errno).lower() if inner.errno and inner.errno > 0 else str(inner)
    return f"connect: {reason}"


def _port_of(service: Obj, number: int) -> Obj:
    ports = (service.get("spec") or {}).get("ports") or ()
    return next((port for port in ports if port.get("port") == number), {})


def _read(raw: bytes, status: int, uid: str) -> Obj:
    if status != 200:
        raise CallError(
            f"failed to call webhook: the server answered {status}: {raw[:200].decode(errors='replace')}"
        )
    if len(raw) > MAX_ANSWER_BYTES:
        raise CallError(f"failed to call webhook: the answer is over {MAX_ANSWER_BYTES} bytes")
    try:
        review = orjson.loads(raw)
        response = review["response"]
        given = response["uid"]
    except (ValueError, KeyError, TypeError) as error:
        raise CallError(
            "received invalid webhook response: it is no AdmissionReview with response.uid"
        ) from error
    if given != uid or not isinstance(response.get("allowed"), bool):
        raise CallError("received invalid webhook response: response.uid or response.allowed is wrong")
    if not isinstance(response, dict):
        raise CallError("received invalid webhook response: response is no object")
    return response
