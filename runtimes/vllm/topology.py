"""The processors of a machine as vLLM wants to know them, read from /sys: for an image that has neither a shell nor lscpu.

vLLM asks ``lscpu`` through a shell in every worker, even where it binds no threads. ``register`` is a plugin of vLLM's
(group ``vllm.general_plugins``; hack/images.d/cpu_vllm.py enters it in the image): vLLM calls it in each of its processes
before workers are made. Elsewhere it is not entered, and vLLM asks as it always does.

Invariant: where /sys says nothing, each processor is a core of its own on memory node 0, as vLLM itself assumes.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

SYSTEM = Path("/sys/devices/system")


def register() -> None:
    """Let vLLM read the processors here. Called by vLLM; raises ``AttributeError`` where it has no such place any more."""
    resources: Any = importlib.import_module("vllm.utils.cpu_resource_utils")
    if not callable(resources._get_cpu_list):
        raise AttributeError("vLLM's list of processors is no function")
    resources._get_cpu_list = lambda: (
        [resources.LogicalCPUInfo(*row) for row in processors()] or resources._synthesize_cpu_list()
    )


def processors(system: Path = SYSTEM) -> list[tuple[int, int, int]]:
    """(number, core, memory node) of every processor that is on; a core has the number of its first processor."""
    nodes = {
        number: int(place.parent.name.removeprefix("node"))
        for place in system.glob("node/node[0-9]*/cpulist")
        for number in numbers(place.read_text())
    }
    return [
        (number, core_of(system / f"cpu/cpu{number}", number), nodes.get(number, 0))
        for number in numbers(text_of(system / "cpu/online"))
    ]


def core_of(folder: Path, number: int) -> int:
    """The first of the processors that share a core with ``number``."""
    return min(numbers(text_of(folder / "topology/thread_siblings_list")), default=number)


def text_of(place: Path) -> str:
    """What the kernel says there; '' where it says nothing."""
    try:
        return place.read_text()
    except OSError:
        return ""


def numbers(text: str) -> list[int]:
    """``0-2,5`` as [0, 1, 2, 5]."""
    found: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found
