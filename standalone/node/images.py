"""The image table: what program an image name means on this machine. See images.yaml for the fields.

Three files in order: ``--images FILE``, ``D/images.yaml``, the shipped one. Called by launch; read again when a
file changes. Invariant: a file that does not parse or has an unknown field is refused as a whole with one sentence
(file, entry, field), and the last good version of it stays in force.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from wakeful.kit import logs

SHIPPED = Path(__file__).with_name("images.yaml")
MAX_FILE_BYTES = 1 << 20
_FIELDS = {"pattern", "argv", "cmd", "append", "env", "preload"}
DEFAULT_PORT = 8080
"""The container port that entries of model servers name."""
_PORT = re.compile(r"\{port:(\d+)\}")


class ImageTableError(ValueError):
    """A table file is not usable; the text says file, entry, what is wrong."""


@dataclass(frozen=True, slots=True)
class Image:
    """One entry of the table."""

    pattern: str
    argv: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    append: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    preload: str | None = None

    def container_ports(self) -> set[int]:
        """The container ports named by ``{port:N}`` anywhere in the entry."""
        texts = (*self.argv, *self.cmd, *self.append, *self.env.values())
        return {int(number) for text in texts for number in _PORT.findall(text)}


def parse(text: str, where: str) -> list[Image]:
    """The entries of a table file. Raises ``ImageTableError``."""
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ImageTableError(f"{where}: not YAML: {str(error).splitlines()[0]}") from error
    if document is None:
        return []
    if not isinstance(document, dict) or set(document) != {"images"} or not _is_list(document["images"]):
        raise ImageTableError(f"{where}: must be a mapping with one key, images, that is a list")
    return [_entry(item, f"{where}: images[{i}]") for i, item in enumerate(document["images"] or [])]


def read(path: Path) -> list[Image]:
    """The entries of the file ``path``. Raises ``ImageTableError``."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ImageTableError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ImageTableError(f"{path}: cannot be read: {error}") from error
    return parse(text, str(path))


def match(images: Sequence[Image], name: str) -> Image | None:
    """The first entry whose pattern fits the image ``name``."""
    clean = normal(name)
    return next((image for image in images if fnmatch.fnmatchcase(clean, normal(image.pattern))), None)


def normal(name: str) -> str:
    """``name`` as patterns are written: no docker.io, no digest, a tag always."""
    name = name.strip().partition("@")[0]
    for prefix in ("index.docker.io/", "docker.io/", "library/"):
        name = name.removeprefix(prefix)
    last = name.rpartition("/")[2]
    return name if ":" in last or last.endswith("*") else f"{name}:latest"


def fill(text: str, python: str, ports: Mapping[int, int]) -> str:
    """Replace ``{python}`` and ``{port:N}``; a port that was not allocated stays as its number."""
    text = _PORT.sub(lambda found: str(ports.get(int(found[1]), int(found[1]))), text)
    return text.replace("{python}", python)


class ImageTable:
    """The files and their entries, read again when their modification time or size changes."""

    def __init__(self, files: Sequence[Path], log: logs.Logger) -> None:
        self._files = [*files, SHIPPED]
        self._log = log
        self._stamps: dict[Path, tuple[int, int] | None] = {}
        self._entries: dict[Path, list[Image]] = {}

    @property
    def user_file(self) -> Path:
        """The file that a message should tell the user to add an entry to."""
        return self._files[-2] if len(self._files) > 1 else self._files[-1]

    def load(self) -> None:
        """Read every file now. Raises ``ImageTableError``: for start-up, where a bad file ends the node."""
        for path in self._files:
            self._read(path)

    def find(self, name: str) -> Image | None:
        """The entry for image ``name``, from files as they are now."""
        for path in self._files:
            try:
                self._read(path)
            except ImageTableError as error:
                self._log.warning("image table refused, keeping the last good one", error=str(error))
            if (image := match(self._entries.get(path, []), name)) is not None:
                return image
        return None

    def _read(self, path: Path) -> None:
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            self._stamps[path], self._entries[path] = None, []
            return
        if self._stamps.get(path) == stamp:
            return
        self._stamps[path] = stamp
        self._entries[path] = read(path)


def _entry(item: Any, where: str) -> Image:
    if not isinstance(item, dict):
        raise ImageTableError(f"{where}: must be a mapping with at least pattern")
    if unknown := set(map(str, item)) - _FIELDS:
        known = ", ".join(sorted(_FIELDS))
        raise ImageTableError(f"{where}: unknown field {sorted(unknown)[0]!r}; known: {known}")
    pattern = item.get("pattern")
    if not isinstance(pattern, str) or not pattern:
        raise ImageTableError(f"{where}.pattern: must be a text such as 'example/model:*'")
    lists = {name: _words(item.get(name), f"{where}.{name}") for name in ("argv", "cmd", "append")}
    env = item.get("env") or {}
    if not isinstance(env, dict) or not all(isinstance(v, str | int | float) for v in env.values()):
        raise ImageTableError(f"{where}.env: must map names to texts")
    preload = item.get("preload")
    if preload is not None and not isinstance(preload, str):
        raise ImageTableError(f"{where}.preload: must be the name of a fork server, such as sklearn")
    return Image(
        pattern=pattern,
        **lists,
        env={str(k): str(v) for k, v in env.items()},
        preload=preload,
    )


def _words(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ImageTableError(f"{where}: must be a list of texts")
    return tuple(value)


def _is_list(value: Any) -> bool:
    return value is None or isinstance(value, list)
