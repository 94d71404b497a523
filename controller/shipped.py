"""Applies the ClusterServingRuntimes that come with an installation, from the ConfigMap ``wakeful-runtimes``.

Run by the leader. They come in a ConfigMap because ``kubectl apply -k`` cannot send an object of a kind whose definition
is in the same command. Server-side apply without force: a field that somebody else has changed stays theirs, and is
told. On one machine there is no such ConfigMap: ``wakeful up`` applies the files itself. Invariant: nothing is written
while the ConfigMap is as it was when it was applied last.
"""

from __future__ import annotations

import asyncio
from typing import Any

import yaml

from controller.cache import CLUSTER_RUNTIMES
from controller.connection import APPLY, Api, ApiFailureError
from controller.desired import images
from wakeful.core.api.isvc_problem import mapping, mappings, text
from wakeful.kit import logs
from wakeful.kit.kube import CONFIGMAPS, Obj

CONFIGMAP = "wakeful-runtimes"
FIELD_MANAGER = "wakeful-install"
EVERY_S = 30.0
RETRY_S = 1.0
KIND = "ClusterServingRuntime"

log = logs.get("controller.shipped")


class ShippedRuntimes:
    """The runtimes of one installation."""

    def __init__(self, api: Api, namespace: str, image_prefix: str = "") -> None:
        self._api = api
        self._image_prefix = image_prefix
        self._namespace = namespace
        self._applied = ""

    async def run(self) -> None:
        """Apply what changed, for ever."""
        complaint = ""
        while True:
            pause_s = EVERY_S
            try:
                await self.apply()
                complaint = ""
            except ApiFailureError as error:
                pause_s = RETRY_S
                if str(error) != complaint:
                    log.warning("shipped runtimes not applied yet", code=error.code, error=str(error))
                    complaint = str(error)
            await asyncio.sleep(pause_s)

    async def apply(self) -> int:
        """How many were applied. Raises ``ApiFailureError`` where trying again may help."""
        configmap = await self._api.get(CONFIGMAPS.path(self._namespace, CONFIGMAP))
        if configmap is None:
            return 0
        version = str(configmap["metadata"].get("resourceVersion"))
        if version == self._applied:
            return 0
        runtimes, problems = read(configmap)
        for problem in problems:
            log.error("shipped runtime not usable", problem=problem)
        for runtime in runtimes:
            await self._apply(_renamed(runtime, self._image_prefix))
        self._applied = version
        return len(runtimes)

    async def _apply(self, runtime: Obj) -> None:
        name = runtime["metadata"]["name"]
        path = CLUSTER_RUNTIMES.path(None, name)
        try:
            await self._api.request("PATCH", path, runtime, APPLY, fieldManager=FIELD_MANAGER)
        except ApiFailureError as error:
            if error.code not in (400, 409, 422):
                raise
            # Somebody has made it theirs, or it is wrong: another try would not change that.
            log.warning("shipped runtime left as it is", runtime=name, error=str(error))


def read(configmap: Obj) -> tuple[list[Obj], list[str]]:
    """The runtimes of every key, and what cannot be read."""
    runtimes: list[Obj] = []
    problems: list[str] = []
    for key, source in sorted((configmap.get("data") or {}).items()):
        try:
            documents = [item for item in yaml.safe_load_all(source) if item]
        except yaml.YAMLError as error:
            problems.append(
                f"ConfigMap {CONFIGMAP}, key {key}: not YAML: {' '.join(str(error).split())[:300]}"
            )
            continue
        for item in documents:
            if _is_runtime(item):
                runtimes.append(item)
            else:
                problems.append(f"ConfigMap {CONFIGMAP}, key {key}: not a {KIND} with a name")
    return runtimes, problems


def _renamed(runtime: Obj, prefix: str) -> Obj:
    spec = mapping(runtime.get("spec"))
    containers = [
        {**item, "image": images.prefixed(text(item.get("image")), prefix)}
        for item in mappings(spec.get("containers"))
    ]
    return {**runtime, "spec": {**spec, "containers": containers}} if prefix and containers else runtime


def _is_runtime(item: Any) -> bool:
    return (
        isinstance(item, dict)
        and item.get("kind") == KIND
        and isinstance(item.get("metadata"), dict)
        and bool(item["metadata"].get("name"))
    )
