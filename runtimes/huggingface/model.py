"""A Hugging Face model as a ``Model``: V1 and V2 for encoders, OpenAI's routes for generation, vectors and scores.

Made by ``__main__``. V1 takes ``{"instances": [TEXT, ...]}`` (or ``{"text": TEXT}`` each), V2 one BYTES tensor of texts;
answers are ``encoding``'s. Work runs in a pool of its own, so that the data plane's threads stay free.

Invariant: the network is only read while it serves; a request's texts are bounded by the body's size and ``MAX_TEXTS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from runtimes.huggingface import loading
from runtimes.huggingface.encoding import Encoder, EncodingEngine
from runtimes.huggingface.generating import GeneratingEngine
from runtimes.huggingface.loading import Loaded, TaskName
from runtimes.huggingface.settings import HuggingFaceSettings
from wakeful.core.errors import FailureError, FailureKind, InvalidError
from wakeful.core.protocol import arrays, v1
from wakeful.core.protocol.oip import InferRequest, InferResponse, Tensor
from wakeful.core.protocol.openai import Call
from wakeful.core.protocol.problem import type_name
from wakeful.serving.model import Context, TensorSpec
from wakeful.serving.openai_engine import OpenAIModel
from wakeful.serving.openai_local import LocalEngine
from wakeful.serving.pool import Pool

GENERATIVE = (TaskName.GENERATION, TaskName.GENERATION_2)
MAX_TEXTS = 4096
PADDING = -100
"""The label of a place without a token, where V2 needs rows of equal length; what torch ignores too."""


class HuggingFaceModel(OpenAIModel):
    """One model folder, or one model of the hub."""

    def __init__(self, settings: HuggingFaceSettings, environ: Mapping[str, str]) -> None:
        super().__init__(settings.model_name)
        self._settings = settings
        self._environ = environ
        self._pool = Pool(settings.max_threads, settings.max_queue, "torch")
        self._loaded: Loaded | None = None
        self._encoder: Encoder | None = None

    def load(self) -> None:
        loaded = loading.load(self._settings, self._environ)
        self._loaded = loaded
        if loaded.task in GENERATIVE:
            self.engine = LocalEngine(self.name, GeneratingEngine(loaded, self._pool))
        else:
            self._encoder = Encoder(loaded, self._settings)
            self.engine = LocalEngine(self.name, EncodingEngine(loaded, self._encoder, self._pool))

    def unload(self) -> None:
        self._loaded = None
        self._encoder = None
        self._pool.close()

    def platform(self) -> str:
        return "huggingface"

    def inputs(self) -> list[TensorSpec]:
        return [] if self._encoder is None else [TensorSpec("input-0", "BYTES", (-1,))]

    def outputs(self) -> list[TensorSpec]:
        loaded = self._loaded
        if loaded is None or self._encoder is None:
            return []
        has_numbers = self._settings.return_probabilities or self._settings.return_raw_logits
        labels = getattr(loaded.network.config, "num_labels", -1)
        match loaded.task:
            case TaskName.EMBEDDING:
                return [TensorSpec("output-0", "FP32", (-1, loaded.network.config.hidden_size))]
            case TaskName.MASK:
                return [TensorSpec("output-0", "BYTES", (-1,))]
            case TaskName.TOKEN:
                return [
                    TensorSpec(
                        "output-0", "FP32" if has_numbers else "INT64", (-1, -1, *([labels] * has_numbers))
                    )
                ]
            case _:
                return [
                    TensorSpec(
                        "output-0", "FP32" if has_numbers else "INT64", (-1, *([labels] * has_numbers))
                    )
                ]

    async def predict(self, payload: Any, context: Context) -> Any:
        """OpenAI's calls go to the engine, texts of V1 and V2 to the encoder."""
        if isinstance(payload, Call):
            return await super().predict(payload, context)
        if self._encoder is None:
            raise FailureError(
                FailureKind.UNSUPPORTED,
                f"model {self.name} generates text: POST /openai/v1/completions or /openai/v1/chat/completions",
            )
        texts = _texts(payload)
        answers = await self._pool.run(partial(self._encoder.answers, texts))
        if isinstance(payload, InferRequest):
            return InferResponse([_tensor(answers)])
        if self._loaded is not None and self._loaded.task is TaskName.TOKEN:
            return {"predictions": [[labels] for labels in answers]}  # as KServe: a list of one row a text
        return {"predictions": answers}


def _texts(payload: Any) -> list[str]:
    """The texts of a request. Raises ``InvalidError``."""
    if isinstance(payload, InferRequest):
        if len(payload.inputs) != 1:
            raise InvalidError(
                f"the model takes one BYTES tensor of texts, got {len(payload.inputs)} tensors"
            )
        given = list(_flat(payload.inputs[0]))
    else:
        if isinstance(payload, bytes):
            payload = v1.decode_object(payload)
        given = v1.rows(payload)
    if not 0 < len(given) <= MAX_TEXTS:
        raise InvalidError(f"{len(given)} texts in one request: from 1 to {MAX_TEXTS} are answered")
    return [_text(value, place) for place, value in enumerate(given)]


def _flat(tensor: Tensor) -> Any:
    if tensor.datatype != "BYTES":
        raise InvalidError(f"input {tensor.name!r} is {tensor.datatype}: the model takes texts (BYTES)")
    return arrays.to_array(tensor).reshape(-1)


def _text(value: Any, place: int) -> str:
    if isinstance(value, dict) and isinstance(value.get("text"), str):
        value = value["text"]
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError as error:
            raise InvalidError(f"text {place} is not UTF-8") from error
    if not isinstance(value, str):
        raise InvalidError(f"text {place} is {type_name(value)}, not a string")
    return value


def _tensor(answers: list[Any]) -> Tensor:
    """Answers as one tensor: rows of labels are filled up to the longest."""
    first = answers[0]
    if isinstance(first, str):
        return arrays.from_array("output-0", np.array(answers, dtype=object))
    if isinstance(first, dict):
        return arrays.from_array("output-0", np.array([list(row.values()) for row in answers], np.float32))
    if isinstance(first, list) and not isinstance(first[0], float):
        longest = max(map(len, answers))
        if isinstance(first[0], dict):
            empty = [float(PADDING)] * len(first[0])
            rows = [[list(d.values()) for d in row] + [empty] * (longest - len(row)) for row in answers]
            return arrays.from_array("output-0", np.array(rows, np.float32))
        padded = [row + [PADDING] * (longest - len(row)) for row in answers]
        return arrays.from_array("output-0", np.array(padded, np.int64))
    kind = np.float32 if isinstance(first, list) else np.int64
    return arrays.from_array("output-0", np.array(answers, kind))
