"""``python -m runtimes.onnx --model_name N --model_dir DIR [--nthread T]``: serve one ONNX model. Composition only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes import frameworks
from wakeful.serving import server
from wakeful.serving.model import Model


@dataclass(frozen=True, slots=True)
class OnnxSettings(server.Settings):
    """One ONNX model's settings."""

    nthread: int = 0
    """Threads for one operator; 0: as many as processors that this container may use."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""

    def make(settings: OnnxSettings) -> list[Model]:
        with frameworks.needed("onnxruntime"):
            from runtimes.onnx.model import OnnxModel

        return [OnnxModel(settings.model_name, Path(settings.model_dir), settings.nthread)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv, OnnxSettings)


if __name__ == "__main__":
    sys.exit(main())
