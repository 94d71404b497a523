"""Takes out of numba the pools of threads that need Intel's TBB or a libgomp by its full name, which the image has not.

numba keeps its own pool (workqueue), which one call at a time may use: the explainer makes one call at a time.

``numba_pools.py SITE KEPT``   SITE: the installed packages, changed in place; KEPT is not used

Called inside the build stage of an image with numba, by a Containerfile that hack/images renders. Standard library only.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(words: list[str]) -> None:
    """Do it."""
    for name in ("omppool", "tbbpool"):
        (found,) = Path(words[0], "numba", "np", "ufunc").glob(f"{name}.*.so")
        found.unlink()


if __name__ == "__main__":
    main(sys.argv[1:])
