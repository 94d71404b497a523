"""Keeps the webhooks' certificate valid, the server's TLS context fresh, and ``caBundle`` in place.

``run`` is a loop of ``__main__``. A replica makes its own certificate (``certificates``) and adds its authority to the
bundle (``trust``); a new one is first trusted, then served, so that no call fails in between. No Secret is read or
written. With ``Keeping.given`` somebody else (cert-manager) makes the certificate and the bundle, and this only reads.
Invariant: what is served was in every WebhookConfiguration of ours before, but for the first seconds of a process.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from controller.connection import Api, ApiFailureError
from controller.webhooks import certificates, trust
from controller.webhooks.certificates import Pair
from wakeful.kit import logs
from wakeful.kit.files import write_atomic
from wakeful.kit.kube import Obj, Resource

SERVICE_NAME = "wakeful-webhook"
CONFIGURATION_NAME = "wakeful"
SETTLED_S = 10.0
WAITING_S = 0.2
ASIDE_S = 1.0
"""While webhooks are not binding: they shall be again as soon as they may."""
SWITCH_S = 5.0
"""How long API servers get to see a changed bundle before a new certificate is served."""
CONFIGURATIONS = (
    Resource("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations", namespaced=False),
    Resource("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", namespaced=False),
)
FAIL, IGNORE = "Fail", "Ignore"
_FILES = {"ca.crt": "ca_cert", "tls.crt": "cert", "tls.key": "key"}

log = logs.get("controller.webhooks")


class CertificateError(Exception):
    """A certificate that was given cannot be used; the text says which file and why."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """Where certificates come from and how long they live."""

    owner: str = ""
    """Whose authority it is in the bundle: the pod's name."""
    folder: Path | None = None
    """Where the pair is kept over a restart of the process; None keeps it in memory only."""
    is_given: bool = False
    """The folder is somebody else's (cert-manager): it is only read, and so is the bundle."""
    life: timedelta = timedelta(days=90)
    """A third of it before the end a new pair takes over."""


class Authority:
    """The certificates of one namespace's webhook Service. ``context`` may be served from after ``prepare``."""

    def __init__(
        self,
        api: Api,
        namespace: str,
        keeping: Keeping | None = None,
        stands_aside: Callable[[], bool] = lambda: False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``stands_aside``: whether a webhook of ours that fails shall hold up nobody (another KServe serves here)."""
        self._api = api
        self._namespace = namespace
        self._keeping = keeping or Keeping()
        self._stands_aside = stands_aside
        self._now = now
        self._pair: Pair | None = None
        self._next: Pair | None = None
        self._trusted_at = 0.0
        """Monotonic; since when the bundles hold ``_next``. 0 before."""
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.is_installed = False
        """Whether every WebhookConfiguration of ours trusts what is served."""

    @property
    def hosts(self) -> Sequence[str]:
        service = f"{SERVICE_NAME}.{self._namespace}.svc"
        local = ("localhost", "127.0.0.1")
        return (service, f"{service}.cluster.local", f"{SERVICE_NAME}.{self._namespace}", *local)

    @property
    def seconds_left(self) -> float:
        """How long the certificate that is served stays valid; 0 before there is one."""
        return 0.0 if self._pair is None else certificates.left(self._pair, self._now()).total_seconds()

    def prepare(self) -> None:
        """Read or make a certificate and load it. Raises ``CertificateError`` or ``OSError``."""
        found = self._read()
        if self._keeping.is_given:
            self._take_given(found)
        elif found is not None and certificates.is_usable(found, self.hosts, self._now()):
            self._serve(found)
        else:
            self._serve(self._made())

    async def run(self) -> None:
        """Keep everything as it should be, for ever."""
        while True:
            try:
                self._renew()
                is_installed = await self._install()
                if is_installed and not self.is_installed:
                    log.info("webhooks installed")
                self.is_installed = is_installed
                self._switch()
            except ApiFailureError as error:
                log.warning("webhook certificates not settled", code=error.code, error=str(error))
                await asyncio.sleep(1.0)
            except (CertificateError, OSError) as error:
                log.error("webhook certificate not renewed", error=str(error))
            is_busy = not self.is_installed or self._next is not None
            settled_s = ASIDE_S if self._stands_aside() else min(SETTLED_S, self._third_s / 3)
            await asyncio.sleep(WAITING_S if is_busy else settled_s)

    @property
    def _third_s(self) -> float:
        return self._keeping.life.total_seconds() / 3

    def _renew(self) -> None:
        if self._keeping.is_given:
            self._take_given(self._read())
        elif self._next is None and self.seconds_left < self._third_s:
            self._next, self._trusted_at = self._made(), 0.0

    def _switch(self) -> None:
        """Serve the next certificate once it has been trusted for long enough, or when the present one is at its end."""
        if self._next is None or not self.is_installed:
            return
        self._trusted_at = self._trusted_at or time.monotonic()
        wait_s = min(SWITCH_S, self._third_s / 3)
        if time.monotonic() - self._trusted_at >= wait_s or self.seconds_left <= 0:
            self._serve(self._next)
            self._next = None

    def _made(self) -> Pair:
        keeping = self._keeping
        log.info("webhook certificate made", days=keeping.life.total_seconds() / 86400)
        return certificates.make(self.hosts, keeping.owner, self._now(), keeping.life)

    def _take_given(self, found: Pair | None) -> None:
        if found is None:
            raise CertificateError(f"{self._keeping.folder} has no readable tls.crt, tls.key and ca.crt yet")
        if found != self._pair:
            if not certificates.is_usable(found, self.hosts[:1], self._now()):
                raise CertificateError(
                    f"the certificate in {self._keeping.folder} is not valid for {self.hosts[0]}, has expired, or "
                    "belongs to another key or authority"
                )
            self._serve(found)

    def _read(self) -> Pair | None:
        folder = self._keeping.folder
        if folder is None:
            return None
        try:
            return Pair(**{field: (folder / name).read_bytes() for name, field in _FILES.items()})
        except OSError:
            return None

    def _serve(self, pair: Pair) -> None:
        # ssl reads certificates from files only; the folder is private and gone at once.
        with tempfile.TemporaryDirectory() as name:
            for file, field in _FILES.items():
                Path(name, file).write_bytes(getattr(pair, field))
            self.context.load_cert_chain(Path(name, "tls.crt"), Path(name, "tls.key"))
        self._pair = pair
        folder = self._keeping.folder
        if folder is not None and not self._keeping.is_given:
            with contextlib.suppress(OSError):  # the next process then makes its own
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                for file, field in _FILES.items():
                    write_atomic(folder / file, getattr(pair, field), 0o600)

    async def _install(self) -> bool:
        """Bring the WebhookConfigurations to what they should say; False while one of them is not there yet."""
        is_there = True
        for resource in CONFIGURATIONS:
            path = resource.path(None, CONFIGURATION_NAME)
            current = await self._api.get(path)
            if current is None:
                is_there = False
                continue
            changed = self._configured(current)
            if changed is None:
                is_there = is_there and _is_trusting(current)
                continue
            try:
                await self._api.request("PUT", path, changed, fieldManager="wakeful-controller")
            except ApiFailureError as error:
                if error.code != 409:
                    raise
                return False  # another replica was faster; look again
        return is_there

    def _configured(self, current: Obj) -> Obj | None:
        """The WebhookConfiguration as it should be; None where it is so."""
        policy = IGNORE if self._stands_aside() else FAIL
        webhooks = [
            {
                **item,
                "clientConfig": self._client_config(item.get("clientConfig") or {}),
                "failurePolicy": policy,
            }
            for item in current.get("webhooks") or []
        ]
        return None if webhooks == current.get("webhooks") else {**current, "webhooks": webhooks}

    def _client_config(self, client: Obj) -> Obj:
        if self._keeping.is_given:
            return client
        own = [pair.ca_cert for pair in (self._pair, self._next) if pair is not None]
        try:
            before = base64.b64decode(client.get("caBundle") or "")
        except binascii.Error:
            before = b""
        bundle = trust.merge(before, self._keeping.owner, own, self._now())
        return {**client, "caBundle": base64.b64encode(bundle).decode()}


def _is_trusting(configuration: Obj) -> bool:
    """Whether every webhook has a bundle; only somebody else's may be missing."""
    webhooks = configuration.get("webhooks") or []
    return all((item.get("clientConfig") or {}).get("caBundle") for item in webhooks)
