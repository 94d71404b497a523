"""``python -m runtimes.xgboost --model_name N --model_dir DIR [--nthread T]``: serve one booster. Composition only.

The package brings scikit-learn's classes along where that is installed, and with it most of scipy, for training only:
``imports`` leaves that until something of it is used (docs/decisions/0109). Environment: ``WAKEFUL_EAGER_IMPORTS``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtimes import frameworks, imports
from wakeful.serving import startup
from wakeful.serving.model import Model


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""
    startup.rest_collector()
    imports.defer(os.environ)  # before anything imports xgboost
    from runtimes.booster_settings import BoosterSettings
    from wakeful.serving import server

    def make(settings: BoosterSettings) -> list[Model]:
        with frameworks.needed("xgboost-cpu"):
            from runtimes.xgboost.model import XgboostModel

        return [XgboostModel(settings.model_name, Path(settings.model_dir), settings.nthread)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv, BoosterSettings)


if __name__ == "__main__":
    sys.exit(main())
