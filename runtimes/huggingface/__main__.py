"""``python -m runtimes.huggingface --model_name N --model_dir DIR``: serve a Hugging Face model. Composition only.

Started by the node and by a kubelet in an environment with torch and transformers (``hack/env llm``). ``--backend=vllm``
gives the same command line to ``runtimes.vllm``; ``auto`` does so for text generation where vLLM is installed.
Environment: ``WAKEFUL_PICKLE``, ``WAKEFUL_STARTED_AT``, ``HF_TOKEN`` for private models of the hub.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from runtimes.huggingface.settings import (
    BACKENDS,
    HuggingFaceSettings,
    for_vllm,
    own,
    spelled_out,
    value_of,
)
from runtimes.vllm import places
from wakeful.serving import server
from wakeful.serving.model import LoadError


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the exit status."""
    words = spelled_out(sys.argv[1:] if argv is None else argv)
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    backend = value_of(words, "backend", "auto")
    if backend not in BACKENDS:
        sentence = f"--backend={backend} is not known; known: {', '.join(BACKENDS)}"
        return server.fail(sentence, server.EXIT_USAGE)
    if backend == "auto" and importlib.util.find_spec("torch") is None:
        return _elsewhere(words)
    has_vllm = importlib.util.find_spec("vllm") is not None
    if backend == "vllm" or (backend == "auto" and has_vllm and _generates(own(words))):
        from runtimes.vllm import __main__ as vllm

        return vllm.main(for_vllm(words))

    if importlib.util.find_spec("torch") is None:
        return _elsewhere(words)

    from runtimes.huggingface.model import HuggingFaceModel

    return server.serve_with(lambda made: [HuggingFaceModel(made, os.environ)], words, HuggingFaceSettings)


def _elsewhere(words: Sequence[str]) -> int:
    """This program again, by the Python that has torch."""
    python = places.python(os.environ)
    if python is None or Path(sys.executable) == python:
        return server.fail(f"torch is not installed here: {places.ADVICE}")
    return os.execv(python, [str(python), "-m", "runtimes.huggingface", *words])


def _generates(settings: HuggingFaceSettings) -> bool:
    """Whether the model is one for vLLM; what cannot be told is left to transformers, which says why."""
    from runtimes.huggingface import loading

    try:
        return loading.task_of(settings) is loading.TaskName.GENERATION
    except LoadError:
        return False


if __name__ == "__main__":
    sys.exit(main())
