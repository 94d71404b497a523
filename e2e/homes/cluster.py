"""The home on a real cluster: one that `hack/cluster` starts, or any other by its kubeconfig.

Started by the suite's conftest. It builds the images, loads them into the node and applies Wakeful's overlay, as the
install tutorial does by hand; a cluster that has Wakeful already is left as it is. Left out: restarting parts of a
cluster that is not ours (``parts`` says what can be killed).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from e2e.homes import image
from e2e.homes.port import Access, HomeError, Part
from e2e.kube import Kube, Obj
from e2e.waiting import until

ROOT = Path(__file__).resolve().parents[2]
TOOL = str(ROOT / "hack" / "cluster")
OVERLAY = ROOT / "config" / "overlays" / "dev"
SYSTEM = "wakeful-system"
CONTROLLER = "wakeful-controller"
PYTHON_IMAGE = "dev.local/wakeful/sklearn:0.1.0"
UP_LIMIT_S = 45 * 60
BUILD_LIMIT_S = 30 * 60
IMAGES = ROOT / "build" / "images"
USED = ("controller", "sklearn", "storage-initializer")
COMPONENTS = {Part.API_SERVER: "apiserver", Part.NODE: "kubelet", Part.EVERYTHING: "node"}


@dataclass(frozen=True, slots=True)
class Found:
    """A cluster that is already there."""

    kubeconfig: Path
    ingress: str
    host_address: str


class ClusterHome:
    """Real Kubernetes, real Knative."""

    name = "cluster"

    def __init__(self, found: Found | None) -> None:
        self._found = found
        self._volumes = Path(tempfile.mkdtemp(prefix="wk-e2e-volumes-"))
        self._kube: Kube | None = None
        self._made: list[str] = []
        self.parts = frozenset({Part.CONTROLLER}) if found else frozenset(Part)
        self.can_make_images = found is None

    def start(self) -> Access:
        found = self._found or _start_cluster()
        self._kube = Kube(found.kubeconfig)
        images = _load_images() if self._found is None else ""
        if images or self.kube.find("Deployment", SYSTEM, CONTROLLER) is None:
            self.kube.kubectl("apply", "-k", str(OVERLAY))
        if images:  # other images under the same names: only then are the pods replaced
            template = {"metadata": {"annotations": {"e2e.wakeful.dev/images": images}}}
            patch = json.dumps({"spec": {"template": template}})
            self.kube.kubectl("patch", "-n", SYSTEM, f"deployment/{CONTROLLER}", "-p", patch)
        self._wait_for_controller()
        return Access(found.kubeconfig, found.ingress, found.host_address, PYTHON_IMAGE)

    def stop(self) -> None:
        """The cluster stays (`hack/cluster down` ends it): starting it again takes a minute."""
        if self._kube is not None:
            for volume in self._made:
                self._kube.kubectl("delete", "pv", volume, "--wait=false", check=False)
            self._kube.close()
        shutil.rmtree(self._volumes, ignore_errors=True)

    def provide_volume(self, namespace: str, claim: str) -> None:
        classes = json.loads(self.kube.kubectl("get", "storageclass", "-o", "json"))["items"]
        if classes:
            return
        folder = self._volumes / namespace / claim
        folder.mkdir(parents=True)
        folder.chmod(0o777)  # the pods' user has no other right to a hostPath
        for parent in (folder.parent, self._volumes):
            parent.chmod(0o755)
        name = f"{namespace}-{claim}"
        self.kube.apply(_volume(name, folder, namespace, claim))
        self._made.append(name)

    def provide_image(self, name: str, program: Path) -> None:
        """One layer on our scikit-learn image, loaded into the node."""
        if not self.can_make_images:
            raise HomeError("images cannot be loaded into this cluster from here")
        archive = self._volumes / "image.tar"
        image.write(IMAGES / "sklearn.tar", program, name, archive)
        _run([TOOL, "load", str(archive)], 240)
        archive.unlink()

    def kill(self, part: Part) -> None:
        if part is Part.CONTROLLER:
            selector = f"app.kubernetes.io/name={CONTROLLER}"
            flags = ("--grace-period=0", "--force", "--wait=false")
            self.kube.kubectl("delete", "pod", "-n", SYSTEM, "-l", selector, *flags)
            self._wait_for_controller()
            return
        if part not in self.parts:
            raise HomeError(f"the {part} of this cluster cannot be restarted from here")
        _run([TOOL, "restart", COMPONENTS[part]], 240)
        if part is Part.EVERYTHING:
            _run([TOOL, "up"], 240)  # returns when Knative's programs and the ingress are there again
            self._wait_for_controller()

    @contextlib.contextmanager
    def second_controller(self) -> Iterator[None]:
        before = self._controller()["spec"]["replicas"]
        self._scale(max(2, before))
        try:
            yield
        finally:
            self._scale(before)

    def diagnose(self) -> str:
        parts = []
        for namespace, deployment in (
            (SYSTEM, CONTROLLER),
            ("knative-serving", "controller"),
            ("knative-serving", "activator"),
        ):
            said = self.kube.kubectl(
                "logs",
                "-n",
                namespace,
                f"deployment/{deployment}",
                "--tail=200",
                "--all-pods=true",
                check=False,
            )
            loud = [line for line in said.splitlines() if '"info"' not in line and '"INFO"' not in line]
            words = "\n".join(line[:500] for line in loud[-8:])
            parts.append(f"--- {namespace}/{deployment}: warnings and errors\n{words}")
        return "\n".join(parts)

    @property
    def kube(self) -> Kube:
        if self._kube is None:
            raise HomeError("the cluster was not started")
        return self._kube

    def _controller(self) -> Obj:
        return self.kube.get("Deployment", SYSTEM, CONTROLLER)

    def _scale(self, replicas: int) -> None:
        self.kube.kubectl("scale", "-n", SYSTEM, f"deployment/{CONTROLLER}", f"--replicas={replicas}")
        self._wait_for_controller()

    def _wait_for_controller(self) -> None:
        def is_available() -> bool:
            found = self._controller()
            status = found.get("status", {})
            return bool(
                status.get("observedGeneration") == found["metadata"]["generation"]
                and status.get("availableReplicas", 0) >= found["spec"]["replicas"]
                and not status.get("unavailableReplicas")
            )

        until(is_available, 120, "the controller's Deployment to be available")


def _start_cluster() -> Found:
    """`hack/cluster up`, and what it says of itself."""
    _run([TOOL, "up"], UP_LIMIT_S, is_shown=True)
    lines = [line.removeprefix("export ") for line in _run([TOOL, "env"], 30).splitlines()]
    words = dict(shlex.split(line)[0].split("=", 1) for line in lines if "=" in line)
    try:
        kubeconfig, ingress = Path(words["KUBECONFIG"]), words["WAKEFUL_CLUSTER_INGRESS"]
        return Found(kubeconfig, ingress, words["WAKEFUL_CLUSTER_HOST"])
    except KeyError as error:
        raise HomeError(f"`hack/cluster env` does not say {error}: {lines}") from error


def _load_images() -> str:
    """Build the images that the scenarios use and load them into the node; a digest of them."""
    build = [str(ROOT / "hack" / "images"), "build", *USED, "--output", str(IMAGES)]
    _run(build, BUILD_LIMIT_S, is_shown=True)
    archives = [IMAGES / f"{name}.tar" for name in USED]
    _run([TOOL, "load", *map(str, archives)], 600, is_shown=True)
    state = hashlib.sha256()
    for path in archives:
        with path.open("rb") as file:
            state.update(hashlib.file_digest(file, "sha256").digest())
    return state.hexdigest()


def _run(command: list[str], limit_s: float, is_shown: bool = False) -> str:
    """Run a tool; what it said, or nothing when that is shown as it comes: a cold build takes minutes."""
    pipe = None if is_shown else subprocess.PIPE
    done = subprocess.run(
        command,
        cwd=ROOT,
        text=True,
        stdout=pipe,
        stderr=pipe,
        timeout=limit_s,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise HomeError(f"{' '.join(command)} failed: {(done.stderr or done.stdout or '(above)')[-3000:]}")
    return done.stdout or ""


def _volume(name: str, folder: Path, namespace: str, claim: str) -> Obj:
    spec = {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": namespace, "name": claim},
    }
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
