"""A real node's life: interrupted, started, broken in parts, cut off, removed. Minutes long, so only on request:

    WAKEFUL_CLUSTER_TESTS=1 .venv/bin/pytest tests/platform/cluster_tool/test_node.py

Needs root and what hack/cluster has built (`hack/cluster build`). Node 7 is used and removed at the end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from realnode import box, build, components
from realnode.node import HERE, Node, cache_folder

NODE = Node(7, cache_folder())
SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys")
pytestmark = [
    pytest.mark.usefixtures("needs_root"),
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not os.environ.get("WAKEFUL_CLUSTER_TESTS"), reason="set WAKEFUL_CLUSTER_TESTS=1"),
    pytest.mark.skipif(not build.programs_folder(NODE.cache).is_dir(), reason="run hack/cluster build first"),
]


def machine() -> dict[str, str]:
    """What a node must not change of the machine it runs on."""
    found = {name: Path("/proc/sys", name).read_text() for name in SETTINGS}
    for command in (("iptables-save",), ("ip", "-o", "link"), ("ip", "route"), ("ip", "netns")):
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        mine = [line for line in lines if "wkc7" in line or "10.89.7." in line]
        found[" ".join(command)] = "\n".join(mine)
    found["mounts"] = "\n".join(
        line for line in Path("/proc/mounts").read_text().splitlines() if str(NODE.run) in line
    )
    found["cgroups"] = " ".join(str(path) for path in box.cgroup_folders(NODE) if path.exists())
    found["processes"] = str(box.processes(NODE))
    found["state"] = str(NODE.run.exists())
    for folder in (
        "/var/lib/kubelet",
        "/var/lib/cni",
        "/var/log/pods",
        "/var/log/containers",
        "/opt/containerd",
    ):
        found[folder] = str(Path(folder).exists())
    return found


def begin(*arguments: str) -> subprocess.Popen[bytes]:
    command = (sys.executable, "-m", "realnode", *arguments, "--index", "7")
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE)})


def cluster(*arguments: str) -> None:
    assert begin(*arguments).wait(400) == 0


@pytest.fixture(scope="module")
def before() -> Iterator[dict[str, str]]:
    cluster("down")
    found = machine()
    yield found
    cluster("down")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("part", ["box", "apiserver", "kubelet"])
def test_an_interrupted_start_leaves_nothing_after_down(
    before: dict[str, str], part: str, how: signal.Signals
) -> None:
    starting = begin("up")
    deadline = time.monotonic() + 120
    while not box.pid_of(NODE, part):
        assert starting.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    starting.send_signal(how)
    assert starting.wait(30) != 0
    cluster("down")
    assert machine() == before


def test_a_life(before: dict[str, str]) -> None:
    starting = begin("up")
    while not (NODE.run / "pids" / "kubelet").exists():  # an interrupted start, cleared away by the next
        assert starting.poll() is None
        time.sleep(0.05)
    starting.kill()
    starting.wait(30)
    cluster("up")
    assert {name: Path("/proc/sys", name).read_text() for name in SETTINGS} == {
        name: before[name] for name in SETTINGS
    }
    cluster("smoke")
    first = {name: box.pid_of(NODE, name) for name in components.COMPONENTS}
    cluster("up")  # changes nothing
    assert {name: box.pid_of(NODE, name) for name in components.COMPONENTS} == first
    cluster("kill", "kubelet")
    cluster("kill", "etcd")
    assert begin("status").wait(60) == 1
    cluster("up")  # starts what is missing
    cluster("restart", "apiserver")
    cluster("restart", "node")
    assert not set(first.values()) & {box.pid_of(NODE, name) for name in components.COMPONENTS}
    cluster("up")
    cluster("smoke")
    assert begin("status").wait(60) == 0
    cluster("down")
    assert machine() == before
