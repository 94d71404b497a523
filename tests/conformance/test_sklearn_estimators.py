"""Models answer the same whether scikit-learn was imported in full or by ``runtimes.imports``'s table."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "tests" / "rig" / "estimators.py"
PATIENCE_S = 280

pytestmark = pytest.mark.timeout(2 * PATIENCE_S)  # a second each where the machine is quiet; it often is not


def python(*words: str | Path, **environ: str) -> str:
    """Run the environment's Python on ``words``; what it printed."""
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=ROOT,
        env={**os.environ, **environ},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_every_kind_of_estimator_answers_the_same(tmp_path: Path) -> None:
    python(SCRIPT, "fit", tmp_path)
    told = dict(line.split(" ", 1) for line in python(SCRIPT, "load", tmp_path).splitlines())
    assert len(told) == len(list(tmp_path.glob("*.joblib"))) > 35
    assert {name: wrong for name, wrong in told.items() if wrong} == {}


LOADED = """
import os, pickle, sys
from runtimes import imports
assert imports.defer(os.environ)
import sklearn.base, joblib
for thing in pickle.loads(bytes.fromhex(sys.argv[1])):
    print(type(thing).__name__, getattr(thing, "__name__", ""))
"""


def test_what_a_file_names_of_scipy_is_the_real_thing() -> None:
    from scipy import special, stats
    from scipy.interpolate import BSpline
    from scipy.sparse.linalg import LinearOperator

    things = [stats.rankdata, stats.norm(0, 1), special.expit, BSpline, LinearOperator, stats.chi2]
    told = python("-c", LOADED, pickle.dumps(things).hex()).splitlines()
    wanted = [f"{type(thing).__name__} {getattr(thing, '__name__', '')}" for thing in things]
    assert told == wanted


NAMES = """
import importlib, os
from runtimes import imports
assert imports.defer(os.environ)
from wakeful.kit import deferred
import numpy, scipy, joblib, sklearn
FREE = [*imports.FREE, *imports.SERVER.free, "prometheus_client", "prometheus_client.asgi"]
HOMES = {**imports.HOMES, **imports.SERVER.homes}
wrong = []
for name, names in {**imports.MODULES, **imports.PREDICATES, **dict.fromkeys(FREE, "")}.items():
    if os.fork() == 0:  # each as the first that runs
        module = importlib.import_module(name)
        deferred.run(module)
        missing = [f"{name}.{it}" for it in names.split() if it not in vars(module)]
        os._exit(len(missing))
    if os.wait()[1]:
        wrong.append(name)
for name, homes in HOMES.items():
    for it, home in homes.items():
        real = getattr(importlib.import_module(name), it)
        wrong += [] if real is getattr(importlib.import_module(f"{name}.{home}"), it) else [f"{name}.{it}"]
print(*wrong)
"""


def test_the_table_names_what_there_is() -> None:
    assert python("-c", NAMES).split() == []


OPEN = """
import importlib, os
from runtimes import imports
assert imports.defer(os.environ)
from wakeful.kit import deferred
import sklearn
reader, writer = os.pipe()
if os.fork() == 0:  # the names as they are once everything has run
    for name in imports.PACKAGES:
        module = importlib.import_module(name)
        deferred.run(module)
        os.write(writer, f"{name} {' '.join(n for n in vars(module) if not n.startswith('__'))}\\n".encode())
    os._exit(0)
os.close(writer)
wrong = []
for line in os.fdopen(reader).read().splitlines():
    name, *names = line.split()
    module = importlib.import_module(name)
    early = {it: getattr(module, it) for it in names}
    deferred.run(module)
    wrong += [f"{name}.{it}" for it in names if vars(module)[it] is not early[it]]
print(*wrong)
"""


def test_an_open_package_gives_what_it_has_once_it_ran() -> None:
    assert python("-c", OPEN).split() == []


def test_another_version_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sklearn").mkdir()
    (tmp_path / "sklearn" / "__init__.py").write_text('__version__ = "2.0.0"\n')
    told = python("-c", "import os; from runtimes import imports; print(imports.defer(os.environ))",
                  PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")  # fmt: skip
    assert told.split() == ["False"]


CIRCLE = """
import joblib, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
(folder / "sl_pack").mkdir()
(folder / "sl_pack" / "__init__.py").write_text("WIDTH = 4\\nfrom sl_pack._a import A as Kept\\n")
(folder / "sl_pack" / "_a.py").write_text(
    "from sl_pack import WIDTH\\nclass A:\\n    def predict(self, rows):\\n        return WIDTH\\n"
)
sys.path.insert(0, str(folder))
path = folder / "model.joblib"
if os.fork() == 0:
    import sl_pack
    joblib.dump(sl_pack.Kept(), path)
    os._exit(0)
os.wait()
from wakeful.kit import deferred
deferred.install(deferred.Table(modules={}, packages=frozenset({"sl_pack"})), {})
from runtimes.sklearn import loading
from runtimes.code_bearing import Policy
print(loading.load(path, Policy.ALLOW).predict([]), deferred.pending())
"""


def test_a_model_that_the_table_breaks_is_loaded_without_it(tmp_path: Path) -> None:
    """``sl_pack._a`` cannot be imported before its package, which the table claims."""
    lines = python("-c", CIRCLE, tmp_path).splitlines()
    assert lines[-1] == "4 []"


NEIGHBORS = """
import pathlib, pickle, sys
from sklearn.neighbors import KNeighborsClassifier
model = KNeighborsClassifier(1, algorithm="kd_tree").fit([[0.0], [1.0]], [0, 1])
pathlib.Path(sys.argv[1], "model.pkl").write_bytes(pickle.dumps(model))
"""
READY = """
import os, pathlib, sys
from runtimes import imports
assert imports.defer(os.environ)
from runtimes.sklearn.model import SklearnModel
from wakeful.kit import deferred
model = SklearnModel("m", pathlib.Path(sys.argv[1]), {"WAKEFUL_PICKLE": "Allow"})
model.load()
print("scipy.stats" in deferred.pending(), "scipy.interpolate._bsplines" in sys.modules)
before = set(sys.modules)
import numpy
print(model.compute(numpy.zeros((1, 1))), sorted(set(sys.modules) - before))
"""


def test_what_predicting_needs_is_imported_before_the_server_is_ready(tmp_path: Path) -> None:
    """Neighbors vote by ``scipy.stats.mode``: half a second of processor that the first caller would wait for."""
    python("-c", NEIGHBORS, tmp_path)
    assert python("-c", READY, tmp_path).splitlines() == ["False True", "[0] []"]
