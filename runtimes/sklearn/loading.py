"""Find the one model file of a scikit-learn model and load it, safe formats before code-bearing ones.

Called by ``runtimes.sklearn.model``. ``.skops`` is read without running code (types outside skops' own trust list are
refused, by name); ``.joblib``, ``.pkl`` and ``.pickle`` run code of whoever made the file, so the setting
``WAKEFUL_PICKLE`` decides: ``Allow``, ``Warn`` (default: a log line) or ``Refuse``. The format is the file's name and
never guessed again: a safe file that fails to load is an error, not a reason to try unpickling it.

Invariant: exactly one candidate, a regular file below ``model_dir`` (the folder itself may be a link).
"""

from __future__ import annotations

import pickle
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import joblib
import sklearn
from sklearn.exceptions import InconsistentVersionWarning

from runtimes import code_bearing, model_file
from wakeful.core.api.code_bearing import PICKLES, Policy
from wakeful.kit import deferred, logs
from wakeful.serving.model import LoadError

SAFE = (".skops",)
ACCEPTED = (*SAFE, *PICKLES)
SAFE_ALTERNATIVE = "skops (.skops)"
DAMAGED = (
    EOFError,
    pickle.UnpicklingError,
    KeyError,
    IndexError,
    UnicodeDecodeError,
    zlib.error,
    struct.error,
)
"""What Python's unpickler raises on bytes that are no pickle."""

log = logs.get("sklearn")


def find(model_dir: Path) -> Path:
    """The model file in ``model_dir``, or ``model_dir`` itself. Raises ``LoadError`` that names what was found."""
    return model_file.find(model_dir, ACCEPTED)


def load(path: Path, policy: Policy) -> Any:
    """The estimator in ``path``. Raises ``LoadError`` with the file and the cause."""
    if path.suffix.lower() in SAFE:
        return _checked(path, _load_skops(path))
    code_bearing.permit(path, policy, SAFE_ALTERNATIVE)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", InconsistentVersionWarning)
            estimator = _read(path)
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise LoadError(f"{path.name} cannot be loaded: {_cause(error)}") from error
    for message in caught[:1]:
        text = " ".join(str(message.message).split())[:300]
        log.warning("model made with another scikit-learn", file=path.name, detail=text)
    return _checked(path, estimator)


def _read(path: Path) -> Any:
    """What the file holds. Imports that fail are tried again with nothing deferred: our table may be wrong."""
    try:
        return joblib.load(path)
    except (ImportError, AttributeError, TypeError) as error:
        if not deferred.stop():
            raise
        estimator = joblib.load(path)
        log.warning("model loads only without deferred imports", file=path.name, detail=str(error)[:300])
        return estimator


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
        raise LoadError(f"{path.name} cannot be loaded: {_cause(error)}") from error


def _checked(path: Path, estimator: Any) -> Any:
    if not callable(getattr(estimator, "predict", None)):
        raise LoadError(
            f"{path.name} holds {type(estimator).__name__}, which has no predict: save a fitted estimator"
        )
    return estimator


def _cause(error: Exception) -> str:
    text = " ".join(str(error).split())[:300] or "no message"
    match error:
        case ModuleNotFoundError() if (error.name or "").startswith("sklearn."):
            return (
                f"it was made with another scikit-learn: {error.name} does not exist in {sklearn.__version__}, the one "
                "here. Save it again with that version"
            )
        case ModuleNotFoundError():
            return f"it needs the Python module {error.name!r}, which is not installed here"
        case AttributeError() if "__main__" in text:
            return f"it needs code that was in the training script itself ({text}): move that into a module"
        case _ if isinstance(error, DAMAGED):
            return f"the file is damaged or not of the format its name says ({type(error).__name__}: {text})"
        case _:
            return f"{type(error).__name__}: {text}"
