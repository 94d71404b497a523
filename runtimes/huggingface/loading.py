"""Find out what a Hugging Face model does and load it: configuration, tokenizer, weights.

Called by ``runtimes.huggingface.model``. Weights are read from safetensors; files that run code when loaded
(``pytorch_model.bin``) fall under ``WAKEFUL_PICKLE`` as everywhere. The task is the flag's, or what the architecture's
name in ``config.json`` says; a sentence encoder's pooling is what its own files say.

Invariant: a folder is read without the network; what cannot be served ends the start with one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import torch
import transformers

from runtimes.huggingface.settings import HuggingFaceSettings
from wakeful.kit import logs
from wakeful.serving.model import LoadError

DTYPES = {
    "float32": torch.float32, "float": torch.float32, "float16": torch.float16, "half": torch.float16,
    "bfloat16": torch.bfloat16,
}  # fmt: skip
FALLBACK_TOKENS = 512
HUGE_TOKENS = 10_000_000
"""Tokenizers without a limit say a number with thirty digits."""

log = logs.get("huggingface")


class TaskName(StrEnum):
    """KServe's names of what a model does."""

    GENERATION = "text_generation"
    GENERATION_2 = "text2text_generation"
    SEQUENCE = "sequence_classification"
    TOKEN = "token_classification"
    MASK = "fill_mask"
    EMBEDDING = "text_embedding"


CLASSES = {
    TaskName.GENERATION: "AutoModelForCausalLM",
    TaskName.GENERATION_2: "AutoModelForSeq2SeqLM",
    TaskName.SEQUENCE: "AutoModelForSequenceClassification",
    TaskName.TOKEN: "AutoModelForTokenClassification",
    TaskName.MASK: "AutoModelForMaskedLM",
    TaskName.EMBEDDING: "AutoModel",
}
ENDINGS = (
    ("ForCausalLM", TaskName.GENERATION),
    ("LMHeadModel", TaskName.GENERATION),
    ("ForConditionalGeneration", TaskName.GENERATION_2),
    ("ForSequenceClassification", TaskName.SEQUENCE),
    ("ForTokenClassification", TaskName.TOKEN),
    ("ForMaskedLM", TaskName.MASK),
    ("Model", TaskName.EMBEDDING),
)


@dataclass(slots=True)
class Loaded:
    """A model that can answer."""

    task: TaskName
    network: Any
    tokenizer: Any
    device: str
    context_tokens: int
    pooling: str = "mean"
    """Of a sentence encoder: mean or cls."""


def task_of(settings: HuggingFaceSettings) -> TaskName:
    """What the model does, from the flag or its configuration. Raises ``LoadError``."""
    return _task(settings, _config(settings))


def load(settings: HuggingFaceSettings, environ: Mapping[str, str]) -> Loaded:
    """The model of ``settings``. Raises ``LoadError``."""
    config = _config(settings)
    task = _task(settings, config)
    source = _source(settings)
    options = _options(settings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    _check_format(settings, environ)
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            source,
            **{**options, "revision": settings.tokenizer_revision or options["revision"]},
            **({"do_lower_case": False} if settings.disable_lower_case else {}),
        )
        network = getattr(transformers, CLASSES[task]).from_pretrained(
            source, config=config, dtype=_dtype(settings, device), **options
        )
        network.to(device).eval()
    except Exception as error:
        raise LoadError(f"the model in {source} cannot be loaded: {_said(error)}") from error
    return Loaded(task, network, tokenizer, device, _context(settings, config, tokenizer), _pooling(settings))


def _source(settings: HuggingFaceSettings) -> str:
    if settings.model_id:
        return settings.model_id
    folder = Path(settings.model_dir)
    if not folder.is_dir():
        raise LoadError(
            f"model folder {folder} does not exist: was the model downloaded or the claim mounted?"
        )
    if not (folder / "config.json").exists():
        found = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        raise LoadError(f"{folder} has no config.json (found {found}): save the model with save_pretrained")
    return str(folder)


def _options(settings: HuggingFaceSettings) -> dict[str, Any]:
    return {
        "revision": settings.model_revision or None,
        "trust_remote_code": settings.trust_remote_code,
        "local_files_only": not settings.model_id,
    }


def _config(settings: HuggingFaceSettings) -> Any:
    source = _source(settings)
    try:
        return transformers.AutoConfig.from_pretrained(source, **_options(settings))
    except Exception as error:
        text = _said(error)
        if "trust_remote_code" in text:
            text = "the model brings code of its own; --trust_remote_code lets it run"
        raise LoadError(f"the configuration of {source} cannot be read: {text}") from error


def _task(settings: HuggingFaceSettings, config: Any) -> TaskName:
    if settings.task:
        wanted = settings.task.replace("-", "_").lower()
        if wanted not in set(TaskName):
            raise LoadError(f"--task={settings.task} is not known; known: {', '.join(TaskName)}")
        return TaskName(wanted)
    architectures = getattr(config, "architectures", None) or []
    for architecture in architectures:
        for ending, task in ENDINGS:
            if architecture.endswith(ending):
                return task
    raise LoadError(
        f"the configuration does not say what the model does (architectures: {architectures}): set --task"
    )


def _check_format(settings: HuggingFaceSettings, environ: Mapping[str, str]) -> None:
    """Refuse weights that run code when loaded, where the platform says so."""
    if settings.model_id:
        return
    folder = Path(settings.model_dir)
    pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    if pickled and not list(folder.glob("*.safetensors")):
        policy = environ.get("WAKEFUL_PICKLE", "Warn").lower()
        if policy == "refuse":
            raise LoadError(
                f"{pickled[0]} is a pickle, and WAKEFUL_PICKLE=Refuse: save the model as safetensors instead"
            )
        log.warning("model format may run code when loaded", file=pickled[0], safe_alternative=".safetensors")


def _dtype(settings: HuggingFaceSettings, device: str) -> Any:
    if settings.dtype == "auto":
        return "auto" if device == "cuda" else torch.float32
    if settings.dtype not in DTYPES:
        raise LoadError(f"--dtype={settings.dtype} is not known; known: auto, {', '.join(DTYPES)}")
    return DTYPES[settings.dtype]


def _context(settings: HuggingFaceSettings, config: Any, tokenizer: Any) -> int:
    wanted = settings.max_length or settings.max_model_len
    limits = [
        getattr(config, name, None) for name in ("max_position_embeddings", "n_positions", "max_seq_len")
    ]
    limits.append(getattr(tokenizer, "model_max_length", None))
    known = [int(limit) for limit in limits if isinstance(limit, int) and 0 < limit < HUGE_TOKENS]
    longest = min(known, default=wanted or FALLBACK_TOKENS)
    if wanted > longest:
        raise LoadError(f"--max_length={wanted} is more than the {longest} tokens that the model can read")
    return wanted or longest


def _pooling(settings: HuggingFaceSettings) -> str:
    """What the files of sentence-transformers say; mean where there are none, as KServe does."""
    place = Path(settings.model_dir) / "1_Pooling" / "config.json"
    if settings.model_id or not place.exists():
        return "mean"
    try:
        told = json.loads(place.read_text())
    except (OSError, ValueError) as error:
        raise LoadError(f"{place} cannot be read: {error}") from error
    return "cls" if told.get("pooling_mode_cls_token") else "mean"


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__
