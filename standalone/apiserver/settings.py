"""The settings of the API server process, from its command line.

Read once in ``__main__``. Invariant: an unknown argument or an impossible value ends the start with one sentence.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be set."""

    data_dir: Path
    """Folder of all state; created when missing."""
    port: int = 6443
    """TCP port on 127.0.0.1; 6443 is what Kubernetes uses. 0 takes a free one."""
    host: str = "127.0.0.1"
    """Always loopback: the token in the data directory is all that protects the machine."""
    node_name: str = "wakeful"
    """The node that pods without ``spec.nodeName`` are bound to at creation."""
    watch_buffer_bytes: int = 8 * 1024 * 1024
    """A watcher with more than this unread is cut off; it lists or resumes again."""
    bookmark_s: float = 30.0
    """Seconds between bookmarks on a watch that asked for them; kube-apiserver sends one a minute."""


def parse(arguments: Sequence[str]) -> Settings:
    """The settings of a command line. Exits with status 2 and usage when they are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m standalone.apiserver", description="The embedded Kubernetes API."
    )
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of all state")
    parser.add_argument(
        "--port", type=int, default=6443, help="TCP port on 127.0.0.1 (default 6443; 0: any free)"
    )
    found = parser.parse_args(arguments)
    if not 0 <= found.port <= 65535:
        parser.error(f"--port {found.port} is not a TCP port: give 0 to 65535")
    return Settings(found.data_dir.absolute(), found.port)
