"""What libraries import and almost no model uses: left until it is used, so that a server is ready sooner.

Called first by the ``main`` of runtimes whose models or libraries may need scikit-learn or scipy. Loading a model file imports the modules its
classes live in; without this, each of them imports its whole package, and with it most of scipy: 1,450 modules for a
support vector machine on four numbers, of which it needs 520 (docs/decisions/0109 has the times).

That table was made for one minor version of scikit-learn (and, where that is not installed, of scipy) and is left alone
with any other: there everything is imported, as without us. ``WAKEFUL_EAGER_IMPORTS=true`` does the same. Left out: what a model imports once it is loaded.
Invariant: with the table or without, a model gives the same answers (tests/conformance/test_sklearn_estimators.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path

from wakeful.kit import deferred

VERSIONS = (
    ("sklearn", "__init__.py", re.compile(r'^__version__ = "1\.9\.', re.MULTILINE)),
    ("scipy", "version.py", re.compile(r'^version = "1\.17\.', re.MULTILINE)),
)
"""What the table was made for, as the packages' sources say it: the first that is installed decides."""

MODULES = {
    "scipy.stats": "chi2 gmean rankdata spearmanr",
    "scipy.special": "betaln binom boxcox comb digamma erf expit gamma gammainc gammaln inv_boxcox kv logsumexp xlogy",
    "scipy.optimize": "linear_sum_assignment linprog minimize minimize_scalar",
    "scipy.optimize._linesearch": "line_search_wolfe2 scalar_search_wolfe1",
    "scipy.linalg": "cho_solve cholesky eigh get_lapack_funcs norm pinv pinvh qr solve solve_triangular svd",
    "scipy.linalg.blas": "get_blas_funcs",
    "scipy.linalg.lapack": "get_lapack_funcs",
    "scipy.sparse.linalg": "cg eigsh lobpcg lsqr svds",
    "scipy.sparse.csgraph": "connected_components laplacian minimum_spanning_tree shortest_path",
    "scipy.spatial": "",
    "scipy.spatial.distance": "cdist pdist squareform",
    "scipy.interpolate": "BSpline",
    "scipy.integrate": "trapezoid",
    "scipy.fft": "fft ifft",
    "scipy.ndimage": "",
    "narwhals": "",
    "narwhals.stable": "",
    "narwhals.stable.v2": "",
    # numpy lists these among its names, and a star import of numpy asks for all of them
    "numpy.char": "",
    "numpy.ctypeslib": "",
    "numpy.f2py": "",
    "numpy.ma": "MaskedArray",
    "numpy.polynomial": "",
    "numpy.rec": "",
    "numpy.strings": "",
    "numpy.testing": "",
    # joblib's caches on disk and pools of processes
    "joblib._cloudpickle_wrapper": "wrap_non_picklable_objects",
    "joblib.executor": "get_memmapping_executor",
    "joblib.hashing": "hash",
    "joblib.memory": "MemorizedResult Memory expires_after register_store_backend",
    "joblib.pool": "MemmappingPool",
    "multiprocessing.pool": "ThreadPool",
}
"""Each with the names that the importers take from it by ``from``."""

PACKAGES = (
    *("sklearn.cluster", "sklearn.compose", "sklearn.covariance", "sklearn.cross_decomposition"),
    *("sklearn.decomposition", "sklearn.ensemble", "sklearn.feature_extraction", "sklearn.feature_selection"),
    *("sklearn.gaussian_process", "sklearn.impute", "sklearn.inspection", "sklearn.linear_model"),
    *("sklearn.manifold", "sklearn.metrics", "sklearn.metrics.cluster", "sklearn.mixture"),
    *("sklearn.model_selection", "sklearn.neighbors", "sklearn.neural_network", "sklearn.preprocessing"),
    *("sklearn.semi_supervised", "sklearn.svm", "sklearn.tree"),
)
"""Their ``__init__`` only names what their submodules hold."""

FREE = (
    *("scipy.linalg.cython_blas", "scipy.linalg.cython_lapack", "scipy.sparse.linalg._interface"),
    *("scipy.special._ellip_harm_2", "scipy.special._gufuncs", "scipy.special._special_ufuncs"),
    *("scipy.special._ufuncs", "scipy.special._ufuncs_cxx", "scipy.special.cython_special"),
)
"""What compiled modules of scikit-learn take from scipy, and a small module of a big package."""

HOMES = {"scipy.sparse.linalg": {"LinearOperator": "_interface"}}

PREDICATES = {"narwhals.stable.v2.dependencies": "is_into_dataframe is_into_series"}

TABLE = deferred.Table(
    modules={name: frozenset(names.split()) for name, names in MODULES.items()},
    packages=frozenset(PACKAGES),
    free=frozenset(FREE),
    homes=HOMES,
    predicates={name: frozenset(names.split()) for name, names in PREDICATES.items()},
    plain_types_of=frozenset({"builtins", "numpy", "scipy"}),
    importers=frozenset({"sklearn", "scipy", "joblib"}),
)


_METRICS = {"CollectorRegistry": "registry", "Counter": "metrics", "Gauge": "metrics", "Histogram": "metrics"}
_METRICS_PARTS = (
    *(
        "context_managers",
        "core",
        "decorator",
        "metrics",
        "metrics_core",
        "mmap_dict",
        "openmetrics",
    ),
    *("platform_collector", "process_collector", "registry", "samples", "utils", "validation", "values"),
)
SERVER = deferred.Table(
    modules={"prometheus_client": frozenset()},
    free=frozenset(f"prometheus_client.{name}" for name in _METRICS_PARTS),
    homes={"prometheus_client": {**_METRICS, "Metric": "metrics_core"}},
)
"""For every server: that package brings three HTTP servers and a client for its ways of exposing metrics."""


def defer(environ: Mapping[str, str]) -> bool:
    """Install the tables that fit. False, where that for scikit-learn does not, or the environment says not to."""
    return deferred.install(SERVER, environ) and _is_known() and deferred.install(TABLE, environ)


def _is_known() -> bool:
    for package, file, wanted in VERSIONS:
        spec = PathFinder.find_spec(package)
        if spec is not None and spec.origin is not None:
            source = Path(spec.origin).with_name(file)
            return source.is_file() and bool(wanted.search(source.read_text("utf-8", "replace")))
    return False
