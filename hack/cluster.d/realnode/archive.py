"""Writes container images as one docker-archive tar, without a container engine.

Called by images.py. A layer is a set of files from this machine, texts and folders; equal layers are stored once, and
equal input gives equal bytes (sorted names, time 0). Left out: compression (the node is on this machine) and links.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PATH_VARIABLE = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Layer:
    """Paths in the image: `files` from this machine, `texts` as given, `folders` with their mode."""

    files: Mapping[str, Path] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Image:
    """`user` is a number (uid:gid), so that runAsNonRoot can be checked."""

    name: str
    layers: tuple[Layer, ...]
    entrypoint: str
    user: str = "65532:65532"


class LayerWriter:
    """Adds entries to one layer's tar, with the parent folders that they need."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._folders: set[str] = set()

    def write(self, layer: Layer) -> None:
        for path, mode in sorted(layer.folders.items()):
            self._folder(path.strip("/"), mode)
        for path, text in sorted(layer.texts.items()):
            content = text.encode()
            self._file(path, io.BytesIO(content), len(content), 0o644)
        for path, source in sorted(layer.files.items()):
            with source.open("rb") as stream:
                mode = 0o755 if os.access(source, os.X_OK) else 0o644
                self._file(path, stream, source.stat().st_size, mode)

    def _folder(self, name: str, mode: int) -> None:
        if not name or name in self._folders:
            return
        self._folder(name.rpartition("/")[0], 0o755)
        self._folders.add(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(entry)

    def _file(self, path: str, content: IO[bytes], size_bytes: int, mode: int) -> None:
        name = path.strip("/")
        self._folder(name.rpartition("/")[0], 0o755)
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = size_bytes, mode
        self._tar.addfile(entry, content)


def write(target: Path, images: Sequence[Image]) -> None:
    """Writes all images into the one archive `target`, which appears only when complete."""
    partial = target.with_suffix(".partial")
    manifest = []
    stored: set[str] = set()
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch, tarfile.open(partial, "w") as tar:
        for image in images:
            digests = []
            for layer in image.layers:
                path = Path(scratch) / "layer.tar"
                digest = write_layer(path, layer)
                digests.append(digest)
                if digest not in stored:
                    stored.add(digest)
                    tar.add(path, arcname=f"{digest}.tar", filter=anonymous)
            config = json.dumps(config_of(image, digests), sort_keys=True).encode()
            config_name = f"{hashlib.sha256(config).hexdigest()}.json"
            add_bytes(tar, config_name, config)
            layers = [f"{digest}.tar" for digest in digests]
            manifest.append({"Config": config_name, "RepoTags": [image.name], "Layers": layers})
        add_bytes(tar, "manifest.json", json.dumps(manifest).encode())
    partial.rename(target)


def write_layer(path: Path, layer: Layer) -> str:
    """Writes one layer and returns its digest (hex sha256)."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        LayerWriter(tar).write(layer)
    with path.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def config_of(image: Image, digests: Sequence[str]) -> dict[str, object]:
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": [image.entrypoint],
            "User": image.user,
            "WorkingDir": "/",
            "Env": [PATH_VARIABLE],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
        "history": [{"created_by": "hack/cluster"} for _ in digests],
    }


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
    return entry


def add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
