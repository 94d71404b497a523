"""``python -m runtimes.lightgbm --model_name N --model_dir DIR [--nthread T]``: serve one booster. Composition only."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from runtimes import frameworks
from runtimes.booster_settings import BoosterSettings
from wakeful.serving import server
from wakeful.serving.model import Model


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""

    def make(settings: BoosterSettings) -> list[Model]:
        with frameworks.needed("lightgbm"):
            from runtimes.lightgbm.model import LightgbmModel

        return [LightgbmModel(settings.model_name, Path(settings.model_dir), settings.nthread)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv, BoosterSettings)


if __name__ == "__main__":
    sys.exit(main())
