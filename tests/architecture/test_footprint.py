"""What each deployable must not load: it is what keeps start-up and images small."""

from __future__ import annotations

import subprocess
import sys

import pytest

FORBIDDEN = {
    "storage.__main__": ("kopf", "kubernetes", "numpy", "sklearn"),
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
