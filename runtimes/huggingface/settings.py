"""The flags of the Hugging Face server: those of every model server, and KServe's for this one.

Read by ``__main__`` and by the model. Names are KServe's huggingfaceserver's; switches may stand without a value.
``--backend`` decides who generates: ``huggingface`` (transformers in this process), ``vllm`` (``runtimes.vllm``), or ``auto``:
vLLM where it is installed and the task is text generation, as KServe does.

Invariant: nothing of a model's folder is run as code unless ``--trust_remote_code`` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wakeful.serving.settings import Settings

BACKENDS = ("auto", "huggingface", "vllm")
SWITCHES = frozenset(
    {
        "trust_remote_code", "disable_lower_case", "disable_special_tokens", "return_probabilities",
        "return_raw_logits", "return_token_type_ids",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class HuggingFaceSettings(Settings):
    """The settings of one Hugging Face server."""

    model_id: str = ""
    """A model of the Hugging Face hub, downloaded at start; '' takes ``--model_dir``."""
    model_revision: str = ""
    """Branch, tag or commit of ``--model_id``; '' is its default."""
    tokenizer_revision: str = ""
    """The same for its tokenizer; '' is ``--model_revision``."""
    task: str = ""
    """What the model does (``text_generation``, ``text_embedding``, ...); '' goes by its configuration."""
    backend: str = "auto"
    """auto, huggingface or vllm."""
    dtype: str = "auto"
    """Of the weights: auto (as saved on a GPU, float32 on a CPU), float32, float16, bfloat16 (or float, half)."""
    max_length: int = 0
    """Most tokens of prompt and answer together; 0 is what the model's configuration says."""
    max_model_len: int = 0
    """The same under vLLM's name."""
    trust_remote_code: bool = False
    """Whether Python files in the model's folder may run. Off: writing a model's files should not run programs here."""
    disable_lower_case: bool = False
    """Keep the case of the text, whatever the tokenizer's configuration says."""
    disable_special_tokens: bool = False
    """No [CLS], [SEP] and the like around inputs of classifiers and embeddings."""
    return_probabilities: bool = False
    """Classifiers answer the probability of each label instead of the likeliest one."""
    return_raw_logits: bool = False
    """Classifiers answer the number of each label before the softmax."""
    return_token_type_ids: bool = False
    """Give token type ids to models that take them (pairs are told apart by them)."""


def spelled_out(argv: Sequence[str]) -> list[str]:
    """``argv`` with a value after every switch that stands without one."""
    words: list[str] = []
    for place, word in enumerate(argv):
        bare = word.startswith("--") and "=" not in word and word[2:].replace("-", "_") in SWITCHES
        following = argv[place + 1] if place + 1 < len(argv) else "--"
        words.append(f"{word}=true" if bare and following.startswith("--") else word)
    return words


VLLM_NAMES = {"model_id": "model_dir", "model_revision": "revision", "max_length": "max-model-len"}
NOT_VLLMS = SWITCHES - {"trust_remote_code"} | {"backend", "task"}


def value_of(words: Sequence[str], name: str, default: str) -> str:
    """The last value of a flag in ``spelled_out`` words, whoever the others belong to."""
    found = default
    for place, word in enumerate(words):
        flag, has_value, value = word.partition("=")
        if flag[:2] == "--" and flag[2:].replace("-", "_") == name:
            found = value if has_value else (words[place + 1] if place + 1 < len(words) else default)
    return found


def own(words: Sequence[str]) -> HuggingFaceSettings:
    """What decides who generates: the flags about the model, without the other server's."""
    return HuggingFaceSettings(
        model_dir=value_of(words, "model_dir", HuggingFaceSettings().model_dir),
        model_id=value_of(words, "model_id", ""),
        model_revision=value_of(words, "model_revision", ""),
        task=value_of(words, "task", ""),
        trust_remote_code=value_of(words, "trust_remote_code", "false").lower() == "true",
    )


def for_vllm(words: Sequence[str]) -> list[str]:
    """The same command line in the words of ``runtimes.vllm``."""
    made: list[str] = []
    is_dropped = False
    for word in words:
        flag, has_value, value = word.partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--"):
            if not is_dropped:
                made.append(word)
            continue
        is_dropped = name in NOT_VLLMS
        if not is_dropped:
            made.append(f"--{VLLM_NAMES.get(name, flag[2:])}" + (f"={value}" if has_value else ""))
    return made
