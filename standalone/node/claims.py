"""PersistentVolumeClaims: each becomes Bound to a volume that is the folder ``D/volumes/NAMESPACE/CLAIM``.

Called by ``__main__``. The folder is made at once, so that people can copy files into it before any pod runs. Deleting
a claim removes the volume object and keeps the folder: data that took hours to download is not lost to a
``kubectl delete``; a new claim of the same name finds it. Invariant: nothing here ever deletes a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wakeful.kit import logs
from wakeful.kit.informer import Informer
from wakeful.kit.kube import PVCS, ApiError, KubeClient, Resource, key_of
from wakeful.kit.workqueue import WorkQueue, run_workers

Obj = dict[str, Any]
PVS = Resource("", "v1", "persistentvolumes", namespaced=False)
STORAGE_CLASS = "wakeful-folder"


class Claims:
    """Binds claims as they appear."""

    def __init__(self, client: KubeClient, volumes: Path) -> None:
        self._client = client
        self._volumes = volumes
        self._queue: WorkQueue[tuple[str, str]] = WorkQueue()
        self._gone: dict[tuple[str, str], Obj] = {}
        self._log = logs.get("node.claims")
        self.informer = Informer(client, PVCS, self._on_change)

    async def work(self) -> None:
        """Bind claims, for ever (beside ``informer.run``)."""
        await run_workers(self._queue, self._reconcile, self._log, concurrency=2)

    def _on_change(self, event: str, claim: Obj, _old: Obj | None) -> None:
        if event == "DELETED":
            self._gone[key_of(claim)] = claim
        self._queue.add(key_of(claim))

    async def _reconcile(self, key: tuple[str, str]) -> None:
        if (gone := self._gone.get(key)) is not None:
            await self._remove_volume(gone)
            if self._gone.get(key) is gone:  # only now: while the API server is away, this is tried again
                del self._gone[key]
        claim = self.informer.get(*key)
        if claim is None or claim["metadata"].get("deletionTimestamp"):
            return
        folder = self._volumes / key[0] / key[1]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (claim.get("status") or {}).get("phase") == "Bound":
            return
        name = claim["spec"].get("volumeName") or f"pvc-{claim['metadata']['uid']}"
        capacity = ((claim["spec"].get("resources") or {}).get("requests") or {}).get("storage", "1Gi")
        await self._make_volume(name, claim, folder, capacity)
        if not claim["spec"].get("volumeName"):
            await self._client.patch(PVCS, *key, {"spec": {"volumeName": name}})
        status = {
            "phase": "Bound",
            "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
            "capacity": {"storage": capacity},
        }
        await self._client.patch(PVCS, *key, {"status": status}, subresource="status")

    async def _remove_volume(self, claim: Obj) -> None:
        if name := claim["spec"].get("volumeName"):
            try:
                await self._client.delete(PVS, None, name)
            except ApiError as error:
                self._log.warning("volume object not removed", volume=name, error=str(error))

    async def _make_volume(self, name: str, claim: Obj, folder: Path, capacity: str) -> None:
        metadata = claim["metadata"]
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": capacity},
                "accessModes": claim["spec"].get("accessModes") or ["ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain",
                "storageClassName": claim["spec"].get("storageClassName") or STORAGE_CLASS,
                "local": {"path": str(folder)},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": metadata["namespace"],
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                },
            },
        }
        try:
            await self._client.create(PVS, None, volume)
        except ApiError as error:
            if error.code == 404:
                return  # an API server without PersistentVolumes: the claim is bound by name only
            if error.code != 409:
                raise
        await self._client.patch(PVS, None, name, {"status": {"phase": "Bound"}}, subresource="status")
