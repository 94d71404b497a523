"""From a container spec to a ``Launch``: image table entry, ports, environment, mounts, argv.

Called by container each time it starts one, so that a changed table, Secret or ConfigMap counts at the next start.
A command of the container replaces the image's entry point and args replace its CMD, as in Kubernetes; ``append`` of
the table is added only where the table's entry point runs. Raises ``StartError`` with the kubelet's waiting reason.

Invariant: nothing of the node's own environment reaches a pod but PATH, HOME, LANG and the proxy that makes
in-cluster names work.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standalone.node import addresses, environment, images, limits, rewriting, volumes
from standalone.node.environment import ConfigError, Sources
from standalone.node.ports import Cluster, ClusterError, Launch, Limits, Mount, StartError

Obj = dict[str, Any]

TERMINATION_PATH = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one container of one pod works on disk, and what it is called."""

    folder: Path
    """``D/pods/UID``."""
    container: str
    restarts: int

    @property
    def work(self) -> Path:
        return self.folder / "work" / self.container

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp" / self.container

    @property
    def log(self) -> Path:
        return self.folder / "logs" / f"{self.container}.log"

    @property
    def termination(self) -> Path:
        return self.folder / "termination" / f"{self.container}-{self.restarts}"

    def make(self) -> None:
        for folder in (self.work, self.temporary, self.log.parent, self.termination.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True, slots=True)
class Host:
    """What the machine gives to every container."""

    proxy: str
    """The gateway, ``http://127.0.0.1:PORT``; empty for none."""
    capacity: Mapping[str, str]
    python: str = sys.executable
    local_models: tuple[Path, ...] = ()
    """Folders that ``storageUri: file:///...`` may read, beside ``/mnt``."""

    def fill(self, text: str, ports: Mapping[int, int]) -> str:
        """A text of the image table with what it names of this machine."""
        folders = ":".join(map(str, ("/mnt", *self.local_models)))
        return images.fill(text, self.python, ports).replace("{local_models}", folders)

    def base(self, pod: Obj, place: Place) -> dict[str, str]:
        """The variables below the image's and the container's own."""
        variables = {
            "PATH": f"{Path(self.python).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(place.work),
            "LANG": "C.UTF-8",
            "TMPDIR": str(place.temporary),
            "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
            "WAKEFUL_TERMINATION_LOG": str(place.termination),
        }
        if self.proxy:
            variables |= {
                "http_proxy": self.proxy,
                "https_proxy": self.proxy,
                "no_proxy": "localhost,127.0.0.1",
            }
        return variables


@dataclass(frozen=True, slots=True)
class Prepared:
    """The parts of the pod that a launch needs."""

    pod: Obj
    container: Obj
    image: images.Image | None
    """The table's entry; None where a container engine runs the image itself."""
    sources: Sources
    volumes: Mapping[str, Path]
    ports: Mapping[int, int]


def compose(prepared: Prepared, place: Place, host: Host) -> Launch:
    """The launch of a container. Raises ``StartError`` CreateContainerConfigError."""
    is_native = prepared.image is not None
    container = _with_port(prepared.container, prepared.ports) if is_native else prepared.container
    try:
        own = environment.build(prepared.pod, container, prepared.sources, host.capacity)
        mounts = volumes.mounts(container, prepared.volumes, own)
        enforced = limits.parse(container)
    except (ConfigError, ValueError) as error:
        raise StartError("CreateContainerConfigError", str(error)) from error
    place.make()
    rewrite = _rewriter(container, mounts, place) if is_native else str
    program = _Program(
        own, rewrite, prepared.image or images.Image(""), host, _listening(container, prepared.ports)
    )
    return Launch(
        id=f"{prepared.pod['metadata']['uid']}/{place.container}/{place.restarts}",
        image=container.get("image") or "",
        argv=tuple(program.argv(container, prepared.ports, is_native)),
        env=program.env(host.base(prepared.pod, place) if is_native else {}, prepared.ports),
        cwd=_directory(container, rewrite, place),
        log=place.log,
        entrypoint=() if is_native else tuple(program.expanded(container.get("command"))),
        preload=program.image.preload,
        limits=enforced,
        mounts=tuple(mounts),
        ports=dict(prepared.ports),
        meta={"ports": {str(k): v for k, v in prepared.ports.items()}},
    )


@dataclass(frozen=True, slots=True)
class _Program:
    """The words and variables of a container as its image and its spec give them."""

    variables: Mapping[str, str]
    rewrite: rewriting.Rewrite
    image: images.Image
    host: Host
    listening: Mapping[str, str] = field(default_factory=dict)
    """``PORT`` of a container that says by ``--http_port`` where it listens, beside the one that serves."""

    def env(self, below: Mapping[str, str], ports: Mapping[int, int]) -> dict[str, str]:
        table = {k: self.host.fill(v, ports) for k, v in self.image.env.items()}
        own = {k: addresses.neighbours(self.rewrite(v), ports) for k, v in self.variables.items()}
        return {**below, **table, **self.listening, **own}

    def expanded(self, words: Any) -> list[str]:
        return [self.rewrite(environment.expand(str(word), self.variables)) for word in words or []]

    def argv(self, container: Obj, ports: Mapping[int, int], is_native: bool) -> list[str]:
        command, args = self.expanded(container.get("command")), self.expanded(container.get("args"))
        if not is_native:
            return args

        command = [addresses.neighbours(word, ports) for word in command]
        args = [addresses.neighbours(word, ports) for word in args]
        own = addresses.listens_on(command + args)
        # An image's entry speaks of port 8080; a container told to listen elsewhere is meant at that port.
        mine = ports if own is None else {**ports, images.DEFAULT_PORT: ports.get(own, own)}

        def filled(words: tuple[str, ...]) -> list[str]:
            return [self.host.fill(word, mine) for word in words]

        if command:
            return command + args
        image = self.image
        argv = filled(image.argv) + (args or filled(image.cmd)) + filled(image.append)
        if not argv:
            text = "no command specified: neither the image's entry in the table nor the container has one"
            raise StartError("CreateContainerError", text)
        return argv


async def fetch_sources(pod: Obj, container: Obj, cluster: Cluster) -> Sources:
    """The Secrets and ConfigMaps that the container's environment names. Raises ``StartError``."""
    namespace = pod["metadata"]["namespace"]
    wanted = _references(container)
    try:
        found = {key: await cluster.get(key[0], namespace, key[1]) for key in sorted(wanted)}
    except ClusterError as error:
        raise StartError("CreateContainerConfigError", str(error)) from error
    return Sources(
        {name: obj for (kind, name), obj in found.items() if kind == "Secret" and obj is not None},
        {name: obj for (kind, name), obj in found.items() if kind == "ConfigMap" and obj is not None},
    )


def unknown_image(name: str, table: images.ImageTable) -> StartError:
    """The error for an image that neither the table nor an engine can run: image, file, what to add."""
    if not name.strip():
        return StartError("InvalidImageName", 'Failed to apply default image "": couldn\'t parse image name')
    pattern = name.partition("@")[0]
    message = (
        f'image "{name}" is not in the image table and no container engine answers on this machine; '
        f'add to {table.user_file} an entry such as  - pattern: "{pattern}"  with  argv: ["{{python}}", "-m", '
        f'"your.module"]  (or start with --images FILE)'
    )
    return StartError("ErrImagePull", message)


def _listening(container: Obj, ports: Mapping[int, int]) -> dict[str, str]:
    port = addresses.listens_on([*(container.get("command") or []), *(container.get("args") or [])])
    return {"PORT": str(ports[port])} if port is not None and port in ports else {}


def _with_port(container: Obj, ports: Mapping[int, int]) -> Obj:
    """The container with ``PORT`` set to the loopback port that stands for it."""

    def given(entry: Obj) -> Obj:
        value = str(entry.get("value") or "")
        if entry.get("name") == "PORT" and value.isdigit() and int(value) in ports:
            return {"name": "PORT", "value": str(ports[int(value)])}
        return entry

    return {**container, "env": [given(entry) for entry in container.get("env") or []]}


def _rewriter(container: Obj, mounts: list[Mount], place: Place) -> rewriting.Rewrite:
    folders = {mount.path: str(mount.source) for mount in mounts}
    folders.setdefault(container.get("terminationMessagePath") or TERMINATION_PATH, str(place.termination))
    return rewriting.build(folders)


def _directory(container: Obj, rewrite: rewriting.Rewrite, place: Place) -> Path:
    wanted = container.get("workingDir")
    if not wanted:
        return place.work
    folder = Path(rewrite(wanted))
    if str(folder) != wanted and folder.is_dir():
        return folder
    # An image's own folder does not exist here; the container's scratch folder stands for it.
    return folder if folder.is_dir() else place.work


def _references(container: Obj) -> set[tuple[str, str]]:
    wanted = set()
    for entry in container.get("env") or []:
        origin = entry.get("valueFrom") or {}
        wanted.add(("Secret", (origin.get("secretKeyRef") or {}).get("name") or ""))
        wanted.add(("ConfigMap", (origin.get("configMapKeyRef") or {}).get("name") or ""))
    for source in container.get("envFrom") or []:
        wanted.add(("Secret", (source.get("secretRef") or {}).get("name") or ""))
        wanted.add(("ConfigMap", (source.get("configMapRef") or {}).get("name") or ""))
    return {(kind, name) for kind, name in wanted if name}


def default_capacity(cpus: int, memory_bytes: int, folder: Path) -> dict[str, str]:
    """The node's capacity as quantities."""
    disk = shutil.disk_usage(folder).total
    return {
        "cpu": str(cpus),
        "memory": f"{memory_bytes // 1024}Ki",
        "pods": "250",
        "ephemeral-storage": f"{disk // 1024}Ki",
    }


__all__ = ["Host", "Launch", "Limits", "Place", "Prepared", "compose", "fetch_sources", "unknown_image"]
