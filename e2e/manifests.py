"""The objects that scenarios apply, and the small programs in them. Pure: values in, plain dicts out.

Every pod here meets Pod Security `restricted`, because the scenarios' namespaces enforce it. Programs listen on
127.0.0.1:$PORT: on a cluster queue-proxy is their only caller, on one machine the gateway.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from e2e.kube import Obj

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(__file__).resolve().parent / "programs"
SLEEPS_SOON = {
    "autoscaling.knative.dev/window": "6s",
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "0s",
}
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
SMALL = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


def yaml_text(*objects: Obj) -> str:
    """Objects as one YAML text."""
    return "\n---\n".join(yaml.safe_dump(obj) for obj in objects)


def namespace(name: str) -> Obj:
    """A namespace that enforces Pod Security `restricted`."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "wakeful.dev/made-by": "e2e"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def sample(name: str, namespace: str) -> str:
    """A file of config/samples, in another namespace (without the Namespace object it may contain)."""
    text = (ROOT / "config" / "samples" / name).read_text()
    kept = [part for part in text.split("\n---\n") if "kind: Namespace\n" not in part]
    return "\n---\n".join(kept).replace("iris-demo", namespace)


def container(image: str, program: str, *arguments: str, **env: str) -> Obj:
    """A container that runs ``programs/PROGRAM.py``; the text travels in the command."""
    code = (PROGRAMS / f"{program}.py").read_text()
    return {
        "name": "kserve-container",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-u", "-c", code, *arguments],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "resources": SMALL,
        "securityContext": RESTRICTED,
    }


def inference_service(namespace: str, name: str, predictor: Obj, **more: Any) -> Obj:
    """``more``: ``annotations``, ``transformer``."""
    metadata: Obj = {"name": name, "namespace": namespace, "annotations": more.pop("annotations", {})}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor, **more},
    }


def knative_service(namespace: str, name: str, container: Obj, **annotations: str) -> Obj:
    """A Knative Service of one container; annotations of autoscaling.knative.dev by their short names."""
    notes = {f"autoscaling.knative.dev/{key.replace('_', '-')}": value for key, value in annotations.items()}
    template = {
        "metadata": {"annotations": notes},
        "spec": {"containers": [{**container, "name": "user-container"}]},
    }
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"template": template},
    }


def claim(namespace: str, name: str) -> Obj:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def pod(namespace: str, name: str, container: Obj, volumes: list[Obj] | None = None) -> Obj:
    """A pod that runs once."""
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 65532, "runAsGroup": 65532},
        "containers": [container],
        "volumes": volumes or [],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }
