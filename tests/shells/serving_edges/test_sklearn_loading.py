"""Finding and loading a scikit-learn model file: which one, what is refused and in which words, what is logged."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.linear_model import LinearRegression

from runtimes import code_bearing
from runtimes.sklearn import loading
from wakeful.core.api.code_bearing import Policy
from wakeful.serving.model import LoadError


def test_finding_the_model_file(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="found nothing"):
        loading.find(tmp_path)
    (tmp_path / "readme.txt").write_text("x")
    (tmp_path / "sub").mkdir()
    (tmp_path / ".wakeful-complete.json").write_text("{}")
    with pytest.raises(LoadError, match=r"\*.joblib, \*.pkl, \*.pickle, found readme.txt, sub/"):
        loading.find(tmp_path)
    (tmp_path / "m.PKL").write_bytes(b"x")
    assert loading.find(tmp_path).name == "m.PKL"
    (tmp_path / "n.skops").write_bytes(b"x")
    with pytest.raises(LoadError, match="2 model files"):
        loading.find(tmp_path)
    (tmp_path / "n.skops").unlink()
    (tmp_path / "m.PKL").unlink()
    (tmp_path / "m.pkl").symlink_to("/etc/hostname")
    with pytest.raises(LoadError, match="link"):
        loading.find(tmp_path)


def test_a_file_may_be_named_itself(tmp_path: Path) -> None:
    (tmp_path / "m.joblib").write_bytes(b"x")
    (tmp_path / "models").write_bytes(b"x")
    assert loading.find(tmp_path / "m.joblib") == tmp_path / "m.joblib"
    with pytest.raises(LoadError, match="let storageUri name the folder"):
        loading.find(tmp_path / "models")


def test_what_is_not_an_estimator_is_refused_and_safe_never_becomes_unsafe(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(LoadError, match="holds dict, which has no predict"):
        loading.load(tmp_path / "m.pkl", Policy.ALLOW)
    trap = tmp_path / "sprung"
    (tmp_path / "m.skops").write_bytes(pickle.dumps(Trap(str(trap))))
    with pytest.raises(LoadError, match=r"skops"):
        loading.load(tmp_path / "m.skops", Policy.ALLOW)
    assert not trap.exists()
    (tmp_path / "gone.pkl").write_bytes(b"cno_such_module\nThing\n.")
    with pytest.raises(LoadError, match="needs the Python module 'no_such_module'"):
        loading.load(tmp_path / "gone.pkl", Policy.WARN)
    with pytest.raises(LoadError, match="Allow, Warn or Refuse"):
        code_bearing.policy_of({"WAKEFUL_PICKLE": "maybe"})


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "m.pkl cannot be loaded: the file is damaged"),
        (b"from minio import Minio\n", "m.pkl cannot be loaded: the file is damaged"),
        (b"PK\x03\x04 and so on", "m.pkl cannot be loaded: the file is damaged"),
        (pickle.dumps(LinearRegression())[:40], "m.pkl cannot be loaded: the file is damaged"),
        (b"csklearn.ensemble.forest\nRandomForestClassifier\n.", "sklearn.ensemble.forest does not exist in"),
        (b"c__main__\nMyTransformer\n.", "code that was in the training script itself"),
    ],
    ids=["empty", "text", "zip", "cut", "old-sklearn", "main"],
)
def test_bad_files_are_told_apart(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "m.pkl").write_bytes(content)
    with pytest.raises(LoadError) as caught:
        loading.load(tmp_path / "m.pkl", Policy.ALLOW)
    assert words in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("suffix", ["joblib", "pkl", "pickle", "PKL"])
def test_every_suffix_loads_what_joblib_or_pickle_wrote(tmp_path: Path, suffix: str) -> None:
    model = LinearRegression().fit([[0], [1]], [0, 2])
    for number, dump in enumerate((joblib.dump, lambda m, p: Path(p).write_bytes(pickle.dumps(m)))):
        folder = tmp_path / str(number)
        folder.mkdir()
        dump(model, folder / f"m.{suffix}")
        found = loading.load(loading.find(folder), Policy.ALLOW)
        assert found.predict([[3]]).round(6).tolist() == [6.0]


def test_a_model_of_another_version_is_served_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = pickle.dumps(LinearRegression().fit([[0], [1]], [0, 2]))
    import sklearn

    here, there = sklearn.__version__.encode(), b"0" * len(sklearn.__version__)
    assert here in raw
    (tmp_path / "m.pkl").write_bytes(raw.replace(here, there))
    loading.load(tmp_path / "m.pkl", Policy.ALLOW)
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert line["event"] == "model made with another scikit-learn"
    assert there.decode() in line["detail"]
