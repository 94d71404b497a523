"""Where an inference server is: URL, host and port, and the proxy that knows names of the cluster on one machine.

Called by the transports. Forms: ``http(s)://HOST[:PORT][/PREFIX]``, ``grpc(s)://HOST:PORT``, ``HOST[:PORT]`` (as
``--predictor_host`` gives it). Pods of one machine get ``http_proxy`` (docs/explanation/standalone.md): HTTP goes
through it as a proxy; gRPC connects to it and names the host it means, since the gateway routes by name.

Invariant: a target is checked when it is made, not at the first call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

SCHEMES = ("http", "https", "grpc", "grpcs")
DEFAULT_PORT = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}


class TargetError(ValueError):
    """The address of a server is wrong; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Target:
    """One server. ``proxy`` is the ``http://HOST:PORT`` through which it is reached, or None."""

    scheme: str
    host: str
    port: int
    prefix: str = ""
    proxy: str | None = None

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    @property
    def is_tls(self) -> bool:
        return self.scheme in ("https", "grpcs")

    @property
    def netloc(self) -> str:
        """Host and port, the port left out where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORT[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """What paths are appended to."""
        return f"{self.scheme}://{self.netloc}{self.prefix}"


def parse(address: str, environ: Mapping[str, str], scheme: str = "http") -> Target:
    """The target at ``address``; ``scheme`` counts where it names none. Raises ``TargetError``."""
    text = address if "://" in address else f"{scheme}://{address}"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise TargetError(f"{address!r} is no address of a server: {error}") from error
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise TargetError(f"{address!r} is no address of a server: use http://HOST:PORT or grpc://HOST:PORT")
    if parts.query or parts.fragment or parts.username:
        raise TargetError(f"{address!r}: the address of a server has no query, fragment or user name")
    host = parts.hostname
    return Target(
        parts.scheme,
        host,
        port or DEFAULT_PORT[parts.scheme],
        parts.path.rstrip("/"),
        None if parts.scheme in ("https", "grpcs") else _proxy(host, environ),
    )


def _proxy(host: str, environ: Mapping[str, str]) -> str | None:
    proxy = environ.get("http_proxy", "")
    if not proxy.startswith("http://"):
        return None
    for name in environ.get("no_proxy", "").split(","):
        excluded = name.strip().lstrip(".").lower()
        if excluded and (
            excluded == "*" or host.lower() == excluded or host.lower().endswith(f".{excluded}")
        ):
            return None
    return proxy
