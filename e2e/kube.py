"""The Kubernetes API as scenarios use it: kubectl for what a user does, the official Python client for looking.

Reading goes through one kept connection of the ``kubernetes`` client, because scenarios look many times a second and a
kubectl takes tens of milliseconds of processor each time. Left out: anything that only one home has.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import config

from e2e.waiting import until

Obj = dict[str, Any]

KUBECTL_LIMIT_S = 150
AWAY_S = 60
PATHS = {
    "Namespace": "/api/v1",
    "Pod": "/api/v1",
    "Service": "/api/v1",
    "ServiceAccount": "/api/v1",
    "ConfigMap": "/api/v1",
    "Secret": "/api/v1",
    "PersistentVolumeClaim": "/api/v1",
    "Event": "/api/v1",
    "Deployment": "/apis/apps/v1",
    "InferenceService": "/apis/serving.kserve.io/v1beta1",
    "ClusterServingRuntime": "/apis/serving.kserve.io/v1alpha1",
    "KnativeService": "/apis/serving.knative.dev/v1",
    "Configuration": "/apis/serving.knative.dev/v1",
    "Revision": "/apis/serving.knative.dev/v1",
    "Route": "/apis/serving.knative.dev/v1",
    "Ingress": "/apis/networking.internal.knative.dev/v1alpha1",
    "PodAutoscaler": "/apis/autoscaling.internal.knative.dev/v1alpha1",
    "Broker": "/apis/eventing.knative.dev/v1",
    "Trigger": "/apis/eventing.knative.dev/v1",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1",
    "MutatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1",
}
PLURALS = {"KnativeService": "services", "Ingress": "ingresses"}
CLUSTER_WIDE = (
    "Namespace",
    "ClusterServingRuntime",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of ``status.conditions``; empty when there is none yet, or it is about an older generation."""

    status: str = ""
    reason: str = ""
    message: str = ""


class Kube:
    """One cluster, by its kubeconfig."""

    def __init__(self, kubeconfig: Path) -> None:
        self.environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        self.api = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self.api.rest_client.pool_manager.clear()

    def kubectl(
        self, *arguments: str, text: str | None = None, check: bool = True, limit_s: float = KUBECTL_LIMIT_S
    ) -> str:
        """Run kubectl as a user would; its output, both streams. ``check`` fails the scenario when it failed."""
        done = subprocess.run(
            ["kubectl", *arguments],
            env=self.environment,
            input=text,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=limit_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stdout}"
        return done.stdout

    def apply(self, *objects: Obj | str, check: bool = True) -> str:
        """``kubectl apply`` of objects or YAML texts in this order; what it said."""
        texts = [obj if isinstance(obj, str) else yaml.safe_dump(obj) for obj in objects]
        return self.kubectl("apply", "-f", "-", text="\n---\n".join(texts), check=check)

    def find(self, kind: str, namespace: str, name: str) -> Obj | None:
        """The object, or None where there is none."""
        return self._read(f"{_folder(kind, namespace)}/{name}")

    def get(self, kind: str, namespace: str, name: str) -> Obj:
        found = self.find(kind, namespace, name)
        assert found is not None, f"there is no {kind} {namespace}/{name}"
        return found

    def items(self, kind: str, namespace: str, selector: str = "") -> list[Obj]:
        """All objects of a kind in a namespace, by label selector; none where the kind is unknown."""
        found = self._read(_folder(kind, namespace) + (f"?labelSelector={selector}" if selector else ""))
        items: list[Obj] = (found or {}).get("items", [])
        return items

    def condition(self, kind: str, namespace: str, name: str, type_: str = "Ready") -> Condition:
        """What a condition says about the present generation."""
        obj = self.find(kind, namespace, name)
        if obj is None or obj.get("status", {}).get("observedGeneration") != obj["metadata"]["generation"]:
            return Condition()
        for entry in obj["status"].get("conditions", []):
            if entry["type"] == type_:
                return Condition(entry["status"], entry.get("reason", ""), entry.get("message", ""))
        return Condition()

    def until_ready(self, kind: str, namespace: str, name: str, limit_s: float = 90) -> Obj:
        """Wait until Ready is True for the present generation; the object."""
        until(
            lambda: self.condition(kind, namespace, name),
            limit_s,
            f"{kind} {name} to be Ready",
            lambda seen: seen.status == "True",
        )
        return self.get(kind, namespace, name)

    def pods(self, namespace: str, labels: Mapping[str, str]) -> list[str]:
        """Names of the pods with these labels that are not being deleted."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self.items("Pod", namespace, selector)
        return [pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def _read(self, path: str) -> Obj | None:
        """The JSON at ``path``, None for 404. An API server that is away for a moment is asked again."""

        def ask() -> tuple[int, bytes]:
            headers = {"Accept": "application/json"}
            self.api.update_params_for_auth(headers, [], ["BearerToken"], path, "GET", None)
            try:
                answer = self.api.call_api("GET", self.api.configuration.host + path, headers)
                return answer.status, answer.read()
            except urllib3.exceptions.HTTPError as error:
                return 0, repr(error).encode()

        status, body = until(ask, AWAY_S, f"GET {path} to be answered", lambda seen: 0 < seen[0] < 500)
        if status == 404:
            return None
        assert status == 200, f"GET {path}: {status} {body[:500]!r}"
        found: Obj = json.loads(body)
        return found


def _folder(kind: str, namespace: str) -> str:
    plural = PLURALS.get(kind, kind.lower() + "s")
    if kind in CLUSTER_WIDE:
        return f"{PATHS[kind]}/{plural}"
    return f"{PATHS[kind]}/namespaces/{namespace}/{plural}"
