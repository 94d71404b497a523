"""InferenceServices in a namespace of their own with a claim ``models``, asked through the gateway. For tests of model formats."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from whole_platform import Platform

PLACE = """
apiVersion: v1
kind: Namespace
metadata: {name: SPACE}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: models, namespace: SPACE}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}
"""
SERVICE = """
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: NAME, namespace: SPACE}
spec: {predictor: PREDICTOR}
"""


class Services:
    """Those of one namespace."""

    def __init__(self, platform: Platform, namespace: str) -> None:
        self._platform = platform
        self.namespace = namespace

    @property
    def models(self) -> Path:
        """The claim's folder."""
        return self._platform.layout.volumes / self.namespace / "models"

    def apply(self, predictors: Mapping[str, str]) -> None:
        """The place, and a service for each name and predictor (YAML)."""
        services = [SERVICE.replace("NAME", name).replace("PREDICTOR", it) for name, it in predictors.items()]
        self.kubectl("apply", "-f", "-", text=(PLACE + "".join(services)).replace("SPACE", self.namespace))

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """kubectl in the namespace."""
        return self._platform.kubectl(*arguments, "-n", self.namespace, text=text)

    def wait(self, *names: str, condition: str = "Ready") -> None:
        """Until ``condition`` is true of all named."""
        named = [f"isvc/{name}" for name in names]
        self.kubectl("wait", *named, f"--for=condition={condition}", "--timeout=90s")

    def read(self, name: str) -> Any:
        """The object."""
        return json.loads(self.kubectl("get", "isvc", name, "-o", "json"))

    def ask(self, name: str, path: str, body: Any = None) -> Any:
        """The JSON that the service answers to a GET, or to a POST of ``body``."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self._platform.ports[0]}{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Host": f"{name}.{self.namespace}.localhost", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())
