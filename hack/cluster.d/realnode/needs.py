"""What a machine must have before a node can run on it; called first by `up` and `build`.

As root on a Debian-like system the missing packages are installed with apt-get; everything else that is missing ends
in one ClusterError that names all of it. Left out: other package managers.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from realnode.node import ClusterError
from realnode.progress import Progress, run

# program looked for -> Debian package that holds it
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
}
NAMESPACES = ("unshare", "--mount", "--net", "--pid", "--fork", "mount", "-t", "proc", "proc", "/proc")
OLDEST_GO = (1, 21)  # the first that fetches the toolchain that go.mod asks for
BUILD_DISK_BYTES = 12 << 30
RUN_DISK_BYTES = 6 << 30
RUN_MEMORY_BYTES = 3 << 30


def check(folder: Path, *, to_run: bool, to_build: bool, progress: Progress) -> None:
    """Raises one ClusterError that names everything missing; installs Debian packages when it may (root)."""
    missing = []
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        raise ClusterError(
            f"a node needs Linux on x86_64, and this is {platform.system()} on {platform.machine()}"
        )
    if to_run and os.geteuid() != 0:
        missing.append("root (it makes network namespaces, mounts and cgroups)")
    elif to_run and subprocess.run(NAMESPACES, capture_output=True, check=False).returncode != 0:
        missing.append("the right to make namespaces (in a container: a privileged one)")
    if to_build and (fault := go_fault()):
        missing.append(fault)
    if to_run and (packages := missing_packages()):
        if os.geteuid() == 0 and shutil.which("apt-get"):
            with progress.step(f"apt-get installed {' '.join(packages)}"):
                install(packages, folder)
        else:
            missing.append(f"the packages {' '.join(packages)}")
    missing += room_faults(folder, to_run=to_run, to_build=to_build)
    if missing:
        raise ClusterError(f"hack/cluster needs {', and '.join(missing)}")


def missing_packages() -> list[str]:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return sorted({package for name, package in PROGRAMS.items() if not shutil.which(name, path=path)})


def install(packages: list[str], folder: Path) -> None:
    log = folder / "apt.log"
    apt = ("apt-get", "-y", "-qq", "--no-install-recommends", "install", *packages)
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(apt, log=log, env=env)
    except ClusterError:  # often only the lists are old
        run(("apt-get", "-qq", "update"), log=log, env=env)
        run(apt, log=log, env=env)
    if left := missing_packages():
        raise ClusterError(
            f"apt-get ended well, but what these packages hold is still missing: {' '.join(left)}"
        )


def go_fault() -> str:
    """What is wrong with the Go of this machine; empty when nothing is."""
    wanted = f"Go {'.'.join(map(str, OLDEST_GO))} or newer on the PATH (to build Kubernetes and Knative)"
    if not shutil.which("go"):
        return wanted
    text = subprocess.run(("go", "version"), capture_output=True, text=True, check=False).stdout
    found = re.search(r"go(\d+)\.(\d+)", text)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GO:
        return f"{wanted}, not {text.strip() or 'a go that does not start'}"
    return ""


def room_faults(folder: Path, *, to_run: bool, to_build: bool) -> list[str]:
    """Too little disk or memory, said before an hour is lost to it."""
    faults = []
    folder.mkdir(parents=True, exist_ok=True)
    wanted = BUILD_DISK_BYTES if to_build else RUN_DISK_BYTES
    free = shutil.disk_usage(folder).free
    if free < wanted:
        faults.append(f"{wanted >> 30} GiB free in {folder} ({free >> 30} are)")
    if to_run:
        available = int(re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[1]) << 10  # type: ignore[index]
        if available < RUN_MEMORY_BYTES:
            faults.append(f"{RUN_MEMORY_BYTES >> 30} GiB of free memory ({available >> 20} MiB are)")
    return faults
