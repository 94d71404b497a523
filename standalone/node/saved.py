"""What the node remembers of a pod on disk, ``D/pods/UID/state.json``, for the node process after this one.

Called by worker and pods. Which processes run is the shims' knowledge; here is what they do not know: ports, restart
counts, how containers ended, the timeline. Invariant: written atomically; a file that cannot be read counts as absent.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from wakeful.kit import files

FILE = "state.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """One pod's file."""

    namespace: str = ""
    name: str = ""
    ports: dict[int, int] = field(default_factory=dict)
    timeline: dict[str, float] = field(default_factory=dict)
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By container name: state, last, restarts, id, via."""

    def render(self) -> bytes:
        document = {
            "namespace": self.namespace,
            "name": self.name,
            "ports": {str(key): value for key, value in self.ports.items()},
            "timeline": self.timeline,
            "containers": self.containers,
        }
        return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def write(folder: Path, saved: Saved) -> None:
    """Replace the file in ``D/pods/UID``. Raises ``OSError``."""
    files.write_atomic(folder / FILE, saved.render(), 0o600)


def read(folder: Path) -> Saved | None:
    """The file in ``D/pods/UID``, or None."""
    try:
        document = orjson.loads((folder / FILE).read_bytes())
        return Saved(
            str(document["namespace"]),
            str(document["name"]),
            {int(key): int(value) for key, value in document["ports"].items()},
            {str(key): float(value) for key, value in document["timeline"].items()},
            {str(key): dict(value) for key, value in document["containers"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
