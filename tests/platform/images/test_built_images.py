"""What is in the images that were really built: who runs, what is labelled, what is left out, what is licensed."""

from __future__ import annotations

import importlib.metadata
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from image_box import Unpacked, of_this_run
from packaging.requirements import Requirement

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).resolve().parents[3]
LIMITS_MB = {
    "controller": 150,
    "eventing": 100,
    "explainer": 800,
    "huggingface": 1500,
    "lightgbm": 350,
    "onnx": 300,
    "pmml": 300,
    "sklearn": 450,
    "storage-initializer": 100,
    "torch": 1300,
    "vllm": 2400,
    "xgboost": 350,
}
SHELLS = {
    "sh",
    "bash",
    "dash",
    "busybox",
    "ash",
    "zsh",
    "apt",
    "dpkg",
    "pip",
    "pip3",
    "perl",
    "ldd",
    "curl",
    "wget",
}
# The mark is built here so that this file is not a finding of its own kind.
PRIVATE_KEY = b"-----BEGIN " + b"PRIVATE KEY"
SECRET_FILES = re.compile(
    r"(^|/)(\.netrc|pip\.conf|\.pypirc|\.git|\.env|id_rsa|kubeconfig|resolv\.conf|hosts)$"
)
# What is written for other Pythons: it is shipped, never imported by 3.11.
NOT_COMPILED = re.compile(r"(_pyodide|py312|py313|py314|_py39|templates?/|test_)")


@pytest.fixture(params=of_this_run(LIMITS_MB))
def image(request: pytest.FixtureRequest, unpacked: Mapping[str, Unpacked]) -> Unpacked:
    return unpacked[request.param]


def files(image: Unpacked) -> list[Path]:
    return [path for path in image.root.rglob("*") if path.is_file() and not path.is_symlink()]


def inside(image: Unpacked, path: Path) -> str:
    return "/" + str(path.relative_to(image.root))


def site_of(image: Unpacked) -> Path:
    return next(image.root.glob("usr/local/lib/python3.11/*-packages"))


def test_there_is_a_limit_for_every_image(unpacked: Mapping[str, Unpacked]) -> None:
    assert list(unpacked) == of_this_run(LIMITS_MB)


def test_is_no_larger_than_promised(unpacked: Mapping[str, Unpacked]) -> None:
    sizes_mb = {name: image.size_bytes / 1e6 for name, image in unpacked.items()}
    assert {name: size for name, size in sizes_mb.items() if size > LIMITS_MB[name]} == {}


def test_images_share_the_layer_that_holds_python(unpacked: Mapping[str, Unpacked]) -> None:
    assert len({image.layers[0] for image in unpacked.values()}) == 1


def test_runs_as_nobody_special(image: Unpacked) -> None:
    assert image.config["User"] == "65532:65532"
    assert image.config["Entrypoint"][:3] == ["python3", "-P", "-m"]
    assert not image.config.get("Cmd")


def test_labels_name_version_and_licence(image: Unpacked) -> None:
    labels = image.config["Labels"]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert labels["org.opencontainers.image.version"] == version
    licences = labels["org.opencontainers.image.licenses"]
    assert licences.split(" AND ")[0] == "Apache-2.0"
    assert (
        (licences != "Apache-2.0")
        == ("AGPL" in licences)
        == (labels["org.opencontainers.image.title"] == "wakeful/pmml")
    )


def test_has_no_shell_and_no_package_manager(image: Unpacked) -> None:
    programs = {path.name for path in files(image) if os.access(path, os.X_OK)}
    assert programs & SHELLS == set()
    assert {path.name for path in (image.root / "usr/bin").iterdir()} == {"python", "python3", "python3.11"}


def test_what_built_and_installed_packages_is_gone(image: Unpacked) -> None:
    names = {path.name for path in site_of(image).iterdir()}
    assert names & {"pip", "pkg_resources", "_distutils_hack", "wheel"} == set()
    assert [path for path in site_of(image).glob("setuptools/*") if path.name == "build_meta.py"] == []
    packages = {str(distribution.metadata["Name"]) for distribution in installed(image)}
    assert packages & {"pip", "setuptools", "wheel"} == set()
    assert packages & {"prometheus-client", "prometheus_client", "minio"}


def test_nobody_but_root_may_change_a_file(image: Unpacked) -> None:
    found = []
    for path in [*image.root.rglob("*")]:
        status = path.lstat()
        is_loose = (
            status.st_mode & 0o022 and not stat.S_ISLNK(status.st_mode) and inside(image, path) != "/tmp"
        )
        if is_loose or status.st_uid or status.st_gid or status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            found.append(inside(image, path))
    assert found == []


def test_everybody_may_read_every_file(image: Unpacked) -> None:
    assert [inside(image, path) for path in files(image) if not path.stat().st_mode & 0o004] == []


def test_holds_no_secret_and_nothing_of_the_builder(image: Unpacked) -> None:
    named = [inside(image, path) for path in files(image) if SECRET_FILES.search(inside(image, path))]
    keys = [
        inside(image, path)
        for path in files(image)
        if path.suffix in {".pem", ".key", ".crt", ".conf", ".ini", ".json", ""}
        and PRIVATE_KEY in path.read_bytes()
    ]
    wheels = [inside(image, path) for path in files(image) if path.suffix == ".whl"]
    assert (named, keys, wheels) == ([], [], [])


def test_environment_names_no_index_and_no_proxy(image: Unpacked) -> None:
    names = {text.split("=", 1)[0] for text in image.config["Env"]}
    assert names == {"PATH", "LANG", "HOME", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE"}


def test_requirements_of_every_package_are_met(image: Unpacked) -> None:
    """What `pip check` says, of the files that were shipped."""
    found = {d.metadata["Name"].lower().replace("_", "-"): d for d in installed(image)}
    unmet = []
    for distribution in found.values():
        for line in distribution.requires or []:
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate({"extra": "", "python_version": "3.11"}):
                continue
            other = found.get(need.name.lower().replace("_", "-"))
            if other is None or not need.specifier.contains(other.version, prereleases=True):
                unmet.append(f"{distribution.metadata['Name']}: {line}")
    assert unmet == [] and found


def test_every_package_brings_its_licence(image: Unpacked) -> None:
    silent = []
    for distribution in installed(image):
        texts = [
            path
            for path in distribution.files or []
            if re.search(r"licen[cs]e|copying|notice", str(path), re.I)
        ]
        if not any((site_of(image) / str(path)).exists() for path in texts):
            silent.append(distribution.metadata["Name"])
    assert silent == [name for name in silent if name in WITHOUT_LICENCE_FILE]
    assert (image.root / "licenses/wakeful/LICENSE").read_text() == (ROOT / "LICENSE").read_text()


# Their wheels hold no licence text; the licence is named in their metadata only.
WITHOUT_LICENCE_FILE = {"flatbuffers", "tokenizers", "xgboost-cpu"}
# Of vLLM's.
WITHOUT_LICENCE_FILE |= {
    "loguru",
    "model-hosting-container-standards",
    "opentelemetry-semantic-conventions-ai",
    "sentencepiece",
}


def test_every_debian_package_brings_its_record_and_copyright(image: Unpacked) -> None:
    packages = {path.name for path in (image.root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libpython3.11-stdlib", "libssl3", "ca-certificates"} <= packages
    doc = image.root / "usr/share/doc"
    assert [name for name in sorted(packages) if not (doc / name / "copyright").exists()] == []


def test_modules_are_compiled_since_nothing_can_be_written(image: Unpacked) -> None:
    missing = []
    for path in image.root.rglob("*.py"):
        compiled = path.parent / "__pycache__" / f"{path.stem}.cpython-311.pyc"
        if not compiled.exists() and not NOT_COMPILED.search(inside(image, path)):
            missing.append(inside(image, path))
    assert missing == []


def installed(image: Unpacked) -> list[importlib.metadata.Distribution]:
    return list(importlib.metadata.distributions(path=[str(site_of(image))]))
