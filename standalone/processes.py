"""The six processes of the platform on one machine: what each is called, how it is started, when it is stopped.

Read by the supervisor and by ``wakeful status``. Pure: a table and nothing else. The jobs and the sockets are
described in docs/explanation/standalone.md; the two must agree.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from standalone.layout import Layout

OPERATOR_NAMESPACE = "wakeful-system"


@dataclass(frozen=True, slots=True)
class Options:
    """What the user chose: ports on loopback and an optional image table of their own."""

    port: int = 8080
    api_port: int = 6443
    webhook_port: int = 9443
    images: Path | None = None
    local_models: tuple[Path, ...] = ()
    """Folders that ``storageUri: file:///...`` may read."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process: its name, its argument vector, and the admin socket on which ``/healthz`` tells its state."""

    name: str
    argv: tuple[str, ...]
    """The program and its flags; with ``module`` only the flags count."""
    admin: Path
    stop_stage: int
    """0 stops first. Reconcilers and the ways in stop before the node, and the API server last."""
    stop_s: float = 10.0
    module: str = ""
    """Run this module in a forked interpreter, as ``python -m`` would."""
    shared: bool = False
    """Whether it is forked with the libraries that most processes share imported already. Not the API server: it
    uses none of them, and all others wait for it."""
    port: int = 0
    """The supervisor listens on this port of loopback for it, so that clients queue while it starts again."""


def build_processes(layout: Layout, options: Options) -> tuple[Process, ...]:
    """The processes in the order they are started."""
    data = ("--data-dir", str(layout.data_dir))
    gateway_port = ("--gateway-port", str(options.port))
    images = ("--images", str(options.images)) if options.images else ()
    folders = [word for folder in options.local_models for word in ("--local-models", str(folder))]
    return (
        _process(layout, "apiserver", 2, "standalone.apiserver", *data, "--port", str(options.api_port)),
        replace(
            _process(layout, "controller", 0, "controller", *_controller_flags(layout, options)),
            port=options.webhook_port,
        ),
        _process(layout, "knative", 0, "standalone.knative", *data, *gateway_port, admin="autoscaler"),
        _process(layout, "node", 1, "standalone.node", *data, *gateway_port, *images, *folders, stop_s=20.0),
        replace(
            _process(layout, "gateway", 0, "standalone.gateway", *data, "--port", str(options.port)),
            port=options.port,
        ),
        _process(
            layout, "eventing", 0, "eventing", *_eventing_flags(layout, options), admin="eventing-admin"
        ),
    )


def build_installer(layout: Layout, options: Options) -> Process:
    """The job that puts the manifests into the API server; it ends by itself."""
    return _process(
        layout,
        "install",
        0,
        "standalone.install",
        "--data-dir",
        str(layout.data_dir),
        "--webhook-port",
        str(options.webhook_port),
    )


def _controller_flags(layout: Layout, options: Options) -> tuple[str, ...]:
    return (
        "--kubeconfig",
        str(layout.kubeconfig),
        "--namespace",
        OPERATOR_NAMESPACE,
        "--webhook-listen",
        f"tcp:127.0.0.1:{options.webhook_port}",
        "--webhook-certs",
        str(layout.pki / "webhook"),
        "--admin",
        f"unix:{layout.socket('controller')}",
    )


def _eventing_flags(layout: Layout, options: Options) -> tuple[str, ...]:
    return (
        "--kubeconfig",
        str(layout.kubeconfig),
        "--database",
        str(layout.events_db),
        "--listen",
        f"unix:{layout.socket('eventing')}",
        "--admin",
        f"unix:{layout.socket('eventing-admin')}",
        "--proxy",
        f"http://127.0.0.1:{options.port}",
    )


def _process(
    layout: Layout, name: str, stage: int, module: str, *flags: str, admin: str = "", stop_s: float = 10.0
) -> Process:
    return Process(
        name,
        (sys.executable, *flags),
        layout.socket(admin or name),
        stage,
        stop_s,
        module,
        shared=name != "apiserver",
    )
