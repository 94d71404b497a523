"""Puts KServe's own model server into a container image, to be measured beside ours: no container engine needed.

    .venv/bin/python -m benchmarks._cluster_peer --base build/images/sklearn.tar --python /venv/bin/python --out kserve.tar

``--python`` is a Python 3.11 of a virtual environment with ``kserve`` and scikit-learn (from PyPI, as its users install
it); ``--base`` our own scikit-learn image, whose first layer (interpreter and libraries) both then share. The packages
are compiled without time stamps, as ours are: else KServe would compile 600 MB of source anew at each start. The model
lies in the image, so that its start has no download: what is measured favours KServe. Prints the image's name.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import py_compile
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NAME = "dev.local/bench/kserve-sklearn:0.21.0"
SITE = "usr/local/lib/python3.11/dist-packages"
LEFT_OUT = ("pip", "setuptools", "_distutils_hack", "pkg_resources", "distutils-precedence.pth")
SERVER = '''"""KServe's scikit-learn server: its Model and ModelServer, as its own sklearnserver uses them."""
import joblib
from kserve import Model, ModelServer
from kserve.utils.utils import get_predict_input, get_predict_response


class Iris(Model):
    def load(self):
        self.estimator = joblib.load("/models/model.joblib")
        self.ready = True

    def predict(self, payload, headers=None):
        return get_predict_response(payload, self.estimator.predict(get_predict_input(payload)), self.name)


if __name__ == "__main__":
    model = Iris("iris")
    model.load()
    ModelServer(http_port=8080, enable_grpc=False, workers=1, access_log_format=None).start([model])
'''


def first_layer(base: Path, folder: Path) -> tuple[Path, str]:
    """The file and the digest of the first layer of a docker-archive."""
    with tarfile.open(base) as archive:
        archive.extractall(folder, filter="data")
    manifest = json.loads((folder / "manifest.json").read_text())[0]
    config = json.loads((folder / manifest["Config"]).read_text())
    return folder / manifest["Layers"][0], str(config["rootfs"]["diff_ids"][0])


def collect(python: Path, model: Path, root: Path) -> None:
    """The packages, the server and the model below ``root``."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout
    site = root / SITE
    shutil.copytree(
        found.strip(), site, ignore=shutil.ignore_patterns("__pycache__", "pip-*", "setuptools-*")
    )
    for name in LEFT_OUT:
        path = site / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    (root / "server").mkdir()
    (root / "server" / "main.py").write_text(SERVER)
    (root / "models").mkdir()
    shutil.copy(model, root / "models" / "model.joblib")
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH.name.lower().replace("_", "-")
    argv = [str(python), "-m", "compileall", "-q", "--invalidation-mode", mode, "-s", str(root), "-p", "/"]
    subprocess.run([*argv, str(root)], check=False)  # a few templates in the packages are no Python


def write_layer(root: Path, target: Path) -> str:
    """The tree as a layer, owned by root and readable by all; its digest."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        info.mtime = 0
        info.mode |= 0o444 | (0o111 if info.isdir() else 0)
        return info

    with tarfile.open(target, "w") as layer:
        for path in sorted(root.rglob("*")):
            layer.add(path, arcname=str(path.relative_to(root)), recursive=False, filter=plain)
    with target.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def write_image(out: Path, layers: list[tuple[Path, str]]) -> None:
    """The docker-archive."""
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Entrypoint": ["python3", "/server/main.py"],
            "User": "65532:65532",
            "WorkingDir": "/",
            "Env": ["PATH=/usr/local/bin:/usr/bin", "LANG=C.UTF-8", "HOME=/tmp", "PYTHONUNBUFFERED=1"],
        },
        "rootfs": {"type": "layers", "diff_ids": [digest for _, digest in layers]},
    }
    text = json.dumps(config, sort_keys=True).encode()
    config_name = hashlib.sha256(text).hexdigest() + ".json"
    names = [digest.partition(":")[2] + ".tar" for _, digest in layers]
    manifest = [{"Config": config_name, "RepoTags": [NAME], "Layers": names}]
    with tarfile.open(out, "w") as archive:
        for name, content in ((config_name, text), ("manifest.json", json.dumps(manifest).encode())):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for (path, _), name in zip(layers, names, strict=True):
            archive.add(path, arcname=name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="docker-archive of our scikit-learn image")
    parser.add_argument("--python", type=Path, required=True, help="of an environment with kserve")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    trainer = Path(__file__).parents[1] / "hack" / "train_iris.py"
    with tempfile.TemporaryDirectory(prefix="wakeful-peer-") as name:
        work = Path(name)
        subprocess.run([sys.executable, str(trainer), str(work / "trained")], check=True, capture_output=True)
        for folder in ("base", "root"):
            (work / folder).mkdir()
        layer = first_layer(options.base, work / "base")
        collect(options.python, work / "trained" / "iris-v1" / "model.joblib", work / "root")
        digest = write_layer(work / "root", work / "layer.tar")
        write_image(options.out, [layer, (work / "layer.tar", digest)])
    print(NAME)
    return 0


if __name__ == "__main__":
    sys.exit(main())
