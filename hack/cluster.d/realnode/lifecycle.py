"""A node's life: up, down, restart, kill; what each does in which order, and how long it waits.

Called by __main__.py; uses build/images/knative for what is built, box for namespaces and processes, components for
command lines, install for what goes into Kubernetes. A node is complete when the file `ready` exists; a run folder without it is an
interrupted start, which the next `up` clears away. One command at a time works on a node (a lock file).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from realnode import api, box, build, components, images, install, knative, needs, pki
from realnode.node import MOST_NODES, ClusterError, Node
from realnode.progress import Progress, read

API_READY_S = 60.0
OWNERS = Path("/run/lock")
STOP_S = 10.0  # an API server with open watches would take up to a minute


@dataclass(frozen=True, slots=True)
class Built:
    """The folders in the cache that a node is made of."""

    programs: Path
    images: Path
    manifests: Path
    envoy: Path

    def names(self) -> list[str]:
        return [self.programs.name, self.images.name, self.manifests.name, self.envoy.name]


@contextlib.contextmanager
def locked(path: Path, progress: Progress) -> Iterator[None]:
    """Waits for other `hack/cluster` commands on the same thing; the kernel frees the lock of one that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.line(f"waiting for another hack/cluster ({path.stem})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def owned(node: Node, progress: Progress) -> Iterator[None]:
    """The lock of a node's number on this machine; its file names the cache folder that the node belongs to.

    Namespaces and addresses follow from the number alone, so a node of another cache folder must not be taken for ours.
    """
    path = OWNERS / f"wakeful-node-{node.index}.lock"
    with locked(path, progress):
        owner = path.read_text()
        if owner not in ("", str(node.cache)) and Node(node.index, Path(owner)).run.exists():
            raise ClusterError(
                f"node {node.index} belongs to the cache folder {owner}: choose another --index, "
                f"or set WAKEFUL_CLUSTER_CACHE to that folder"
            )
        path.write_text(str(node.cache))
        yield


# ---------------------------------------------------------------------------- up


def prepare(cache: Path, progress: Progress) -> Built:
    """Everything built and in the cache; seconds when it is already."""
    with locked(cache / "build.lock", progress):
        programs = build.build_programs(cache, progress)
        envoy = build.fetch_envoy(cache, progress)
        archives = images.write_images(cache, programs, envoy, progress)
        return Built(programs, archives, knative.write_manifests(cache, programs, progress), envoy.parent)


def up(node: Node, progress: Progress) -> None:
    """A ready node, whatever was there before; returns when Knative's Deployments are available."""
    is_built = build.programs_folder(node.cache).is_dir()
    needs.check(node.cache, to_run=True, to_build=not is_built, progress=progress)
    with owned(node, progress):
        built = prepare(node.cache, progress)
        if is_complete(node):
            with dead_named(node):
                resume(node, built, progress)
        else:
            if node.run.exists():
                progress.line(f"clearing away an interrupted start of node {node.index}")
            box.remove(node)
            with dead_named(node):
                begin(node, built, progress)
    with locked(node.cache / "build.lock", progress):
        build.forget_older(node.cache, [*built.names(), *used_by_nodes(node.cache)])


@contextlib.contextmanager
def dead_named(node: Node) -> Iterator[None]:
    """Adds to an error what a component that ended has logged last: mostly that is the cause."""
    try:
        yield
    except ClusterError as error:
        started = [name for name in components.COMPONENTS if (node.run / "pids" / name).exists()]
        dead = [
            f"{name} ended:\n  {last_lines(node, name)}" for name in started if not box.pid_of(node, name)
        ]
        raise ClusterError("\n".join([str(error), *dead])) from error


def begin(node: Node, built: Built, progress: Progress) -> None:
    """A node from nothing."""
    node.run.mkdir(parents=True)
    write_whole(node.origin, json.dumps({"names": built.names(), "programs": str(built.programs)}))
    with progress.step("made certificates, namespaces and the cgroup"):
        pki.write_all(node)
        box.create(node, built.programs / "node" / "pause")
        components.write_configuration(node)
    start(node, built.programs, "containerd")
    with install.importing(node, built.images) as finish_import:
        with progress.step("kube-apiserver is ready"):
            for name in ("etcd", "apiserver"):
                start(node, built.programs, name)
        client = api.Api(node)
        client.apply_all(install.dns_role())
        for name in components.COMPONENTS:
            start(node, built.programs, name)
        install.apply_knative(client, built.manifests, finish_import, progress)
    install.wait_for_ingress(node)
    write_whole(node.ready_mark, datetime.now(UTC).isoformat())


def write_whole(path: Path, text: str) -> None:
    """The file appears complete or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.rename(path)


def resume(node: Node, built: Built, progress: Progress) -> None:
    """Starts what is not running of a node that was complete once, with the programs that it was made with."""
    if json.loads(node.origin.read_text())["names"] != built.names():
        progress.line(
            f"node {node.index} keeps what it was made of, which has changed since: down and up renew it"
        )
    programs = programs_of(node)
    if not box.pid_of(node, box.BOX):
        revive(node, programs, progress)
    for name in components.COMPONENTS:
        if not box.pid_of(node, name):
            with progress.step(f"started {name}"):
                start(node, programs, name)
    client = api.Api(node)
    install.wait_for_node(client)
    install.wait_for_knative(client)
    install.wait_for_ingress(node)
    progress.line(f"node {node.index} is up")


def revive(node: Node, programs: Path, progress: Progress) -> None:
    """The first process again (a restart of the node, or of the machine), with all state as it was."""
    with progress.step("made the box again"):
        box.end_processes(node)
        box.remove_cgroup(node)
        if not (box.NETWORKS / node.netns).exists():
            box.check_networks(node)
            box.make_network(node)
        box.make_cgroup(node)
        box.start_first(node, programs / "node" / "pause")


def start(node: Node, programs: Path, name: str) -> None:
    """Starts a component unless it runs, and waits until those that others need can be used."""
    if not box.pid_of(node, name):
        box.start(node, name, components.command(node, programs, name))
    if name == "containerd":
        wait_while_running(node, name, lambda: containerd_answers(node), 30.0)
    elif name == "apiserver":
        wait_while_running(node, name, api.Api(node).is_ready, API_READY_S)


def wait_while_running(node: Node, name: str, is_ready: box.Condition, within_s: float) -> None:
    def look() -> bool:
        if is_ready():
            return True
        if not box.pid_of(node, name):
            raise ClusterError(f"{name} ended; see `hack/cluster logs {name}`:\n  {last_lines(node, name)}")
        return False

    box.wait_for(look, f"a ready {name}", within_s)


def last_lines(node: Node, name: str, count: int = 8) -> str:
    lines = (node.logs / f"{name}.log").read_text(errors="replace").splitlines()
    return "\n  ".join(lines[-count:])


def containerd_answers(node: Node) -> bool:
    with contextlib.suppress(ClusterError):
        return bool(read(("ctr", "--address", node.containerd_socket, "version")))
    return False


# ---------------------------------------------------------------------------- afterwards


def is_complete(node: Node) -> bool:
    return node.ready_mark.exists()


def programs_of(node: Node) -> Path:
    """The programs that a complete node was made with (a newer source does not change it)."""
    if not is_complete(node):
        raise ClusterError(f"node {node.index} is not up: run hack/cluster up{flag(node)}")
    programs = Path(json.loads(node.origin.read_text())["programs"])
    if not programs.is_dir():
        raise ClusterError(
            f"the programs of node {node.index} are gone ({programs}): run hack/cluster down{flag(node)}"
        )
    return programs


def flag(node: Node) -> str:
    return f" --index {node.index}" if node.index else ""


def used_by_nodes(cache: Path) -> Iterator[str]:
    for path in (Node(index, cache).origin for index in range(MOST_NODES)):
        with contextlib.suppress(OSError):  # the node may go while we look
            yield from json.loads(path.read_text())["names"]


def down(node: Node, progress: Progress) -> None:
    with owned(node, progress):
        existed = node.run.exists() or (box.NETWORKS / node.netns).exists()
        with progress.step(f"removed node {node.index}" if existed else f"there is no node {node.index}"):
            box.remove(node)


def purge(cache: Path, progress: Progress) -> None:
    """Removes all that was built, and with it the cache folder; refused while a node exists."""
    left = [index for index in range(MOST_NODES) if Node(index, cache).run.exists()]
    if left:
        raise ClusterError(
            f"nodes {left} exist: run hack/cluster down --index N for each before down --purge"
        )
    shutil.rmtree(cache, ignore_errors=True)
    progress.line(f"removed {cache}")


def restart(node: Node, name: str, progress: Progress) -> None:
    """Ends a component (SIGTERM) and starts it again; `node` ends everything at once, as a power cut does."""
    programs = programs_of(node)
    with owned(node, progress):
        if name == "node":
            revive(node, programs, progress)
            for each in components.COMPONENTS:
                start(node, programs, each)
            with progress.step("the node is Ready again"):
                install.wait_for_node(api.Api(node))
            return
        known(name)
        with progress.step(f"restarted {name}"):
            box.stop(node, name, signal.SIGTERM, within_s=STOP_S)
            start(node, programs, name)


def kill(node: Node, name: str, progress: Progress) -> None:
    """SIGKILL; nothing starts it again but `start`, `restart` or `up`."""
    known(name)
    programs_of(node)
    if not box.stop(node, name, signal.SIGKILL):
        raise ClusterError(f"{name} of node {node.index} is not running")
    progress.line(f"killed {name}")


def start_again(node: Node, name: str, progress: Progress) -> None:
    known(name)
    programs = programs_of(node)
    with owned(node, progress), progress.step(f"started {name}"):
        start(node, programs, name)


def known(name: str) -> None:
    if name not in components.COMPONENTS:
        raise ClusterError(
            f"there is no component {name}: the components are {', '.join(components.COMPONENTS)}"
        )


def load(node: Node, paths: list[Path], progress: Progress) -> None:
    """Imports image archives (docker or OCI layout, tar or tar.gz) into the node's containerd."""
    programs_of(node)
    for path in paths:
        if not path.is_file():
            raise ClusterError(f"{path} is no file: name image archives, as hack/images build writes them")
        progress.line(f"loaded {', '.join(install.import_image(node, path))} from {path.name}")
