"""What the XGBoost and LightGBM servers import until they are ready: the real programs, told by the interpreter itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting_rig import until_blocking

ROOT = Path(__file__).resolve().parents[2]
ROWS = np.arange(40.0).reshape(20, 2)
LABELS = ROWS[:, 0] * 2
UNUSED = {
    *("scipy.stats._stats_py", "scipy.optimize._optimize", "scipy.linalg._basic", "scipy.spatial._kdtree"),
    *(
        "sklearn.metrics._scorer",
        "sklearn.model_selection._split",
        "sklearn.preprocessing._data",
        "pandas.core",
    ),
    *("joblib._memmapping_reducer", "numpy.ma.core", "numpy.f2py.f2py2e", "http.server"),
}
"""For training, plots and tables only: 0.9 of 1.3 s of processor time (docs/decisions/0114)."""


def xgboost_model(folder: Path) -> Any:
    import xgboost

    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(ROWS, label=LABELS, nthread=1), 2)
    booster.save_model(folder / "model.ubj")
    return booster.predict(xgboost.DMatrix(ROWS[:2])).tolist()


def lightgbm_model(folder: Path) -> Any:
    import lightgbm

    fixed = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1}
    booster = lightgbm.train(fixed, lightgbm.Dataset(ROWS, label=LABELS), 2)
    booster.save_model(folder / "model.txt")
    return booster.predict(ROWS[:2], num_threads=1).tolist()


def served_once(name: str, folder: Path, *words: str, **environ: str) -> tuple[set[str], Any]:
    """(the modules that were imported, the answer to two rows) of a server's whole life; ``words`` are the interpreter's."""
    told = folder / "told"
    flags = [f"--model_dir={folder}", "--model_name=m", "--http_port=0", "--http_address=127.0.0.1"]
    with told.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, *words, "-X", "importtime", "-m", f"runtimes.{name}", *flags],
            cwd=ROOT, env={**os.environ, **environ}, stdout=subprocess.DEVNULL, stderr=file,
        )  # fmt: skip

    def port() -> int:
        assert process.poll() is None, told.read_text()[-2000:]
        lines = told.read_text().splitlines()
        return next((json.loads(line)["port"] for line in lines if '"serving"' in line), 0)

    try:
        until_blocking(lambda: port() > 0, 120, "the server listens")
        body = json.dumps({"instances": ROWS[:2].tolist()}).encode()
        url = f"http://127.0.0.1:{port()}/v1/models/m:predict"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=30) as response:
            answer = json.load(response)["predictions"]
    finally:
        process.terminate()
        process.wait(30)
    lines = [line for line in told.read_text().splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}, answer


@pytest.mark.parametrize("name", ["xgboost", "lightgbm"])
@pytest.mark.timeout(300)
def test_a_server_imports_what_predicting_needs(tmp_path: Path, name: str) -> None:
    wanted = {"xgboost": xgboost_model, "lightgbm": lightgbm_model}[name](tmp_path)
    imported, answer = served_once(name, tmp_path)
    assert answer == wanted
    assert sorted(UNUSED & imported) == []
    assert {name, f"{name}.sklearn", "wakeful.serving.http_edge"} <= imported
    assert len(imported) < 800, len(imported)


@pytest.mark.timeout(300)
def test_nor_where_scikit_learn_is_not_installed(tmp_path: Path) -> None:
    """As in the image: there scipy's part of the table stands alone."""
    site = tmp_path / "site"
    site.mkdir()
    for path in Path(sysconfig.get_path("purelib")).iterdir():
        if "editable" not in path.name and not path.name.startswith(("sklearn", "scikit_learn")):
            (site / path.name).symlink_to(path)
    wanted = xgboost_model(tmp_path)
    imported, answer = served_once("xgboost", tmp_path, "-S", PYTHONPATH=f"{site}:{ROOT}")
    assert answer == wanted
    assert "sklearn.base" not in imported
    assert sorted({*UNUSED, "scipy.linalg._decomp"} & imported) == []


@pytest.mark.timeout(300)
def test_the_switch_imports_everything(tmp_path: Path) -> None:
    wanted = xgboost_model(tmp_path)
    imported, answer = served_once("xgboost", tmp_path, WAKEFUL_EAGER_IMPORTS="true")
    assert answer == wanted
    assert "scipy.stats._stats_py" in imported
