"""The box that a node lives in: network, mount and process namespaces, a cgroup for its pods, and a link to it.

Called by lifecycle.py; knows nothing about Kubernetes. Every process of a node runs in the node's network or process
namespace, so a node is found and ended without any record of it, even after `kill -9` of whoever started it.
Invariant: nothing outside the run folder, the namespaces, the cgroup and one network link is changed, and `remove`
takes all of these away, from whatever state.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from realnode.node import ClusterError, Node
from realnode.progress import read

CGROUPS = Path("/sys/fs/cgroup")
NETWORKS = Path("/run/netns")
BOX = "box"
END_S = 30.0
Value = TypeVar("Value")
# nsenter and unshare wait for what they started; they end by themselves, and poll() collects those of this process
LAUNCHED: list[subprocess.Popen[bytes]] = []
Condition = Callable[[], bool]


# ---------------------------------------------------------------------------- making


def create(node: Node, pause: Path) -> None:
    """The network, the cgroup and the first process of a node that does not exist yet."""
    check_networks(node)
    make_network(node)
    make_cgroup(node)
    start_first(node, pause)


def start_first(node: Node, pause: Path) -> None:
    """The process that holds the mount and process namespaces; returns when its mounts are made."""
    for folder in ("var/lib", "var/log", "pids", "log"):
        (node.run / folder).mkdir(parents=True, exist_ok=True)
    enter = ("nsenter", f"--net={NETWORKS / node.netns}", "--")
    unshare = ("unshare", "--mount", "--pid", "--fork", "--propagation", "private", "--")
    (node.run / "mounted").unlink(missing_ok=True)
    outer = launch(
        node, BOX, (*enter, *unshare, "/bin/sh", Path(__file__).with_name("box.sh"), node.run, pause)
    )
    first = wait_for(lambda: only_child(outer) or failed(node, outer, BOX), "the first process of the node")
    wait_for(lambda: (node.run / "mounted").exists() or failed(node, outer, BOX), "the mounts of the node")
    record(node, BOX, first)


def start(node: Node, name: str, command: Sequence[str | Path]) -> int:
    """Starts a program inside the box and returns its process id on this machine; output goes to log/NAME.log."""
    inside = ("nsenter", f"--target={pid_of(node, BOX)}", "--net", "--mount", "--pid", "--")
    outer = launch(node, name, (*inside, *command))
    pid: int = wait_for(lambda: only_child(outer) or failed(node, outer, name), f"the start of {name}")
    record(node, name, pid)
    return pid


def launch(node: Node, name: str, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
    node.logs.mkdir(parents=True, exist_ok=True)
    with (node.logs / f"{name}.log").open("ab") as log:
        started_now = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, cwd="/",
        )  # fmt: skip
    LAUNCHED[:] = [one for one in LAUNCHED if one.poll() is None] + [started_now]
    return started_now


def check_networks(node: Node) -> None:
    """Raises ClusterError when something else on this machine uses an address that the node wants."""
    texts = (f"{node.ip}/24", node.pod_network, node.service_network)
    wanted = [ipaddress.ip_network(text, strict=False) for text in texts]
    for route in json.loads(read(("ip", "-json", "route", "show")) or "[]"):
        if route["dst"] == "default":
            continue
        used = ipaddress.ip_network(route["dst"])
        if any(used.overlaps(network) for network in wanted):
            raise ClusterError(
                f"the network {used} is in use (device {route.get('dev')}): choose another node with --index N"
            )


def make_network(node: Node) -> None:
    """A namespace with a link to this machine and no way further: no traffic of a test can leave it."""
    ip = ("ip",)
    inside = (*ip, "-n", node.netns)
    for command in (
        (*ip, "netns", "add", node.netns),
        (
            *ip,
            "link",
            "add",
            node.host_link,
            "type",
            "veth",
            "peer",
            "name",
            node.node_link,
            "netns",
            node.netns,
        ),
        (*ip, "addr", "add", f"{node.host_ip}/24", "dev", node.host_link),
        (*ip, "link", "set", node.host_link, "up"),
        (*inside, "link", "set", "lo", "up"),
        (*inside, "addr", "add", f"{node.ip}/24", "dev", node.node_link),
        (*inside, "link", "set", node.node_link, "up"),
        (*inside, "link", "add", "cni0", "type", "bridge"),
        (*inside, "addr", "add", f"{node.pod_gateway}/24", "dev", "cni0"),
        (*inside, "link", "set", "cni0", "up"),
        (*inside, "route", "add", node.service_network, "dev", "cni0"),
        (*ip, "route", "add", node.pod_network, "via", node.ip),
        (*ip, "route", "add", node.service_network, "via", node.ip),
    ):
        read(command)
    settings = "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables"
    read(("nsenter", f"--net={NETWORKS / node.netns}", "--", "sh", "-ec", settings))


def make_cgroup(node: Node) -> None:
    """The cgroup above all pods, in every hierarchy that the machine has (version 1, 2 or both)."""
    if (CGROUPS / "cgroup.controllers").exists():
        for controller in (CGROUPS / "cgroup.controllers").read_text().split():
            with contextlib.suppress(
                OSError
            ):  # one that cannot be given on; the kubelet names it if it needs it
                (CGROUPS / "cgroup.subtree_control").write_text(f"+{controller}")
    for folder in cgroup_folders(node):
        folder.mkdir(exist_ok=True)
        for name in (
            "cpuset.cpus",
            "cpuset.mems",
        ):  # version 1: empty in a new group, and then nothing may join it
            if (folder.parent / name).exists() and folder.parent != CGROUPS:
                (folder / name).write_text((folder.parent / name).read_text())


def cgroup_folders(node: Node) -> list[Path]:
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS / node.netns]
    return [
        path / node.netns for path in sorted(CGROUPS.iterdir()) if path.is_dir() and not path.is_symlink()
    ]


# ---------------------------------------------------------------------------- processes


def record(node: Node, name: str, pid: int) -> None:
    """Notes which process a name stands for; the start time tells it from a later process with the same number."""
    path = node.run / "pids" / name
    partial = path.with_suffix(".partial")
    partial.write_text(f"{pid} {started(pid)}")
    partial.rename(path)


def pid_of(node: Node, name: str) -> int:
    """The running process of that name, or 0."""
    with contextlib.suppress(OSError, ValueError):
        pid, ticks = (node.run / "pids" / name).read_text().split()
        if started(int(pid)) == ticks:
            return int(pid)
    return 0


def stop(node: Node, name: str, how: signal.Signals, within_s: float = END_S) -> bool:
    """Ends a process and waits for it (SIGKILL after `within_s`); False when there was none."""
    pid = pid_of(node, name)
    if not pid:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
        deadline = time.monotonic() + within_s
        while pid_of(node, name):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    return True


def processes(node: Node) -> list[int]:
    """Every process in the node's network namespace: all its components, containerd's shims and the first process."""
    try:
        wanted = (NETWORKS / node.netns).stat()
    except OSError:
        return []
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with contextlib.suppress(OSError):
                its = (path / "ns" / "net").stat()
                if (its.st_dev, its.st_ino) == (wanted.st_dev, wanted.st_ino):
                    found.append(int(path.name))
    return sorted(found)


def pod_processes(node: Node) -> list[int]:
    """Every process in the cgroup of the node's pods."""
    found: set[int] = set()
    for top in cgroup_folders(node):
        for path in top.rglob("cgroup.procs"):
            with contextlib.suppress(OSError):
                found.update(int(line) for line in path.read_text().split())
    return sorted(found - {0})


def started(pid: int) -> str:
    """The start time of a process in clock ticks since boot; a process that has ended (or a zombie) has none."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state == "Z" else fields[18]


def only_child(outer: subprocess.Popen[bytes]) -> int:
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0])
    return 0


def failed(node: Node, outer: subprocess.Popen[bytes], name: str) -> int:
    """0 while the program runs; ClusterError with the end of its log when it has ended."""
    if outer.poll() is None:
        return 0
    tail = (node.logs / f"{name}.log").read_text(errors="replace").splitlines()[-10:]
    raise ClusterError(f"{name} ended at once (exit {outer.returncode}): " + "\n  ".join(tail))


def wait_for(condition: Callable[[], Value], what: str, within_s: float = END_S) -> Value:
    """Polls until the condition is true and returns its value; ClusterError after `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise ClusterError(f"{what} did not come within {within_s:.0f} s")
        time.sleep(0.02)
    return value


# ---------------------------------------------------------------------------- removing


def end_processes(node: Node) -> None:
    """Kills every process of the node, pods included, and waits until the kernel has removed them."""

    def gone() -> bool:
        left = [*processes(node), *pod_processes(node)]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    wait_for(gone, "the end of the node's processes")
    wait_for(lambda: all(one.poll() is not None for one in LAUNCHED), "the end of nsenter and unshare")


def remove_cgroup(node: Node) -> None:
    def gone() -> bool:
        for top in cgroup_folders(node):
            for path in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    path.rmdir()
            with contextlib.suppress(OSError):
                top.rmdir()
        return not any(top.exists() for top in cgroup_folders(node))

    wait_for(gone, "the removal of the node's cgroup")


def remove(node: Node) -> None:
    """Takes away all that `create` and `start` made; does nothing where there is nothing."""
    end_processes(node)
    remove_cgroup(node)
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted((path for path in mounted if path.startswith(f"{node.run}/")), reverse=True):
        read(("umount", "-l", path))
    if Path(f"/sys/class/net/{node.host_link}").exists():
        read(("ip", "link", "del", node.host_link))
    if (NETWORKS / node.netns).exists():
        read(("ip", "netns", "del", node.netns))
    shutil.rmtree(node.run, ignore_errors=True)
    if node.run.exists():
        raise ClusterError(f"{node.run} could not be removed: is something using it?")
