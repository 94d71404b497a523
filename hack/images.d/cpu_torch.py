"""Makes the torch of a package index a torch for processors: called inside the build stage of the images that have it.

``cpu_torch.py SITE KEPT``   SITE: the installed packages, changed in place; KEPT: a folder for the one program of torch

Indexes have one torch for Linux, built for CUDA: 1.1 GB that will not be imported without 2.5 GB of NVIDIA's libraries,
device or none. requirements/torch-overrides.in leaves those packages out. Here small libraries take the names of theirs:
each function in them answers 100, "no device" in CUDA's own numbers. NVIDIA's runtime stays (0.7 MB): it is what
torch asks whether there is a device, and it says no before any of the others is called.

Called by a Containerfile that hack/images renders. Standard library and binutils only.
Left out: what only a device loads (linear algebra, compiler), headers, and wishes for packages that are left out.
Invariant: a library that torch loads and that is neither here nor NVIDIA's fails the build (rootfs.py looks for it).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ONLY_FOR_A_DEVICE = ("lib/libtorch_cuda_linalg.so", "lib/libcaffe2_nvrtc.so")
ONLY_TO_COMPILE = ("include", "share")
NO_DEVICE = 100
"""cudaErrorNoDevice and CUDA_ERROR_NO_DEVICE."""
NVIDIAS_LIBRARY = re.compile(r"lib(cu|nv|nccl)")
NVIDIAS_FUNCTION = re.compile(r"cu[a-zA-Z]|nv|nccl")
# As in requirements/torch-overrides.in; a test compares.
LEFT_OUT = {
    *("cuda-bindings", "cuda-toolkit", "nvidia-cudnn-cu13", "nvidia-cusparselt-cu13", "nvidia-nccl-cu13"),
    *("nvidia-nvshmem-cu13", "setuptools", "triton"),
}


def main(words: list[str]) -> None:
    """Do it."""
    site, kept = (Path(word) for word in words)
    absent = [name for name in ("as", "ld", "nm", "readelf") if shutil.which(name) is None]
    if absent:
        sys.exit(f"cpu_torch.py: the base lacks {', '.join(absent)}: install binutils in it")
    torch = site / "torch"
    for name in ONLY_FOR_A_DEVICE:
        (torch / name).unlink()
    for name in ONLY_TO_COMPILE:
        shutil.rmtree(torch / name)
    keep_program(torch, kept / "torch")
    stand_in(site)
    say_what_is_needed(site)


def keep_program(torch: Path, kept: Path) -> None:
    """rootfs.py takes no folder called bin; ``import torch`` wants this program to be there."""
    (kept / "bin").mkdir(parents=True)
    shutil.copy(torch / "bin" / "torch_shm_manager", kept / "bin")


def stand_in(site: Path) -> None:
    """Write one library for each of NVIDIA's that is asked for and is not there, with all that they would have to have."""
    places = [*sorted((site / "torch" / "lib").glob("*.so*")), *sorted((site / "nvidia").rglob("*.so*"))]
    there = {path.name for path in places}
    asked = {name for path in places for name in libraries_of(path)}
    names = sorted(name for name in asked - there if NVIDIAS_LIBRARY.match(name))
    wanted = functions(places)
    with tempfile.TemporaryDirectory() as made:
        source, versions, object_file = (Path(made, name) for name in ("none.s", "none.versions", "none.o"))
        source.write_text(assembly(sorted(wanted)))
        versions.write_text(version_script(wanted))
        run("as", "-o", str(object_file), str(source))
        for name in names:
            target = site / "torch" / "lib" / name
            run(
                "ld",
                "-shared",
                "-soname",
                name,
                f"--version-script={versions}",
                "-o",
                str(target),
                str(object_file),
            )
            target.chmod(0o644)


def libraries_of(path: Path) -> list[str]:
    """The libraries that a library asks the loader for."""
    return re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "--dynamic", "--wide", str(path)))


def functions(places: list[Path]) -> dict[str, set[str]]:
    """NVIDIA's functions that some library calls and none has, with the versions they are asked for in ("" for none)."""
    defined: set[str] = set()
    called: dict[str, set[str]] = defaultdict(set)
    for path in places:
        for line in run("nm", "--dynamic", str(path)).splitlines():
            *_, kind, symbol = line.split()
            name, _, version = symbol.partition("@")
            if kind in "Uw":
                called[name].add(version.lstrip("@"))
            else:
                defined.add(name)
    return {
        name: asked for name, asked in called.items() if NVIDIAS_FUNCTION.match(name) and name not in defined
    }


def assembly(names: list[str]) -> str:
    """One function under all ``names``."""
    labels = "".join(f".globl {name}\n.type {name}, @function\n{name}:\n" for name in names)
    return f'.text\n{labels}  mov ${NO_DEVICE}, %eax\n  ret\n.section .note.GNU-stack,"",@progbits\n'


def version_script(wanted: dict[str, set[str]]) -> str:
    """The functions under the versions that the loader will ask for; without one: the library's own."""
    versions: dict[str, list[str]] = defaultdict(list)
    for name, asked in sorted(wanted.items()):
        for version in asked - {""}:
            versions[version].append(name)
    return "".join(
        f"{version} {{ global: {'; '.join(names)}; }};\n" for version, names in sorted(versions.items())
    )


def say_what_is_needed(site: Path) -> None:
    """Take the packages that are left out from what torch says it needs, and mark its version as one for processors."""
    (metadata,) = site.glob("torch-*.dist-info/METADATA")
    head, blank, rest = metadata.read_text().partition("\n\n")
    lines = [line for line in head.splitlines() if not is_left_out(line)]
    text = re.sub(r"^(Version: [0-9.]+)$", r"\1+cpu", "\n".join(lines), count=1, flags=re.MULTILINE)
    metadata.write_text(text + blank + rest)


def is_left_out(line: str) -> bool:
    """Whether a line of METADATA asks for a package that is left out."""
    found = re.match(r"Requires-Dist: ([A-Za-z0-9._-]+)", line)
    return found is not None and re.sub(r"[-_.]+", "-", found[1]).lower() in LEFT_OUT


def run(*command: str) -> str:
    """What a program of binutils prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    main(sys.argv[1:])
