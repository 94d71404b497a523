"""Where the environment with torch and vLLM is, seen from a Python that has neither.

On one machine the platform's own Python starts every model server; ``runtimes.vllm`` runs in it (it needs no torch) and
starts the ``vllm`` of the other environment, ``runtimes.huggingface`` starts itself anew there. In an image both are one.

Invariant: nothing is installed or changed here; a missing environment ends in a sentence that says how to make one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

ADVICE = "hack/env llm makes an environment with it, WAKEFUL_LLM_ENV names another one"


def environment(environ: Mapping[str, str]) -> Path:
    """The folder of the environment: ``WAKEFUL_LLM_ENV``, or ``.venv-llm`` beside the sources."""
    return Path(environ.get("WAKEFUL_LLM_ENV") or Path(__file__).parents[2] / ".venv-llm")


def python(environ: Mapping[str, str]) -> Path | None:
    """Its interpreter, where there is one."""
    found = environment(environ) / "bin" / "python"
    return found if found.exists() else None
