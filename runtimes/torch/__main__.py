"""``python -m runtimes.torch --model_name N --model_dir DIR [--nthread T]``: serve one PyTorch model. Composition only.

PyTorch is not in the platform's own environment (it is gigabytes): without it the start ends with a sentence.
Environment: ``WAKEFUL_PICKLE``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wakeful.serving import server
from wakeful.serving.model import LoadError, Model


@dataclass(frozen=True, slots=True)
class TorchSettings(server.Settings):
    """One PyTorch model's settings."""

    nthread: int = 0
    """Threads for one operator; 0: as many as processors that this container may use."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""

    def make(settings: TorchSettings) -> list[Model]:
        if importlib.util.find_spec("torch") is None:
            raise LoadError(
                f"PyTorch is not installed for {sys.executable}: install torch there, or serve the model as ONNX"
            )
        from runtimes.torch.model import TorchModel

        return [TorchModel(settings.model_name, Path(settings.model_dir), settings.nthread, os.environ)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv, TorchSettings)


if __name__ == "__main__":
    sys.exit(main())
