"""``python -m runtimes.sklearn --model_name N --model_dir DIR``: serve one scikit-learn model. Composition only.

Started by the node (plainly, or forked from a server that has imported ``runtimes.sklearn.model`` and
``wakeful.serving.server``) and by a kubelet. Environment: ``PREDICT_PROBA``, ``WAKEFUL_PICKLE``,
``WAKEFUL_STARTED_AT``, ``WAKEFUL_EAGER_IMPORTS``, ``CE_TYPE``, ``CE_SOURCE``, ``CE_MERGE``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtimes import imports
from wakeful.serving import startup


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""
    startup.rest_collector()
    imports.defer(os.environ)  # before anything imports scikit-learn
    from runtimes.sklearn.model import SklearnModel
    from wakeful.serving import server

    def make(settings: server.Settings) -> list[SklearnModel]:
        return [SklearnModel(settings.model_name, Path(settings.model_dir), os.environ)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
