"""Find the one model file of a scikit-learn model and load it, safe formats before code-bearing ones.

Called by ``runtimes.sklearn.model``. ``.skops`` is read without running code (types outside skops' own trust list are
refused, by name); ``.joblib``, ``.pkl`` and ``.pickle`` run code of whoever made the file, so the setting
``WAKEFUL_PICKLE`` decides: ``Allow``, ``Warn`` (default: a log line) or ``Refuse``. The format is the file's name and
never guessed again: a safe file that fails to load is an error, not a reason to try unpickling it.

Invariant: exactly one candidate, a regular file below ``model_dir`` (the folder itself may be a link).
"""

from __future__ import annotations

import pickle
import warnings
from enum import StrEnum
from pathlib import Path
from typing import Any

import joblib
from sklearn.exceptions import InconsistentVersionWarning

from wakeful.kit import logs
from wakeful.serving.model import LoadError

SAFE = (".skops",)
CODE_BEARING = (".joblib", ".pkl", ".pickle")
ACCEPTED = (*SAFE, *CODE_BEARING)
SHOWN_FILES = 8

log = logs.get("sklearn")


class PicklePolicy(StrEnum):
    """What to do with formats that run code when loaded."""

    ALLOW = "Allow"
    WARN = "Warn"
    REFUSE = "Refuse"


def policy_of(value: str) -> PicklePolicy:
    """The policy called ``value`` in any case ('' means Warn). Raises ``LoadError``."""
    for policy in PicklePolicy:
        if policy.value.lower() == (value or "warn").lower():
            return policy
    raise LoadError(f"WAKEFUL_PICKLE is {value!r}: it takes Allow, Warn or Refuse")


def find(model_dir: Path) -> Path:
    """The model file in ``model_dir``, or in its only subfolder. Raises ``LoadError`` that names what was found."""
    if not model_dir.is_dir():
        raise LoadError(
            f"model folder {model_dir} does not exist: was the model downloaded or the claim mounted?"
        )
    try:
        found = sorted(path for path in model_dir.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise LoadError(f"model folder {model_dir} cannot be read: {error.strerror}") from error
    candidates = [path for path in found if path.suffix.lower() in ACCEPTED and path.is_file()]
    if len(candidates) == 1:
        return _inside(candidates[0], model_dir)
    names = ", ".join(path.name + "/" * path.is_dir() for path in found[:SHOWN_FILES])
    names += ", ..." if len(found) > SHOWN_FILES else ""
    if candidates:
        raise LoadError(
            f"{model_dir} holds {len(candidates)} model files ({', '.join(p.name for p in candidates[:SHOWN_FILES])}): "
            "leave exactly one"
        )
    raise LoadError(
        f"no model file in {model_dir}: expected one of *{', *'.join(ACCEPTED)}, found {names or 'nothing'}"
    )


def _inside(path: Path, folder: Path) -> Path:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise LoadError(f"{path} is a link to a place outside {folder}: copy the file instead")
    return path


def load(path: Path, policy: PicklePolicy) -> Any:
    """The estimator in ``path``. Raises ``LoadError`` with the file and the cause."""
    if path.suffix.lower() in SAFE:
        return _checked(path, _load_skops(path))
    if policy is PicklePolicy.REFUSE:
        raise LoadError(
            f"{path.name} is a {path.suffix} file, which runs code when loaded, and WAKEFUL_PICKLE=Refuse: "
            "save the model with skops (.skops) instead"
        )
    if policy is PicklePolicy.WARN:
        log.warning("model format runs code when loaded", file=path.name, safe_alternative=".skops")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InconsistentVersionWarning)
            estimator = joblib.load(path)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise LoadError(f"{path} cannot be loaded: {_cause(error)}") from error
    for message in caught[:1]:
        text = " ".join(str(message.message).split())[:300]
        log.warning("model made with another scikit-learn", file=path.name, detail=text)
    return _checked(path, estimator)


def _load_skops(path: Path) -> Any:
    try:
        from skops import io
    except ImportError as error:
        raise LoadError(
            f"{path.name} is a skops file, and the package skops is not installed here: "
            "install it, or save the model with joblib"
        ) from error
    try:
        return io.load(path)
    except Exception as error:
        raise LoadError(f"{path} cannot be loaded: {_cause(error)}") from error


def _checked(path: Path, estimator: Any) -> Any:
    if not callable(getattr(estimator, "predict", None)):
        raise LoadError(
            f"{path} holds {type(estimator).__name__}, which has no predict: save a fitted estimator"
        )
    return estimator


def _cause(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] or "no message"
    if isinstance(error, ModuleNotFoundError):
        return f"it needs the Python module {error.name!r}, which is not installed here"
    if isinstance(error, EOFError | pickle.UnpicklingError):
        return f"the file is damaged or not of the format its name says ({type(error).__name__}: {text})"
    return f"{type(error).__name__}: {text}"
