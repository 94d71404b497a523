"""The controller's settings, read once from its command line. Unknown flags end the start with a sentence."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Every field has a flag of the same name."""

    kubeconfig: Path | None
    """File with the way to the API server; None uses the pod's ServiceAccount. It is waited for."""
    namespace: str | None
    """Namespace of ``inferenceservice-config`` and of the Lease. Default: POD_NAMESPACE or wakeful-system."""
    identity: str
    """This replica's name in the Lease and in its certificate. Default: POD_NAME or the host's name."""
    leader_elect: bool
    """Act only while holding the Lease. Default no: the only controller of one machine needs none."""
    lease_s: float
    """How long a leader that has gone silent is waited for, seconds. Default 15."""
    image_prefix: str
    """Put before images called ``wakeful/...`` that come with the installation: a registry of your own. Default none."""
    webhook_listen: str
    """``tcp:HOST:PORT`` of the admission webhooks. Default tcp:0.0.0.0:9443, which a cluster's Service targets."""
    listen_fds: tuple[int, ...]
    """Listening sockets handed down by whoever starts us, used in place of ``webhook_listen``. Default none."""
    webhook_certs: Path | None
    """Folder in which the webhooks' certificate is kept over a restart. Default none: in memory."""
    webhook_certs_from: Path | None
    """Folder of tls.crt, tls.key and ca.crt that somebody else (cert-manager) keeps, who then also sets caBundle."""
    certificate_life_s: float
    """How long a certificate lives, seconds; renewed a third before its end. Default 90 days."""
    linger_s: float
    """How long webhooks are still answered after SIGTERM, seconds, while the cluster stops sending. Default 0."""
    admin: str
    """``tcp:HOST:PORT`` or ``unix:PATH`` of /healthz and /metrics. Default tcp:0.0.0.0:8081."""
    workers: int
    """How many InferenceServices are reconciled at once. Default 4; a reconcile is mostly waiting for the API."""
    log_level: str
    """debug, info, warning or error. Default info."""


def parse(argv: Sequence[str] | None = None) -> Settings:
    """Settings from ``argv``; ends the process with status 2 and a sentence when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="controller", description="Wakeful's controller: KServe's kinds on Knative."
    )
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--namespace")
    parser.add_argument("--identity", default=os.environ.get("POD_NAME") or socket.gethostname())
    parser.add_argument("--leader-elect", action="store_true")
    parser.add_argument("--lease-s", type=float, default=15.0)
    parser.add_argument("--image-prefix", default="")
    parser.add_argument("--webhook-listen", default="tcp:0.0.0.0:9443")
    parser.add_argument("--listen-fd", dest="listen_fds", type=int, action="append", default=[])
    parser.add_argument("--webhook-certs", type=Path)
    parser.add_argument("--webhook-certs-from", type=Path)
    parser.add_argument("--certificate-life-s", type=float, default=90 * 86400.0)
    parser.add_argument("--linger-s", type=float, default=0.0)
    parser.add_argument("--admin", default="tcp:0.0.0.0:8081")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    arguments = parser.parse_args(argv)
    wrong = _wrong(arguments)
    if wrong:
        parser.error(wrong)
    arguments.listen_fds = tuple(arguments.listen_fds)
    return Settings(**vars(arguments))


def _wrong(arguments: argparse.Namespace) -> str:
    if arguments.workers < 1:
        return "--workers must be at least 1"
    if not arguments.webhook_listen.startswith("tcp:"):
        return "--webhook-listen must be tcp:HOST:PORT"
    if arguments.webhook_certs and arguments.webhook_certs_from:
        return "--webhook-certs and --webhook-certs-from exclude each other: whose certificate is it?"
    if arguments.certificate_life_s < 3:
        return "--certificate-life-s must be at least 3 seconds"
    if not 1 <= arguments.lease_s <= 300:
        return "--lease-s must be between 1 and 300 seconds"
    if not 0 <= arguments.linger_s <= 60:
        return "--linger-s must be between 0 and 60 seconds"
    if arguments.image_prefix and not arguments.image_prefix.endswith("/"):
        return "--image-prefix must end with /, as in registry.example.com/models/"
    if not arguments.identity:
        return "--identity must not be empty"
    return ""
