"""Bounds what buildah keeps of earlier builds: layers that make the next build fast, and that nothing else needs.

Called by builders.py before a build and after each one, never during one: the cache is locked, so nothing is in use then.
Of the layers that no other stands on, the oldest goes first, with the images that end in it and what only they stood on. What
several images share (the base, Python) has others upon it, and stays while one of them does.

Invariant: afterwards the storage holds no more than it may; where single layers cannot be removed, it is emptied.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST_BYTES = 8_000_000_000
"""All images once are 5 GB of layers; the large ones (PyTorch, transformers, vLLM) 3 to 5 GB more each."""
MOST_LAYERS = 400
REMOVE_LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of the storage: what it stands on, how large it is, when it was made (as buildah writes it: sortable)."""

    name: str
    parent: str
    size_bytes: int
    made: str


@dataclass(frozen=True, slots=True)
class Kept:
    """What is in a storage: its layers, and the images by the layer that they end in."""

    layers: tuple[Layer, ...]
    images: dict[str, tuple[str, ...]]

    @property
    def size_bytes(self) -> int:
        """The sizes of all layers."""
        return sum(layer.size_bytes for layer in self.layers)

    def is_over(self, most_bytes: int, most_layers: int) -> bool:
        """Whether there is too much."""
        return self.size_bytes > most_bytes or len(self.layers) > most_layers

    def oldest_images(self) -> tuple[str, ...]:
        """The images that end in the oldest layer that no other stands on; () where there is none."""
        parents = {layer.parent for layer in self.layers}
        ends = [layer for layer in self.layers if layer.name not in parents and layer.name in self.images]
        return self.images[min(ends, key=lambda layer: layer.made).name] if ends else ()


def read(root: Path) -> Kept:
    """What the storage at ``root`` says of itself."""
    layers = [
        Layer(row["id"], row.get("parent", ""), row.get("diff-size", 0), row.get("created", ""))
        for row in rows(root, "*-layers/layers.json")
    ]
    images: dict[str, tuple[str, ...]] = {}
    for row in rows(root, "*-images/images.json"):
        end = row.get("layer", "")
        images[end] = (*images.get(end, ()), row["id"])
    return Kept(tuple(layers), images)


def rows(root: Path, pattern: str) -> list[dict[str, Any]]:
    """The entries of the storage's own lists."""
    return [row for path in sorted(root.glob(pattern)) for row in json.loads(path.read_text() or "[]") or []]


def bound(
    folder: Path, call: Sequence[str], most_bytes: int = MOST_BYTES, most_layers: int = MOST_LAYERS
) -> None:
    """Remove from the storage in ``folder`` until it is within its bounds; ``call``: the words that run buildah on it."""
    try:
        kept = read(folder / "root")
        while kept.is_over(most_bytes, most_layers):
            remove(call, kept.oldest_images())
            left = read(folder / "root")
            if len(left.layers) >= len(kept.layers):
                raise ValueError("nothing can be removed")
            kept = left
    except (
        KeyError,
        TypeError,
        ValueError,
        subprocess.TimeoutExpired,
    ):  # damaged or stuck: it is only a cache
        shutil.rmtree(folder)


def remove(call: Sequence[str], images: Sequence[str]) -> None:
    """Remove images. Those on the way to another are refused until that is gone, so what counts is what is left."""
    if images:
        command = [*call, "rmi", "--force", *images]
        subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=REMOVE_LIMIT_S, check=False
        )
