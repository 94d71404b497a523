"""A pod's volumes as folders: emptyDir, claims, Secrets, ConfigMaps, projected and downwardAPI; others are refused.

Called by worker. Payload volumes are written as a kubelet writes them: a dated folder, the link ``..data`` to it that
is replaced by rename, and a link per file; so a reader never sees half an update. A claim is the folder
``D/volumes/NAMESPACE/CLAIM``. Invariant: nothing is ever written outside the pod's folder and its claims.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from standalone.node import environment, rewriting
from standalone.node.environment import ConfigError
from standalone.node.ports import Cluster, Mount

Obj = dict[str, Any]
Files = dict[str, tuple[bytes, int]]
"""Relative path -> content and mode."""

SHOWN = 10
"""Names of a volume that a message shows."""
PAYLOAD_KINDS = ("secret", "configMap", "projected", "downwardAPI")


class VolumeError(Exception):
    """A volume cannot be prepared; the text is the message of the FailedMount event."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where the volumes of one pod are."""

    pod: Path
    """``D/pods/UID/volumes``."""
    claims: Path
    """``D/volumes``."""


async def prepare(
    pod: Obj, folders: Folders, cluster: Cluster, capacity: Mapping[str, str]
) -> dict[str, Path]:
    """Make every volume of ``pod``; volume name -> folder. Raises ``VolumeError`` or ``ClusterError``."""
    made: dict[str, Path] = {}
    for volume in pod["spec"].get("volumes") or []:
        try:
            made[volume["name"]] = await _one(pod, volume, folders, cluster, capacity)
        except (ConfigError, OSError, ValueError) as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error
    return made


def mounts(container: Obj, made: Mapping[str, Path], variables: Mapping[str, str]) -> list[Mount]:
    """The mounts of a container; sub-paths are made. Raises ``ConfigError`` for one that is not possible.

    A missing sub-path is made a folder, as a kubelet does, but not for a read-only mount: there it can only be a
    mistake (``storageUri: pvc://claim/modle.joblib``), and a folder of that name would stay in the claim.
    """
    found = []
    for mount in container.get("volumeMounts") or []:
        name = mount["name"]
        if name not in made:
            raise ConfigError(f'volumeMounts: the pod has no volume "{name}"')
        sub = mount.get("subPath") or environment.expand(mount.get("subPathExpr") or "", variables)
        try:
            path = rewriting.normal(mount["mountPath"])
            source = rewriting.inside(made[name], sub) if sub else made[name]
            if not source.exists():
                if mount.get("readOnly"):
                    raise ValueError(_missing(made[name], sub))
                source.mkdir(parents=True)
        except (ValueError, OSError) as error:
            raise ConfigError(f'volume "{name}": {error}') from error
        found.append(Mount(path, source, bool(mount.get("readOnly"))))
    return found


def _missing(volume: Path, sub: str) -> str:
    there = sorted(path.name for path in volume.iterdir() if not path.name.startswith("."))
    held = ", ".join(there[:SHOWN]) + (", ..." if len(there) > SHOWN else "")
    return f"there is no {sub!r} in it, and the mount is read-only; it holds: {held or 'nothing'}"


def is_refreshable(pod: Obj) -> bool:
    """Whether any volume of ``pod`` shows objects that may change while it runs."""
    return any(kind in volume for volume in pod["spec"].get("volumes") or [] for kind in PAYLOAD_KINDS)


def remove(folder: Path) -> None:
    """Delete a pod's folder, whatever modes its files have."""

    def force(function: Any, path: str, _error: Any) -> None:
        try:
            Path(path).parent.chmod(0o700)
            function(path)
        except OSError:
            return

    shutil.rmtree(folder, onerror=force)


async def _one(
    pod: Obj, volume: Obj, folders: Folders, cluster: Cluster, capacity: Mapping[str, str]
) -> Path:
    folder = _below(folders.pod, volume["name"])
    if claim := volume.get("persistentVolumeClaim"):
        return await _claim(pod, claim["claimName"], folders, cluster)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(kind in volume for kind in PAYLOAD_KINDS):
        _publish(folder, await _files(pod, volume, cluster, capacity))
        return folder
    kinds = [key for key in volume if key != "name"]
    if not kinds or kinds == ["emptyDir"]:
        return folder
    why = (
        "it would reach outside the platform" if kinds == ["hostPath"] else "it has no meaning on one machine"
    )
    raise ValueError(
        f"{kinds[0]} volumes are refused here: {why}; use a persistentVolumeClaim or an emptyDir"
    )


async def _claim(pod: Obj, claim: str, folders: Folders, cluster: Cluster) -> Path:
    namespace = pod["metadata"]["namespace"]
    if await cluster.get("PersistentVolumeClaim", namespace, claim) is None:
        raise ValueError(f'persistentvolumeclaim "{claim}" not found')
    folder = _below(_below(folders.claims, namespace), claim)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


async def _files(pod: Obj, volume: Obj, cluster: Cluster, capacity: Mapping[str, str]) -> Files:
    if "projected" in volume:
        source = volume["projected"] or {}
        mode = int(source.get("defaultMode") or 0o644)
        files: Files = {}
        for part in source.get("sources") or []:
            files |= await _source(pod, part, mode, cluster, capacity)
        return files
    kind = next(kind for kind in PAYLOAD_KINDS if kind in volume)
    source = dict(volume[kind] or {})
    if kind == "secret":
        source["name"] = source.get("secretName") or source.get("name")
    return await _source(pod, {kind: source}, int(source.get("defaultMode") or 0o644), cluster, capacity)


async def _source(pod: Obj, part: Obj, mode: int, cluster: Cluster, capacity: Mapping[str, str]) -> Files:
    namespace = pod["metadata"]["namespace"]
    if fields := part.get("downwardAPI"):
        return {
            _relative(item["path"]): _downward(pod, item, mode, capacity)
            for item in fields.get("items") or []
        }
    if token := part.get("serviceAccountToken"):
        account = pod["spec"].get("serviceAccountName") or "default"
        expires_s = int(token.get("expirationSeconds") or 3600)
        text = await cluster.token(namespace, account, token.get("audience") or "", expires_s)
        return {_relative(token["path"]): (text.encode(), 0o600)}
    kind = next((k for k in ("secret", "configMap") if k in part), None)
    if kind is None:
        raise ValueError(f"projected source {next(iter(part), 'empty')!r} is not supported")
    source = part[kind] or {}
    name = source.get("name") or ""
    obj = await cluster.get("Secret" if kind == "secret" else "ConfigMap", namespace, name)
    if obj is None:
        if source.get("optional"):
            return {}
        raise ValueError(f'{kind.lower()} "{name}" not found')
    return _items(environment.decode(obj), source, mode)


def _items(entries: Mapping[str, bytes], source: Obj, mode: int) -> Files:
    items = source.get("items")
    if not items:
        return {_relative(key): (value, mode) for key, value in entries.items()}
    files: Files = {}
    for item in items:
        if item["key"] in entries:
            files[_relative(item["path"])] = (entries[item["key"]], int(item.get("mode") or mode))
        elif not source.get("optional"):
            raise ValueError(f"references non-existent key: {item['key']}")
    return files


def _downward(pod: Obj, item: Obj, mode: int, capacity: Mapping[str, str]) -> tuple[bytes, int]:
    if reference := item.get("fieldRef"):
        text = environment.field_value(pod, reference["fieldPath"])
    else:
        text = environment.resource_value(pod, {}, item.get("resourceFieldRef") or {}, capacity)
    return text.encode(), int(item.get("mode") or mode)


def _relative(path: str) -> str:
    parts = Path(path).parts
    if not parts or path.startswith("/") or ".." in parts or parts[0].startswith(".."):
        raise ValueError(f"path {path!r} must be relative and must not contain '..'")
    return str(Path(path))


def _below(folder: Path, name: str) -> Path:
    if not name or "/" in name or name in (".", ".."):
        raise ValueError(f"name {name!r} cannot be a folder")
    return folder / name


def _publish(folder: Path, files: Files) -> None:
    """Show ``files`` in ``folder`` all at once; nothing is written where they are the same already."""
    link = folder / "..data"
    if link.exists() and _read(link) == {path: content for path, (content, _) in files.items()}:
        return
    dated = folder / f"..{time.time_ns()}"
    for path, (content, mode) in files.items():
        target = dated / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode & 0o777)
    dated.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / "..data_new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(dated.name)
    fresh.replace(link)
    tops = {Path(path).parts[0] for path in files}
    for name in tops:
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    for old in folder.iterdir():
        if old.name.startswith("..") and old.name not in ("..data", dated.name):
            shutil.rmtree(old, ignore_errors=True)
        elif not old.name.startswith("..") and old.name not in tops:
            old.unlink()


def _read(folder: Path) -> dict[str, bytes]:
    root = folder.resolve()
    found = {}
    for base, _, names in os.walk(root):
        for name in names:
            file = Path(base) / name
            found[str(file.relative_to(root))] = file.read_bytes()
    return found
