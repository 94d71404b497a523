"""What each fork server has imported before it forks: the table ``PRELOADS`` and ``load``.

Called by shim at start with ``--preload NAME``. Fork safety: numeric libraries are told to make no threads, and a
process that has more than one thread after the imports refuses to serve (the node then starts programs plainly).
Objects are frozen out of the garbage collector so that collections in children do not copy shared pages.
A module that cannot be imported is left out: the child imports it itself and reports the error in its own log.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.util
import os
import sys
from pathlib import Path

_SKLEARN = (
    "base pipeline preprocessing compose impute feature_extraction.text feature_selection decomposition "
    "linear_model tree ensemble svm neighbors naive_bayes neural_network cluster discriminant_analysis "
    "gaussian_process calibration dummy isotonic multiclass multioutput mixture kernel_approximation"
)
_SERVER = ("aiohttp.web", "uvloop", "orjson", "prometheus_client", "yaml", "wakeful.serving")

PRELOADS: dict[str, tuple[str, ...]] = {
    "sklearn": (
        "numpy",
        "numpy.random",
        "scipy.sparse",
        "scipy.special",
        "scipy.linalg",
        "joblib",
        "pickle",
        *(f"sklearn.{name}" for name in _SKLEARN.split()),
        *_SERVER,
        "runtimes.sklearn",
    ),
    "python": _SERVER,
}
_SINGLE = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def load(name: str) -> None:
    """Import the modules of ``name``. Raises ``SystemExit`` with a sentence for an unknown name or left threads."""
    if name not in PRELOADS:
        raise SystemExit(f"no preload {name!r}; known: {', '.join(sorted(PRELOADS))}")
    for variable in _SINGLE:
        os.environ[variable] = "1"
    for module in PRELOADS[name]:
        try:
            importlib.import_module(module)
        except Exception as error:  # any broken package must not keep the others from being shared
            sys.stderr.write(f"preload {name}: {module} left out: {error!r}\n")
    _load_package(PRELOADS[name][-1])
    _warm_up(PRELOADS[name][-1])
    if (threads := _threads()) > 1:
        raise SystemExit(f"preload {name}: {threads} threads after the imports; a fork would not be safe")
    gc.collect()
    gc.freeze()


def _load_package(package: str) -> None:
    """Import the submodules of the runtime's own package too (not its ``__main__``, which is to run in the child)."""
    spec = importlib.util.find_spec(package) if package in sys.modules else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in sorted(Path(folder).glob("*.py")):
            if not file.stem.startswith("__"):
                with contextlib.suppress(Exception):
                    importlib.import_module(f"{package}.{file.stem}")


def _warm_up(package: str) -> None:
    """Let the runtime do everything once (``PACKAGE.preload.warm_up``), so that no child pays for a first time."""
    warm_up = getattr(sys.modules.get(f"{package}.preload"), "warm_up", None)
    try:
        if warm_up is not None:
            warm_up()
    except Exception as error:  # a cold fork server is still better than none
        sys.stderr.write(f"preload: {package} is not warm: {error!r}\n")


def _threads() -> int:
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        import threading

        return threading.active_count()
