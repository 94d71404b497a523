"""``python -m runtimes.torch --model_name N --model_dir DIR [--nthread T]``: serve one PyTorch model. Composition only.

PyTorch is not in the platform's own environment (it is gigabytes): there the program starts itself anew in the one of
``hack/env llm``, and ends with a sentence where that is missing too. Environment: ``WAKEFUL_PICKLE``, ``WAKEFUL_LLM_ENV``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes.vllm import places
from wakeful.serving import server
from wakeful.serving.model import Model


@dataclass(frozen=True, slots=True)
class TorchSettings(server.Settings):
    """One PyTorch model's settings."""

    nthread: int = 0
    """Threads for one operator; 0: as many as processors that this container may use."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    if importlib.util.find_spec("torch") is None:
        python = places.python(os.environ)
        if python is None or Path(sys.executable) == python:
            return server.fail(f"torch is not installed here: {places.ADVICE}; or serve the model as ONNX")
        os.execv(python, [str(python), "-m", "runtimes.torch", *words])
    from runtimes.torch.model import TorchModel

    def make(settings: TorchSettings) -> list[Model]:
        return [TorchModel(settings.model_name, Path(settings.model_dir), settings.nthread, os.environ)]

    return server.serve_with(make, words, TorchSettings)


if __name__ == "__main__":
    sys.exit(main())
