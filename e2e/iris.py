"""The iris models: trained by scikit-learn itself, so that answers are compared with something we did not write.

``hack/train_iris.py`` does the training, as the tutorial does it. Here they are also put where a home can read them:
into a claim, by a pod that mounts it, so that no scenario needs to know where a home keeps its volumes.
"""

from __future__ import annotations

import base64
import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path

from e2e import manifests
from e2e.homes.port import Access, Home
from e2e.kube import Kube, Obj
from e2e.waiting import until

SCRIPT = Path(__file__).resolve().parents[1] / "hack" / "train_iris.py"
MODELS = ("iris-v1", "iris-v2")


@dataclass(frozen=True, slots=True)
class Trained:
    """``files`` by model name; ``rows`` of the data and the classes that iris-v1 gives them."""

    files: dict[str, bytes]
    rows: list[list[float]]
    classes: list[int]


def train() -> Trained:
    spec = importlib.util.spec_from_file_location("train_iris", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory() as folder:
        rows, classes = module.train(Path(folder))
        files = {name: (Path(folder) / name / "model.joblib").read_bytes() for name in MODELS}
    return Trained(files, rows, classes)


def fill_claim(kube: Kube, home: tuple[Home, Access], namespace: str, trained: Trained) -> None:
    """Make the claim ``models`` and have a pod write the models into it."""
    home[0].provide_volume(namespace, "models")
    content = {
        f"{name}__model.joblib": base64.b64encode(data).decode() for name, data in trained.files.items()
    }
    source = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "models", "namespace": namespace},
        "binaryData": content,
    }
    writer = manifests.container(home[1].python_image, "fill", "/claim", "/source")
    writer["volumeMounts"] = [
        {"name": "claim", "mountPath": "/claim"},
        {"name": "source", "mountPath": "/source"},
    ]
    volumes: list[Obj] = [
        {"name": "claim", "persistentVolumeClaim": {"claimName": "models"}},
        {"name": "source", "configMap": {"name": "models"}},
    ]
    kube.apply(
        manifests.claim(namespace, "models"), source, manifests.pod(namespace, "fill", writer, volumes)
    )
    until(lambda: phase(kube, namespace), 90, "the claim to be filled", lambda seen: seen == "Succeeded")
    kube.kubectl("delete", "pod", "fill", "-n", namespace)


def phase(kube: Kube, namespace: str) -> str:
    found: str = kube.get("Pod", namespace, "fill").get("status", {}).get("phase", "")
    assert found != "Failed", kube.kubectl("logs", "fill", "-n", namespace)
    return found
