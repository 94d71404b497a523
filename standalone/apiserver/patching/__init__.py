"""The three patch dialects of the Kubernetes API: JSON patch, JSON merge patch, strategic merge patch.

Each module has ``apply(document, patch)`` which returns a new document and never changes its arguments, or raises
``PatchError``. Called by the PATCH handler; server-side apply is ``standalone.apiserver.apply``.
"""

from standalone.apiserver.patching.failure import PatchError

__all__ = ["PatchError"]
