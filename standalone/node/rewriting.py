"""Mount paths in args, command and environment become the folders that hold the volumes. Pure.

A process on this machine has no mount namespace, so ``--model_dir=/mnt/models`` has to name the real folder. A path
is replaced where it stands as a path of its own: at the start, or after a character that cannot be in a path
(or after ``file://``), and only up to a ``/``, the end, or another such character. ``/mnt/models-old`` and
``/data/mnt/models`` are left alone. One pass, longest path first, so a replacement is never replaced again.

Invariant: a text without a mount path is returned unchanged.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from pathlib import Path

Rewrite = Callable[[str], str]


def build(mounts: Mapping[str, str]) -> Rewrite:
    """A function that replaces the keys of ``mounts`` (absolute container paths) by their values."""
    folders = {normal(path): folder for path, folder in mounts.items()}
    if not folders:
        return lambda text: text
    longest_first = sorted(folders, key=len, reverse=True)
    choice = "|".join(re.escape(path) for path in longest_first)
    pattern = re.compile(rf"(?:(?<![\w./~-])|(?<=file://))(?:{choice})(?![\w.~-])")
    return lambda text: pattern.sub(lambda found: folders[found.group()], text)


def normal(path: str) -> str:
    """A mount path without double or trailing slashes. Raises ``ValueError`` for a relative path or the root."""
    clean = posixpath.normpath(path)
    clean = "/" + clean.lstrip("/") if path.startswith("/") else clean
    if not clean.startswith("/") or clean == "/":
        raise ValueError(f"mountPath {path!r} must be an absolute path below /")
    return clean


def inside(folder: Path, sub_path: str) -> Path:
    """``folder/sub_path``, refused with ``ValueError`` where it leaves ``folder`` by ``..`` or a symbolic link."""
    parts = Path(sub_path).parts
    if sub_path.startswith("/") or ".." in parts:
        raise ValueError(f"subPath {sub_path!r} must be relative and must not contain '..'")
    root = folder.resolve()
    target = (root / sub_path).resolve()
    if target != root and root not in target.parents:
        raise ValueError(f"subPath {sub_path!r} leaves its volume through a symbolic link")
    return target
