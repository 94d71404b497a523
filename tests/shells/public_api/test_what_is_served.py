"""What cannot be served is said at the start in one sentence, not as a stack, and not at the first request."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wakeful import Model
from wakeful.serving.model import LoadError
from wakeful.serving.registry import Registry


class Good(Model):
    def predict(self, payload: Any, context: Any) -> Any:
        return payload


class Nameless(Model):
    def __init__(self) -> None:
        self.ready = True


class Tensors(Good):
    takes: Any = "tensor"


class Batched(Good):
    batching: Any = 5


def with_predict(method: Any) -> Model:
    odd: type[Model] = type("Odd", (Model,), {"predict": method})
    return odd("m")


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ([], "there is no model to serve"),
        (Good("m"), "takes a list of models, such as serve([model]), not an object of Good"),
        (None, "not an object of NoneType"),
        ([Good], "Good is a class: make a model of it, such as Good('name')"),
        ([object()], "an object of object is no wakeful.Model"),
        ([Good("")], "has no name"),
        ([Nameless()], "an object of Nameless has no name: its __init__ has to call super().__init__(name)"),
        ([Tensors("m")], "model m: takes is 'tensor': one of either, rows, tensors"),
        ([Batched("m")], "model m: batching is an object of int: None, a Joining"),
        ([with_predict(lambda self: 1)], "model m: predict() cannot be called with a payload"),
        ([with_predict(lambda self, a, b, c: 1)], "predict(a, b, c) cannot be called"),
        (
            [with_predict(lambda self, payload, *, headers: 1)],
            "predict(payload, *, headers) cannot be called",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_it_is_refused(models: Any, words: str) -> None:
    with pytest.raises(LoadError) as caught:
        Registry(models)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "method",
    [
        lambda self, payload: 1,
        lambda self, payload, context=None, *, more=1: 1,
        lambda self, *args: 1,
        lambda self, *args, **kwargs: 1,
        lambda self, payload, headers, response_headers=None: 1,
        staticmethod(lambda payload: 1),
    ],
)
def test_what_can_be_called_is_taken(method: Any) -> None:
    assert Registry([with_predict(method)]).names() == ["m"]


def test_a_script_ends_with_the_sentence(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("import sys\nfrom wakeful import Model, serve\nsys.exit(serve(Model('m')))\n")
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        [sys.executable, str(script), "--http_port=0"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert done.stderr.startswith("serve takes a list of models")
