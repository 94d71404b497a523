"""Observations of one run: normalised objects and texts, by name, written to DIR/HOME.json.

Scenarios leave here what a user would see (status, columns, refusals); ``e2e.compare`` holds two homes' files against
each other. What differs by nature (times, ids, addresses, the namespace's random name) is taken out by ``normal``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from e2e import normal


class Dumps:
    """What was observed in one home."""

    def __init__(self, home: str) -> None:
        self.home = home
        self.seen: dict[str, Any] = {}

    def add(self, name: str, value: Any, names: normal.Names) -> None:
        """Remember an object or text under a name that no other observation has."""
        assert name not in self.seen, f"observed twice: {name}"
        self.seen[name] = normal.value(value, names)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.home}.json").write_text(json.dumps(self.seen, indent=1, sort_keys=True) + "\n")
