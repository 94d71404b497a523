"""``python -m runtimes.explainer --method shap --predictor_host HOST``: explain another server's predictions. Composition only.

With ``--method integrated_gradients`` it explains the PyTorch program in its own folder. Started as the ``explainer``
component of an InferenceService (the controller adds ``--model_name``, ``--predictor_host`` and ``--http_port``).
Environment: ``WAKEFUL_PREDICTOR_PROTOCOL`` where ``--predictor_protocol`` is not given; ``WAKEFUL_PICKLE``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from runtimes.explainer.settings import ExplainerSettings
from wakeful.serving import server
from wakeful.serving.model import Model


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""

    def make(settings: ExplainerSettings) -> list[Model]:
        from runtimes.explainer import methods

        methods.check(settings.method)
        if settings.method == methods.GRADIENTS:
            from runtimes.explainer.gradients import GradientExplainer

            return [GradientExplainer(settings, os.environ)]
        from runtimes.explainer.model import TabularExplainer

        return [TabularExplainer(settings)]

    return server.serve_with(make, sys.argv[1:] if argv is None else argv, ExplainerSettings)


if __name__ == "__main__":
    sys.exit(main())
