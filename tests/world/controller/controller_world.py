"""A small world for the controller: objects in a dictionary, Knative played by hand, every write counted."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import yaml

from controller.desired import configuration
from controller.desired.composition import Runtimes
from controller.observed import EventNote, Observed, Platform
from controller.ports import ApplyRefusedError, ClusterUnavailableError
from controller.reconcile import Reconciler
from wakeful.core.api import servingruntime

Obj = dict[str, Any]
AT = "2026-01-01T00:00:00Z"
SKLEARN = """
apiVersion: serving.kserve.io/v1alpha1
kind: ClusterServingRuntime
metadata: {name: kserve-sklearnserver, creationTimestamp: "2025-01-01T00:00:00Z"}
spec:
  supportedModelFormats: [{name: sklearn, version: "1", autoSelect: true, priority: 1}]
  protocolVersions: [v1, v2]
  containers:
    - name: kserve-container
      image: wakeful/sklearn:0.1.0
      args: ["--model_name={{.Name}}", --model_dir=/mnt/models, --http_port=8080]
      ports: [{containerPort: 8080, protocol: TCP}]
"""


@dataclass
class World:
    """The cluster as the ``Cluster`` port shows it; ``writes`` names every write."""

    isvc: Obj | None
    runtimes: list[Obj] = field(default_factory=lambda: [yaml.safe_load(SKLEARN)])
    configmap: Obj | None = None
    platform: Platform = field(default_factory=Platform)
    objects: dict[tuple[str, str], Obj] = field(default_factory=dict)
    pods: list[Obj] = field(default_factory=list)
    events: list[EventNote] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)
    unavailable: set[str] = field(default_factory=set)
    is_status_refused: bool = False
    at: str = AT
    counter: int = 0

    async def observe(self, namespace: str, name: str) -> Observed | None:
        if self.isvc is None:
            return None
        parsed = [servingruntime.parse(item) for item in self.runtimes]
        return Observed(
            isvc=copy.deepcopy(self.isvc),
            config=configuration.parse(self.configmap),
            platform=self.platform,
            runtimes=Runtimes(
                [item for item in parsed if item.kind == servingruntime.NAMESPACED],
                [item for item in parsed if item.kind == servingruntime.CLUSTER],
            ),
            services={key[1]: copy.deepcopy(item) for key, item in self.objects.items() if key[0] == "ksvc"},
            ingress=copy.deepcopy(self.objects.get(("Ingress", name))),
            alias=copy.deepcopy(self.objects.get(("Service", name))),
            pods=tuple(copy.deepcopy(self.pods)),
        )

    async def apply(self, obj: Obj) -> Obj:
        key = _key(obj)
        if key[1] in self.refuse:
            raise ApplyRefusedError(self.refuse[key[1]])
        if key[1] in self.unavailable:
            raise ClusterUnavailableError("the API server is away")
        live = self.objects.get(key)
        if live is None:
            self.counter += 1
            live = {**copy.deepcopy(obj), "status": {}}
            live["metadata"] |= {"uid": f"uid-{self.counter}", "generation": 1}
        elif all(live.get(part) == obj.get(part) for part in ("spec",)) and _same_metadata(live, obj):
            return copy.deepcopy(live)
        else:
            changed = live["spec"] != obj["spec"]
            metadata = {**live["metadata"], **copy.deepcopy(obj["metadata"])}
            metadata["generation"] = live["metadata"]["generation"] + changed
            live = {**live, "spec": copy.deepcopy(obj["spec"]), "metadata": metadata}
        self.objects[key] = live
        self.writes.append(f"apply {key[0]} {key[1]}")
        return copy.deepcopy(live)

    async def delete(self, obj: Obj) -> None:
        self.objects.pop(_key(obj), None)
        self.writes.append(f"delete {_key(obj)[0]} {_key(obj)[1]}")

    async def patch_status(self, isvc: Obj, status: Obj) -> bool:
        assert self.isvc is not None
        if self.is_status_refused:
            return False
        self.isvc["status"] = copy.deepcopy(status)
        self.writes.append("status")
        return True

    async def emit(self, isvc: Obj, note: EventNote) -> None:
        self.events.append(note)

    # -- what a test does to the world ------------------------------------------------------------

    async def settle(self) -> None:
        """Reconcile until nothing is written any more; a second pass over the same world must write nothing."""
        for _ in range(4):
            before = len(self.writes)
            await self.reconcile()
            if len(self.writes) == before:
                return
        raise AssertionError(f"no fixed point: {self.writes[-6:]}")

    async def reconcile(self) -> float | None:
        assert self.isvc is not None
        metadata = self.isvc["metadata"]
        return await Reconciler(self, lambda: self.at).reconcile((metadata["namespace"], metadata["name"]))

    def change(self, **spec: Any) -> None:
        """Edit the predictor, as a user would."""
        assert self.isvc is not None
        predictor = self.isvc["spec"]["predictor"]
        for key, value in spec.items():
            if value is None:
                predictor.pop(key, None)
            else:
                predictor[key] = value
        self.isvc["metadata"]["generation"] += 1

    def knative(
        self, name: str, created: str, ready: str | None = None, **conditions: tuple[str, str, str]
    ) -> None:
        """Knative has acted on ``name``: this revision was created, that one is ready; traffic as the spec says."""
        live = self.objects["ksvc", name]
        ready = created if ready is None else ready
        traffic = []
        for entry in live["spec"]["traffic"]:
            revision = entry.get("revisionName") or ready
            shown = {
                "revisionName": revision,
                "percent": entry["percent"],
                "latestRevision": entry["latestRevision"],
            }
            if entry.get("tag"):
                shown |= {"tag": entry["tag"], "url": f"http://{entry['tag']}-{name}.ns.localhost:8080"}
            traffic.append(shown)
        status: Obj = {
            "observedGeneration": live["metadata"]["generation"],
            "latestCreatedRevisionName": created,
            "traffic": traffic,
            "url": f"http://{name}.ns.localhost:8080",
            "address": {"url": f"http://{name}.ns.svc.cluster.local"},
        }
        if ready:
            status["latestReadyRevisionName"] = ready
        given = dict.fromkeys(("Ready", "RoutesReady", "ConfigurationsReady"), ("True", "", "")) | conditions
        status["conditions"] = [
            {"type": type_, "status": item[0], "reason": item[1], "message": item[2]}
            for type_, item in given.items()
        ]
        live["status"] = status

    def ingress_ready(self, name: str = "iris", domain: str = "") -> None:
        live = self.objects["Ingress", name]
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        if domain:
            live["status"]["privateLoadBalancer"] = {"ingress": [{"domainInternal": domain}]}

    async def serving(self, revision: str = "iris-predictor-00001") -> World:
        """Bring the predictor up with its ingress, and check that it is ready."""
        await self.settle()
        self.knative("iris-predictor", revision)
        await self.settle()
        self.ingress_ready()
        await self.settle()
        assert self.condition("Ready")[0] == "True", self.status
        return self

    # -- what a test looks at ---------------------------------------------------------------------

    @property
    def status(self) -> Obj:
        assert self.isvc is not None
        status: Obj = self.isvc.get("status", {})
        return status

    def condition(self, type_: str) -> tuple[str, str, str]:
        for item in self.status.get("conditions", []):
            if item["type"] == type_:
                return item["status"], item.get("reason", ""), item.get("message", "")
        return "", "", ""

    def service(self, name: str = "iris-predictor") -> Obj:
        return self.objects["ksvc", name]

    def traffic(self) -> list[tuple[str, int, str]]:
        """(revision or "latest", percent, tag) of the predictor's Knative Service."""
        return [
            (item.get("revisionName", "latest"), item["percent"], item.get("tag", ""))
            for item in self.service()["spec"]["traffic"]
        ]


def isvc(name: str = "iris", annotations: dict[str, str] | None = None, **spec: Any) -> Obj:
    """An InferenceService with a scikit-learn model; ``spec`` replaces or adds components."""
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "pvc://models/iris-v1"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "uid": "isvc-uid",
            "generation": 1,
            "annotations": annotations or {},
        },
        "spec": {"predictor": {"minReplicas": 0, "model": model}} | spec,
    }


def world(**more: Any) -> World:
    """A world with one InferenceService that has not been looked at yet."""
    return World(isvc=isvc(**more))


def _key(obj: Obj) -> tuple[str, str]:
    kind = "ksvc" if obj["apiVersion"].startswith("serving.knative.dev") else obj["kind"]
    return kind, obj["metadata"]["name"]


def _same_metadata(live: Obj, obj: Obj) -> bool:
    return all(live["metadata"].get(key) == value for key, value in obj["metadata"].items())
