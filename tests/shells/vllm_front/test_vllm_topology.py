"""What vLLM hears about processors in an image without a shell: the kernel's files, and what lscpu makes of the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

from runtimes.vllm import topology


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """Two memory nodes, two cores of two threads each; processor 3 is off."""
    told = {
        "cpu/online": "0-2\n",
        "cpu/cpu0/topology/thread_siblings_list": "0,2\n",
        "cpu/cpu1/topology/thread_siblings_list": "1,3\n",
        "cpu/cpu2/topology/thread_siblings_list": "0,2\n",
        "node/node0/cpulist": "0,2\n",
        "node/node1/cpulist": "1,3\n",
        "node/node2/cpulist": "\n",
    }
    for name, text in told.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_cores_and_nodes_are_the_kernels(system: Path) -> None:
    assert topology.processors(system) == [(0, 0, 0), (1, 1, 1), (2, 0, 0)]


def test_a_kernel_that_tells_little_gives_cores_of_their_own_on_one_node(system: Path) -> None:
    shutil.rmtree(system / "node")
    (system / "cpu/cpu2/topology/thread_siblings_list").unlink()
    assert topology.processors(system) == [(0, 0, 0), (1, 1, 0), (2, 2, 0)]
    assert topology.processors(system / "nothing") == []


@pytest.mark.parametrize(("text", "found"), [("0-2,5\n", [0, 1, 2, 5]), ("7", [7]), ("\n", []), ("", [])])
def test_lists_of_the_kernel(text: str, found: list[int]) -> None:
    assert topology.numbers(text) == found


@pytest.mark.skipif(shutil.which("lscpu") is None, reason="lscpu is not here to compare with")
def test_groups_processors_of_this_machine_as_lscpu_does() -> None:
    done = subprocess.run(
        ["lscpu", "--json", "--extended=CPU,CORE,NODE", "--online"],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    rows = json.loads(done.stdout)["cpus"]
    theirs = [(int(row["cpu"]), row["core"], int(row.get("node") or 0)) for row in rows]
    ours = topology.processors()
    assert [(cpu, node) for cpu, _, node in ours] == [(cpu, node) for cpu, _, node in theirs]
    assert grouped(ours) == grouped(theirs)


def grouped(rows: list[tuple[int, int, int]]) -> set[frozenset[int]]:
    cores = {core for _, core, _ in rows}
    return {frozenset(cpu for cpu, core, _ in rows if core == wanted) for wanted in cores}


@dataclass
class LogicalCPUInfo:
    id: int
    physical_core: int
    numa_node: int


def test_vllm_asks_here_once_the_plugin_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "vllm.utils.cpu_resource_utils"
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    with pytest.raises(AttributeError):
        topology.register()
    vars(module).update(LogicalCPUInfo=LogicalCPUInfo, _get_cpu_list=lambda: 1 / 0, _synthesize_cpu_list=list)
    topology.register()
    found = vars(module)["_get_cpu_list"]()
    assert [(row.id, row.physical_core, row.numa_node) for row in found] == topology.processors()
    assert found
