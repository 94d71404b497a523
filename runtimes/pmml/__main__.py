"""``python -m runtimes.pmml --model_name N --model_dir DIR [--max_heap_mb M]``: serve one PMML document. Composition only.

What it needs beside the platform's own packages is in an environment of its own on one machine (``places``).
Environment: ``WAKEFUL_PMML_ENV``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runtimes import frameworks
from runtimes.pmml import places
from wakeful.serving import server
from wakeful.serving.model import Model


@dataclass(frozen=True, slots=True)
class PmmlSettings(server.Settings):
    """One PMML document's settings."""

    max_heap_mb: int = 1024
    """Memory for the document and its answers inside the Java machine, in MiB: what it may take beside some 200 MiB."""


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""

    def make(settings: PmmlSettings) -> list[Model]:
        places.reach(os.environ)
        with frameworks.needed("jpype1"):
            from runtimes.pmml.model import PmmlModel

        return [PmmlModel(settings.model_name, Path(settings.model_dir), settings.max_heap_mb)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv, PmmlSettings)


if __name__ == "__main__":
    sys.exit(main())
