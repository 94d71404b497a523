"""A framework that is not installed, or lacks a library of the system, ends the start with a sentence.

Called by the ``main`` of runtimes around the import of their model. Invariant: other errors pass.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wakeful.serving.model import LoadError

SYSTEM_LIBRARIES = {"libgomp.so.1": "the system's package libgomp1"}


@contextmanager
def needed(package: str) -> Iterator[None]:
    """Import ``package`` and what uses it inside. Raises ``LoadError``."""
    try:
        yield
    except (ImportError, OSError) as error:
        text = " ".join(str(error).split())[:300]
        wanted = next(
            (what for name, what in SYSTEM_LIBRARIES.items() if name in text), f"the Python package {package}"
        )
        raise LoadError(f"{sys.executable} cannot import {package} ({text}): install {wanted}") from error
