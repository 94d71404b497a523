"""Columns of claims, volumes and storage classes as kubectl shows them. Read by ``tables``.

Invariant: names and order of columns are kubectl's.
"""

from __future__ import annotations

from datetime import datetime

from standalone.apiserver.tables_cells import AGE, NAME, Cell, Column, Obj, at, field

_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def _modes(path: str) -> Cell:
    return lambda obj, now: ",".join(_MODES.get(mode, mode) for mode in at(obj, path, []))


def _claim_phase(obj: Obj, now: datetime) -> str:
    return "Terminating" if at(obj, "metadata.deletionTimestamp") else str(at(obj, "status.phase", ""))


def _claim_of(volume: Obj, now: datetime) -> str:
    claim = at(volume, "spec.claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _class_name(obj: Obj, now: datetime) -> str:
    is_default = "storageclass.kubernetes.io/is-default-class"
    marked = at(obj, "metadata.annotations", {}).get(is_default) == "true"
    return f"{at(obj, 'metadata.name', '')}{' (default)' if marked else ''}"


COLUMNS: dict[tuple[str, str], tuple[Column, ...]] = {
    ("", "PersistentVolumeClaim"): (
        NAME,
        Column("Status", _claim_phase),
        field("Volume", "spec.volumeName"),
        field("Capacity", "status.capacity.storage"),
        Column("Access Modes", _modes("status.accessModes")),
        field("StorageClass", "spec.storageClassName"),
        field("VolumeAttributesClass", "spec.volumeAttributesClassName", "<unset>"),
        AGE,
        field("VolumeMode", "spec.volumeMode", "<unset>", priority=1),
    ),
    ("", "PersistentVolume"): (
        NAME,
        field("Capacity", "spec.capacity.storage"),
        Column("Access Modes", _modes("spec.accessModes")),
        field("Reclaim Policy", "spec.persistentVolumeReclaimPolicy"),
        Column("Status", _claim_phase),
        Column("Claim", _claim_of),
        field("StorageClass", "spec.storageClassName"),
        field("VolumeAttributesClass", "spec.volumeAttributesClassName", "<unset>"),
        field("Reason", "status.reason"),
        AGE,
        field("VolumeMode", "spec.volumeMode", "<unset>", priority=1),
    ),
    ("storage.k8s.io", "StorageClass"): (
        Column("Name", _class_name, format="name"),
        field("Provisioner", "provisioner"),
        field("ReclaimPolicy", "reclaimPolicy", "Delete"),
        field("VolumeBindingMode", "volumeBindingMode", "Immediate"),
        field("AllowVolumeExpansion", "allowVolumeExpansion", False),
        AGE,
    ),
}
