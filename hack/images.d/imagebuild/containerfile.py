"""What a Containerfile of this repository says: its image's name, and the files that it takes from the tree.

Called by __main__.py and keys.py, and by the tests. It reads the few instructions that decide what goes in (ARG, FROM,
COPY, LABEL); an engine or buildah runs the file. Left out: ADD, wildcards and here-documents, which are refused, since
a result could then change without its key.

Invariant: every file that a build can read from the tree is named by ``sources``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

TOOLS = "requirements/images/build-tools.txt"
TITLE = re.compile(r'org\.opencontainers\.image\.title="wakeful/([a-z0-9-]+)"')
GLOB = re.compile(r"[*?\[]")


class ContainerfileError(ValueError):
    """The file cannot be built by hack/images; the text says why."""


@dataclass(frozen=True, slots=True)
class Containerfile:
    """One image: its name, where its file lies, and what it copies from the tree (paths relative to the root)."""

    name: str
    path: Path
    sources: tuple[str, ...]
    requirements: str
    tools: str | None = None
    """The lock of what builds packages that come as source; None where all are wheels."""

    @property
    def locks(self) -> list[str]:
        """Every lock that the build installs from."""
        return [self.requirements, *([self.tools] if self.tools else [])]


def parse(text: str, path: Path) -> Containerfile:
    """The image that ``text`` describes; ``path`` is relative to the repository. Raises ContainerfileError."""
    sources: list[str] = []
    for line in instructions(text):
        word, _, rest = line.partition(" ")
        if word.upper() == "ADD":
            raise ContainerfileError(f"{path}: ADD is not followed by the cache; use COPY")
        if word.upper() == "COPY" and not rest.startswith("--from="):
            sources += copied(rest, path)
    found = TITLE.search(text)
    if found is None:
        raise ContainerfileError(f'{path}: no label org.opencontainers.image.title="wakeful/NAME"')
    tools = TOOLS if TOOLS in sources else None
    locks = [source for source in sources if source.startswith("requirements/") and source != tools]
    if len(locks) != 1:
        raise ContainerfileError(f"{path}: it copies {len(locks)} files of requirements/, and one is needed")
    return Containerfile(found[1], path, tuple(sources), locks[0], tools)


def instructions(text: str) -> list[str]:
    """The instructions, each on one line, without comments."""
    kept = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [line.strip() for line in kept.replace("\\\n", " ").splitlines() if line.strip()]


def copied(rest: str, path: Path) -> list[str]:
    """The sources of a COPY: everything but its last word."""
    words = json.loads(rest) if rest.startswith("[") else rest.split()
    options = [word for word in words if word.startswith(("--", "<<")) or GLOB.search(word)]
    if options:
        raise ContainerfileError(f"{path}: COPY {' '.join(options)} is not followed by the cache")
    return [str(Path(word)) for word in words[:-1]]


def find_all(root: Path) -> list[Containerfile]:
    """Every Containerfile of the deployables, sorted by name. Raises ContainerfileError."""
    packages = [path for path in root.iterdir() if (path / "__init__.py").exists()]
    files = sorted(file for package in packages for file in package.rglob("Containerfile"))
    images = [parse(file.read_text(), file.relative_to(root)) for file in files]
    return sorted(images, key=lambda image: image.name)
