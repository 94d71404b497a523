"""The explainer's own flags, beside those of every model server. Read by ``__main__``, used by ``model`` and the methods.

Invariant: names are KServe's or none of KServe's: a flag never means something else than there.
"""

from __future__ import annotations

from dataclasses import dataclass

from wakeful.serving.settings import Settings


@dataclass(frozen=True, slots=True)
class ExplainerSettings(Settings):
    """Flags of ``python -m runtimes.explainer``."""

    method: str = "shap"
    """shap, lime, or (for PyTorch programs) integrated_gradients."""
    samples: int = 256
    """Rows asked of the predictor to explain one row (integrated_gradients: points on the way); more is slower and steadier."""
    max_samples: int = 2048
    """The most that a request's "samples" may ask for."""
    background_rows: int = 50
    """Rows of the background file that stand for "a feature is absent" (shap); taken evenly from the file."""
    max_explained_rows: int = 16
    """Rows one request may ask to have explained; more is 400."""
    max_waiting: int = 16
    """Explanations that wait while one is computed; then 503 with Retry-After."""
    seed: int = 0
    """For shap and lime: sampling is repeatable: the same request gets the same explanation."""
