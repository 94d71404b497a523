"""The controller's settings, read once from its command line. Unknown flags end the start with a sentence."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Every field has a flag of the same name."""

    kubeconfig: Path | None
    """File with the way to the API server; None uses the pod's ServiceAccount. It is waited for."""
    namespace: str | None
    """Namespace of ``inferenceservice-config`` and the webhook certificate. Default: POD_NAMESPACE or wakeful-system."""
    webhook_listen: str
    """``tcp:HOST:PORT`` of the admission webhooks. Default tcp:0.0.0.0:9443, which a cluster's Service targets."""
    listen_fds: tuple[int, ...]
    """Listening sockets handed down by whoever starts us, used in place of ``webhook_listen``. Default none."""
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
    parser.add_argument("--webhook-listen", default="tcp:0.0.0.0:9443")
    parser.add_argument("--listen-fd", dest="listen_fds", type=int, action="append", default=[])
    parser.add_argument("--admin", default="tcp:0.0.0.0:8081")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"], default="info")
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error("--workers must be at least 1")
    if not arguments.webhook_listen.startswith("tcp:"):
        parser.error("--webhook-listen must be tcp:HOST:PORT")
    arguments.listen_fds = tuple(arguments.listen_fds)
    return Settings(**vars(arguments))
