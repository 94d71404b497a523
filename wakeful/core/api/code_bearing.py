"""Model files that run code of whoever made them when they are loaded: which they are, and the platform's policy.

The storage initializer names those it brought (``render``: its termination message, which a kubelet keeps for an init
container that succeeded too), the controller reads that and shows a condition, model servers refuse or warn. Theory: a
pickle is a program; safe formats (skops, safetensors, ONNX, the boosters' own) are data. PyTorch's exported programs
(``.pt2``) hold pickles that its reader unpickles without asking. The format is the file's extension: what a server reads
as data never becomes a program, whatever is inside.

Invariant: ``parse(render(names))`` gives the names, at most ``MOST_NAMES`` of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import PurePosixPath

PICKLES = (".joblib", ".pkl", ".pickle")
TORCH = (".pt2", ".pt", ".pth")
BY_FORMAT = {
    "sklearn": PICKLES,
    "mlflow": PICKLES,
    "pytorch": (*TORCH, ".mar"),
    "huggingface": (*TORCH, ".pkl"),
}
"""Extensions by the name of the model format; formats that are not here have none."""
WHOLLY = frozenset({"pytorch"})
"""Formats of which servers read no other files than such: their models run code whatever the file is called."""
EXTENSIONS = frozenset(extension for extensions in BY_FORMAT.values() for extension in extensions)
VARIABLE = "WAKEFUL_PICKLE"
"""The environment variable that carries the policy into a model server."""
MOST_NAMES = 8
_KEY = "codeBearing"


class Policy(StrEnum):
    """What to do with such files."""

    ALLOW = "Allow"
    WARN = "Warn"
    """Load them; a condition and an Event on the InferenceService, and a line in the server's log."""
    REFUSE = "Refuse"


def policy_of(value: str) -> Policy | None:
    """The policy called ``value`` in any case; '' means Warn, None that there is no such policy."""
    return next((item for item in Policy if item.value.lower() == (value or "warn").lower()), None)


def is_code_bearing(name: str, model_format: str | None = None) -> bool:
    """Whether a file of this name runs code when loaded; by a server of ``model_format`` (None: by any)."""
    extensions = EXTENSIONS if model_format is None else BY_FORMAT.get(model_format, ())
    return PurePosixPath(name).suffix.lower() in extensions


def render(names: Sequence[str]) -> str:
    """The initializer's last words about the files it brought."""
    return json.dumps({_KEY: list(names)[:MOST_NAMES]}, separators=(",", ":"))


def parse(message: str) -> list[str] | None:
    """The names in such words; None where ``message`` is not of that kind (another initializer, another version)."""
    try:
        names = json.loads(message)[_KEY]
    except (ValueError, TypeError, KeyError):
        return None
    return [name for name in names if isinstance(name, str)][:MOST_NAMES] if isinstance(names, list) else None
