"""Writes the archive that a node or an engine loads, from the one that a builder saved.

Called by __main__.py. A docker-archive holds a manifest, a configuration and layers; builders add a second form of the
same, today's date and names of their own. What is kept here is the manifest with our names, the configuration and the
layers, sorted and without dates, so that equal images are equal files.

Left out: OCI layouts (every loader reads docker-archives), compression (it goes to a node on the same machine).
"""

from __future__ import annotations

import io
import json
import posixpath
import tarfile
from collections.abc import Sequence
from pathlib import Path

from imagebuild.steps import ImageError


def rename(saved: Path, target: Path, names: Sequence[str]) -> None:
    """Write ``target``: the one image of ``saved`` under ``names``. Raises ImageError."""
    partial = target.with_suffix(".partial")
    with tarfile.open(saved) as source:
        entries = json.loads(read(source, "manifest.json", saved))
        if len(entries) != 1:
            raise ImageError(f"{saved} holds {len(entries)} images, and one was expected")
        entry = {"Config": entries[0]["Config"], "RepoTags": list(names), "Layers": entries[0]["Layers"]}
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as out:
            put(out, "manifest.json", json.dumps([entry], sort_keys=True).encode())
            put(out, entry["Config"], read(source, entry["Config"], saved))
            for layer in dict.fromkeys(entry["Layers"]):
                member = resolve(source, layer)
                content = source.extractfile(member)
                out.addfile(header(layer, member.size), content)
    partial.replace(target)


def describe(path: Path) -> dict[str, object]:
    """The configuration of the image in an archive: user, entry point, labels, layers."""
    with tarfile.open(path) as source:
        entry = json.loads(read(source, "manifest.json", path))[0]
        found: dict[str, object] = json.loads(read(source, entry["Config"], path))
    return found


def read(source: tarfile.TarFile, name: str, path: Path) -> bytes:
    """The contents of a member. Raises ImageError."""
    try:
        member = source.extractfile(resolve(source, name))
    except KeyError as error:
        raise ImageError(f"{path} is no docker-archive: it has no {name}") from error
    if member is None:
        raise ImageError(f"{path} is no docker-archive: {name} is no file")
    return member.read()


def resolve(source: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    """The member, through one link where a builder stores a layer twice."""
    member = source.getmember(name)
    if member.issym():
        return source.getmember(posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)))
    return member


def header(name: str, size_bytes: int) -> tarfile.TarInfo:
    """A plain file's header that says nothing of this machine."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o644
    return info


def put(out: tarfile.TarFile, name: str, data: bytes) -> None:
    out.addfile(header(name, len(data)), io.BytesIO(data))
