"""The box of a node (hack/cluster): real namespaces, a real cgroup, a real link; everything goes with `remove`.

Node 15 is used, so that a node of a person or of hack/e2e (0 and up) is not touched.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from realnode import box, lifecycle
from realnode.node import ClusterError, Node

pytestmark = pytest.mark.usefixtures("needs_root")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def node() -> Iterator[Node]:
    with tempfile.TemporaryDirectory(prefix="wkc-") as folder:
        made = Node(15, Path(folder))
        made.run.mkdir(parents=True)
        yield made
        box.remove(made)


@pytest.fixture
def pause(tmp_path: Path) -> Path:
    script = tmp_path / "pause"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    return script


def left_over(node: Node) -> list[str]:
    """What exists of a node, by looking at the machine."""
    found = [
        str(path)
        for path in (box.NETWORKS / node.netns, Path("/sys/class/net", node.host_link))
        if path.exists()
    ]
    found += [str(path) for path in box.cgroup_folders(node) if path.exists()]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if str(node.cache) in line]
    return found + [str(pid) for pid in box.processes(node)] + ([str(node.run)] if node.run.exists() else [])


def within(condition: Callable[[], object], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def output_of(node: Node, *command: str) -> str:
    """What a program inside the box prints."""
    log = node.logs / "look.log"
    log.unlink(missing_ok=True)
    box.start(node, "look", ("/bin/sh", "-c", " ".join(command) + "; echo end; exec sleep 600"))
    within(lambda: log.read_text().endswith("end\n"))
    return log.read_text().removesuffix("end\n")


def test_everything_is_made_and_everything_is_removed(node: Node, pause: Path) -> None:
    box.create(node, pause)
    assert len(left_over(node)) >= 4
    box.remove(node)
    assert left_over(node) == []
    box.remove(node)  # safe to repeat


def test_kernel_settings_and_folders_are_the_nodes_own(node: Node, pause: Path) -> None:
    setting = Path("/proc/sys/vm/panic_on_oom")
    outside = Path("/proc/sys/kernel/panic").read_text()
    box.create(node, pause)
    inside = output_of(
        node, "cat /proc/sys/kernel/panic; echo 7 > /proc/sys/vm/panic_on_oom; touch /run/mine /var/lib/mine"
    )
    assert inside == "10\n"
    assert Path("/proc/sys/kernel/panic").read_text() == outside
    assert setting.read_text() != "7\n"
    assert not Path("/run/mine").exists()
    assert not Path("/var/lib/mine").exists()


def test_no_way_out_of_the_network(node: Node, pause: Path) -> None:
    box.create(node, pause)
    routes = output_of(node, "ip route")
    assert "default" not in routes
    assert node.pod_network in routes


def test_a_program_and_its_orphans_end_with_the_box(node: Node, pause: Path) -> None:
    box.create(node, pause)
    # the grandchild has left its parent, its session and the network namespace, as a pod's process has
    script = "setsid unshare --net sleep 601 & exec sleep 603"
    box.start(node, "starter", ("/bin/sh", "-c", script))
    found = ("pgrep", "-f", "^sleep 601$")
    within(lambda: subprocess.run(found, capture_output=True, check=False).returncode == 0)
    box.remove(node)
    assert subprocess.run(found, capture_output=True, check=False).returncode == 1


def test_a_component_can_be_ended_and_is_known_by_its_start_time(node: Node, pause: Path) -> None:
    box.create(node, pause)
    pid = box.start(node, "c", ("sleep", "602"))
    assert box.pid_of(node, "c") == pid
    assert box.stop(node, "c", signal.SIGTERM)
    assert box.pid_of(node, "c") == 0
    assert not box.stop(node, "c", signal.SIGTERM)
    (node.run / "pids" / "c").write_text(f"{os.getpid()} 1")  # the number was given to another process
    assert box.pid_of(node, "c") == 0


def test_a_component_that_ignores_sigterm_is_killed(node: Node, pause: Path) -> None:
    box.create(node, pause)
    box.start(node, "c", ("/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 600; done"))
    within(lambda: "ready" in (node.logs / "c.log").read_text())
    assert box.stop(node, "c", signal.SIGTERM, within_s=0.2)


def test_a_program_that_cannot_start_says_why(node: Node, pause: Path) -> None:
    box.create(node, pause)
    with pytest.raises(ClusterError, match=r"(?s)c ended.*no-such-program"):
        box.start(node, "c", ("/no-such-program",))
        lifecycle.wait_while_running(node, "c", lambda: False, 10)


def test_an_address_that_is_in_use_is_refused(node: Node) -> None:
    subprocess.run(("ip", "link", "add", "wkc-test", "type", "bridge"), check=True)
    try:
        subprocess.run(("ip", "addr", "add", f"{node.host_ip}/16", "dev", "wkc-test"), check=True)
        subprocess.run(("ip", "link", "set", "wkc-test", "up"), check=True)
        with pytest.raises(ClusterError, match=r"10\.89\.0\.0/16 is in use .*wkc-test.*--index"):
            box.check_networks(node)
    finally:
        subprocess.run(("ip", "link", "del", "wkc-test"), check=True)


@pytest.mark.parametrize("stage", ["make_network", "make_cgroup", "start_first"])
def test_kill_9_in_the_middle_leaves_nothing_that_remove_does_not_find(
    node: Node, pause: Path, stage: str
) -> None:
    """Another process makes the box and is killed after `stage`; this one removes it knowing nothing of that."""
    program = f"""
import os, signal
from pathlib import Path
from realnode import box, lifecycle
from realnode.node import Node
node, pause = Node(15, Path({str(node.cache)!r})), Path({str(pause)!r})
for name, step in {{"make_network": lambda: box.make_network(node), "make_cgroup": lambda: box.make_cgroup(node),
                    "start_first": lambda: box.start_first(node, pause)}}.items():
    step()
    if name == {stage!r}:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "hack" / "cluster.d")}
    ended = subprocess.run((sys.executable, "-c", program), env=environment, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert left_over(node) != []
    box.remove(node)
    assert left_over(node) == []
