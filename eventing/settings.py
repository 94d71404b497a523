"""The event process's settings: command line to one frozen value, read once by ``__main__``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be chosen. Sizes in bytes, times in seconds."""

    kubeconfig: Path
    """How to reach the Kubernetes API; may appear after the start."""
    database: Path
    """The broker's SQLite file."""
    listen: str
    """Where producers' events come in: ``unix:PATH`` or ``tcp:HOST:PORT``."""
    admin: str
    """Where ``/healthz`` and ``/metrics`` are."""
    proxy: str | None
    """The HTTP proxy for names of the cluster; None on a cluster, where they resolve."""
    max_body_bytes: int = 8 * 1024 * 1024
    """The largest event, and the largest reply, that is accepted."""
    max_buffered_bytes: int = 256 * 1024 * 1024
    """Bodies received and not yet stored; beyond it 503."""
    max_requests: int = 1024
    """Requests received and not yet stored; beyond it 503."""
    body_timeout_s: float = 30.0
    """How long a producer may take to send its body."""
    attempt_timeout_s: float = 600.0
    """The bound of one attempt where the DeliverySpec has no ``timeout``."""
    trigger_concurrency: int = 16
    """Attempts in flight for each Trigger."""
    total_concurrency: int = 128
    """Attempts in flight in all."""
    max_deliveries: int = 100_000
    """Undelivered events times Triggers that one broker holds; beyond it 429."""
    max_stored_bytes: int = 1024 * 1024 * 1024
    """Bytes of undelivered events that one broker holds; beyond it 429."""
    max_total_bytes: int = 4 * 1024 * 1024 * 1024
    """Bytes of undelivered events that all brokers hold together; beyond it 429."""


def parse(argv: Sequence[str]) -> Settings:
    """The settings of a command line; exits with usage on unknown or missing flags."""
    parser = argparse.ArgumentParser(prog="python -m eventing", allow_abbrev=False)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--listen", required=True)
    parser.add_argument("--admin", required=True)
    parser.add_argument("--proxy")
    for name, field in Settings.__dataclass_fields__.items():
        if field.type in ("int", "float"):
            kind = int if field.type == "int" else float
            parser.add_argument("--" + name.replace("_", "-"), type=kind, default=field.default)
    settings = Settings(**vars(parser.parse_args(argv)))
    for name in Settings.__dataclass_fields__:
        value = getattr(settings, name)
        if isinstance(value, int | float) and value <= 0:
            parser.error(f"--{name.replace('_', '-')} must be greater than 0")
    return settings
