"""``python -m runtimes.xgboost --model_name N --model_dir DIR [--nthread T]``: serve one booster. Composition only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runtimes.boosters import BoosterSettings
from runtimes.xgboost.model import XgboostModel
from wakeful.serving import server


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""

    def make(settings: BoosterSettings) -> list[XgboostModel]:
        return [XgboostModel(settings.model_name, Path(settings.model_dir), settings.nthread)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv, BoosterSettings)


if __name__ == "__main__":
    sys.exit(main())
