"""Find the one file of a model, and leave a reason behind when reading it kills the process.

Called by every runtime's ``load``. KServe's rule: exactly one file with an extension of the framework. Kinder: where
there are several, the only one called ``model.EXT`` is taken. ``descend`` looks into the layout of a Triton model
repository (``NAME/VERSION/model.EXT``, one model, its highest version) as well. Left out: reading the file.

Invariant: what is found is a regular file inside ``model_dir`` (the folder itself may be a link).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wakeful.kit import termination
from wakeful.serving.model import LoadError

SHOWN_FILES = 8


def find(model_dir: Path, accepted: Sequence[str], *, descend: int = 0) -> Path:
    """The model file in ``model_dir``, or ``model_dir`` itself. Raises ``LoadError`` that names what was found.

    ``accepted`` are extensions (``.bst``) and whole names (``model.txt``); ``descend`` is how many folders deep a
    repository may lead.
    """
    if model_dir.is_file():
        if _fits(model_dir, accepted):
            return model_dir
        raise LoadError(
            f"{model_dir} is a file, not a folder with a model file: let storageUri name the folder that holds it"
        )
    if not model_dir.is_dir():
        raise LoadError(
            f"model folder {model_dir} does not exist: was the model downloaded or the claim mounted?"
        )
    found = _listed(model_dir)
    candidates = [path for path in found if _fits(path, accepted) and path.is_file()]
    if not candidates and descend and (folder := _repository(found)) is not None:
        return find(folder, accepted, descend=descend - 1)
    return _inside(_chosen(candidates, found, accepted), model_dir)


def _fits(path: Path, accepted: Sequence[str]) -> bool:
    return path.suffix.lower() in accepted or path.name in accepted


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise LoadError(f"model folder {folder} cannot be read: {error.strerror}") from error


def _repository(found: list[Path]) -> Path | None:
    """The folder to go on with: the only one, or the highest of folders that are all versions (numbers)."""
    folders = [path for path in found if path.is_dir() and not path.is_symlink()]
    if len(folders) > 1 and all(path.name.isascii() and path.name.isdigit() for path in folders):
        return max(folders, key=lambda path: int(path.name))
    return folders[0] if len(folders) == 1 else None


def _chosen(candidates: list[Path], found: list[Path], accepted: Sequence[str]) -> Path:
    if len(candidates) == 1:
        return candidates[0]
    named = [path for path in candidates if path.stem == "model"]
    if len(named) == 1:
        return named[0]
    if candidates:
        raise LoadError(
            f"the model folder holds {len(candidates)} model files "
            f"({', '.join(path.name for path in candidates[:SHOWN_FILES])}): leave exactly one"
        )
    names = ", ".join(path.name + "/" * path.is_dir() for path in found[:SHOWN_FILES])
    names += ", ..." if len(found) > SHOWN_FILES else ""
    wanted = ", ".join(f"*{word}" if word.startswith(".") else word for word in accepted)
    raise LoadError(
        f"no model file in the model folder: expected one of {wanted}, found {names or 'nothing'}"
    )


def _inside(path: Path, folder: Path) -> Path:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise LoadError(f"{path.name} is a link to a place outside {folder}: copy the file instead")
    return path


@contextmanager
def reading(path: Path, reader: str) -> Iterator[None]:
    """While ``path`` is read: should native code end the process, the container's termination message says where.

    Whatever is raised inside leaves as a ``LoadError`` with the file and the cause.
    """
    sentence = (
        f"the process ended while {reader} read {path.name}: the file is damaged, was made for another version of "
        f"{reader}, or takes more memory than the container's limit"
    )
    with termination.standing(sentence, os.environ):
        try:
            yield
        except (LoadError, MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:
            said = str(error).partition("Stack trace:")[0]  # XGBoost's, of its own addresses
            text = " ".join(said.split())[:300] or "no message"
            raise LoadError(f"{path.name} cannot be loaded: {type(error).__name__}: {text}") from error
