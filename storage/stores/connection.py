"""HTTP connections for the stores: a urllib3 pool that looks at the address it is really connected to.

Used by ``http`` and ``s3``. The check is on the connected socket, before a byte is sent, so a name that changes its
address between check and use gains nothing. Link-local addresses (cloud metadata) are never allowed; private ones
are, unless ``is_public_only`` (a redirect that began at a public host). Environment proxies are honoured; one on a
loopback address is the platform's own gateway and used only for in-cluster names (standalone.md).

Invariant: nothing is sent to a link-local or multicast address.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from storage.errors import Reason, StorageError

CA_FOLDER, CA_NAME = "/etc/ssl/custom-certs", "cabundle.crt"


@dataclass(frozen=True, slots=True)
class Policy:
    """How to connect. Without ``ca_file`` and ``ca_text`` (PEM), the system's authorities are trusted."""

    connect_timeout_s: float
    read_timeout_s: float
    verifies: bool = True
    ca_file: str = ""
    ca_text: str = ""
    is_public_only: bool = False
    pool_size: int = 8


def ca_file(environ: Mapping[str, str]) -> str:
    """The file of trusted authorities that the environment names ("" for the system's), in KServe's order.

    ``AWS_CA_BUNDLE`` first, then the ConfigMap that ``inferenceservice-config`` mounts, then what Python tools know.
    """
    named = environ.get("AWS_CA_BUNDLE")
    if not named and environ.get("CA_BUNDLE_CONFIGMAP_NAME"):
        folder = environ.get("CA_BUNDLE_VOLUME_MOUNT_POINT") or CA_FOLDER
        named = f"{folder.rstrip('/')}/{CA_NAME}"
    return named or environ.get("REQUESTS_CA_BUNDLE") or ""


def check_address(address: str, is_public_only: bool) -> None:
    """Raise ``StorageError`` (unsafe) when ``address`` may not be connected to."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_link_local or ip.is_multicast or str(ip) == "fd00:ec2::254":
        raise StorageError(Reason.UNSAFE, f"refusing to connect to {ip}: a link-local (metadata) address")
    if is_public_only and (ip.is_private or ip.is_loopback):
        raise StorageError(
            Reason.UNSAFE, f"refusing a redirect from a public host to {ip}, a private address"
        )


def is_private_host(host: str) -> bool:
    """Whether ``host`` is, or resolves to, a private or loopback address."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    return any(ip.is_private or ip.is_loopback for ip in addresses)


def manager(policy: Policy) -> urllib3.PoolManager:
    """A pool of connections under ``policy``; no retries and no redirects of its own."""
    is_public_only = policy.is_public_only

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), is_public_only)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _checked(super()._new_conn(), is_public_only)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    pools = urllib3.PoolManager(**_options(policy))
    pools.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pools


def _checked(connected: socket.socket, is_public_only: bool) -> socket.socket:
    try:
        check_address(connected.getpeername()[0], is_public_only)
    except BaseException:
        connected.close()
        raise
    return connected


def _options(policy: Policy) -> dict[str, Any]:
    try:
        context = ssl.create_default_context(cafile=policy.ca_file or None, cadata=policy.ca_text or None)
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        what = f"the CA bundle {policy.ca_file}" if policy.ca_file else "the certificate in the Secret"
        why = "no such file" if isinstance(error, FileNotFoundError) else "it holds no PEM certificate"
        raise StorageError(Reason.INVALID, f"{what} cannot be used: {why}") from error
    if not policy.verifies:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return {
        "ssl_context": context,
        "timeout": urllib3.Timeout(connect=policy.connect_timeout_s, read=policy.read_timeout_s),
        "retries": False,
        "maxsize": policy.pool_size,
    }


def proxy_for(url: str, environ: Mapping[str, str]) -> str | None:
    """The proxy to use for ``url`` by http_proxy, https_proxy and no_proxy, or None."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    key = f"{parts.scheme}_proxy"
    proxy = environ.get(key) or environ.get(key.upper())
    if not proxy:
        return None
    excluded = (environ.get("no_proxy") or environ.get("NO_PROXY") or "").split(",")
    for entry in (item.strip().lstrip(".").lower() for item in excluded):
        if entry and (entry == "*" or host == entry or host.endswith("." + entry)):
            return None
    proxy_host = urlsplit(proxy).hostname or ""
    if proxy_host in ("localhost", "127.0.0.1", "::1"):
        is_in_cluster = host.endswith((".svc", ".svc.cluster.local"))
        return proxy if is_in_cluster else None
    return proxy


def through_proxy(proxy: str, policy: Policy) -> urllib3.ProxyManager:
    """A pool that connects through ``proxy``, which then decides what may be reached."""
    return urllib3.ProxyManager(proxy, **_options(policy))
