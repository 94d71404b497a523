"""Keeps the webhooks' certificates in a Secret, the server's TLS context fresh, and ``caBundle`` in place.

``run`` is a loop of ``__main__``. All replicas use the one Secret ``wakeful-webhook-cert``: whoever creates it first
wins, the others read it. Invariant: the TLS context always holds what the Secret holds (within one period), and a
WebhookConfiguration of ours never keeps another authority's bundle.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ssl
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from controller.connection import Api, ApiFailureError
from controller.webhooks import certificates
from controller.webhooks.certificates import Pems
from wakeful.kit import logs
from wakeful.kit.kube import SECRETS, Obj, Resource

SECRET_NAME = "wakeful-webhook-cert"
SERVICE_NAME = "wakeful-webhook"
SETTLED_S = 30.0
WAITING_S = 0.2
CONFIGURATIONS = (
    Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False),
    Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False),
)
CONFIGURATION_NAME = "wakeful"
_KEYS = {"ca.crt": "ca_cert", "ca.key": "ca_key", "tls.crt": "cert", "tls.key": "key"}

log = logs.get("controller.webhooks")


class Authority:
    """The certificates of one namespace's webhook Service. ``context`` may be served from after ``prepare``."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._pems: Pems | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.is_installed = False
        """Whether every WebhookConfiguration of ours trusts this authority."""

    @property
    def hosts(self) -> Sequence[str]:
        service = f"{SERVICE_NAME}.{self._namespace}.svc"
        return (
            service,
            f"{service}.cluster.local",
            f"{SERVICE_NAME}.{self._namespace}",
            "localhost",
            "127.0.0.1",
        )

    async def prepare(self) -> None:
        """Read or make the certificates and load them. Raises ``ApiFailureError`` when the Secret cannot be used."""
        pems = await self._agreed()
        if pems != self._pems:
            self._load(pems)
            self._pems = pems

    async def run(self) -> None:
        """Keep everything as it should be, for ever."""
        while True:
            try:
                await self.prepare()
                is_installed = await self._install()
                if is_installed and not self.is_installed:
                    log.info("webhooks installed")
                self.is_installed = is_installed
            except ApiFailureError as error:
                log.warning("webhook certificates not settled", code=error.code, error=str(error))
                await asyncio.sleep(1.0)
            await asyncio.sleep(SETTLED_S if self.is_installed else WAITING_S)

    async def _agreed(self) -> Pems:
        """The pair all replicas use. A lost race is answered by reading what the winner wrote."""
        while True:
            at = datetime.now(UTC)
            secret = await self._api.get(SECRETS.path(self._namespace, SECRET_NAME))
            known = _read(secret)
            if known is not None and certificates.is_usable(known, self.hosts, at):
                return known
            authority = known if known is not None and certificates.is_authority_usable(known, at) else None
            made = certificates.make(self.hosts, at, authority)
            try:
                await self._write(secret, made)
            except ApiFailureError as error:
                if error.code == 409:
                    continue
                raise
            log.info("webhook certificate made", is_renewal=authority is not None)
            return made

    async def _write(self, secret: Obj | None, pems: Pems) -> None:
        data = {key: base64.b64encode(getattr(pems, field)).decode() for key, field in _KEYS.items()}
        if secret is not None:
            body = {**secret, "apiVersion": "v1", "kind": "Secret", "data": data}
            await self._api.request("PUT", SECRETS.path(self._namespace, SECRET_NAME), body)
            return
        metadata = {"name": SECRET_NAME, "namespace": self._namespace}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
        try:
            await self._api.request("POST", SECRETS.path(self._namespace), body)
        except ApiFailureError as error:
            if error.code != 404:
                raise
            await self._create_namespace()
            await self._api.request("POST", SECRETS.path(self._namespace), body)

    async def _create_namespace(self) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self._namespace}}
        try:
            await self._api.request("POST", "/api/v1/namespaces", body)
        except ApiFailureError as error:
            if error.code != 409:
                raise

    def _load(self, pems: Pems) -> None:
        # ssl reads certificates from files only; the folder is private and gone at once.
        with tempfile.TemporaryDirectory() as folder:
            cert, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
            cert.write_bytes(pems.cert)
            key.touch(mode=0o600)
            key.write_bytes(pems.key)
            self.context.load_cert_chain(cert, key)

    async def _install(self) -> bool:
        """Put the authority into our WebhookConfigurations; False while one of them does not exist yet."""
        if self._pems is None:
            return False
        bundle = base64.b64encode(self._pems.ca_cert).decode()
        found = True
        for resource in CONFIGURATIONS:
            path = resource.path(None, CONFIGURATION_NAME)
            current = await self._api.get(path)
            if current is None:
                found = False
                continue
            webhooks = current.get("webhooks") or []
            if all((item.get("clientConfig") or {}).get("caBundle") == bundle for item in webhooks):
                continue
            for item in webhooks:
                item["clientConfig"] = {**(item.get("clientConfig") or {}), "caBundle": bundle}
            try:
                await self._api.request("PUT", path, current, fieldManager="wakeful-controller")
            except ApiFailureError as error:
                if error.code != 409:
                    raise
                return False
        return found


def _read(secret: Obj | None) -> Pems | None:
    data = (secret or {}).get("data") or {}
    try:
        return Pems(**{field: base64.b64decode(data[key], validate=True) for key, field in _KEYS.items()})
    except (KeyError, TypeError, binascii.Error):
        return None
