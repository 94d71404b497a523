"""What Kubernetes checks in claims and volumes of storage.

Called by ``core_checks``. Left out: volume sources' own rules, node affinity, data sources.

Invariant: total on any JSON; an object that a real API server takes is never refused here.
"""

from __future__ import annotations

from typing import Any

from standalone.apiserver.schema import failure, names, quantities
from standalone.apiserver.schema.core_checks_pod import check_name, part
from standalone.apiserver.schema.failure import FieldError

Obj = dict[str, Any]
Errors = list[FieldError]
_ACCESS = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_MODES = ("Block", "Filesystem")
_NO_SOURCE = frozenset(
    (
        *(
            "accessModes",
            "capacity",
            "claimRef",
            "mountOptions",
            "nodeAffinity",
            "persistentVolumeReclaimPolicy",
        ),
        *("storageClassName", "volumeMode", "volumeAttributesClassName"),
    )
)


def check_claim(obj: Obj, errors: Errors) -> None:
    """A PersistentVolumeClaim."""
    spec = part(obj, "spec")
    _modes(spec, errors)
    if not spec.get("accessModes"):
        errors.append(failure.required("spec.accessModes", "at least 1 access mode is required"))
    wanted = part(part(spec, "resources"), "requests").get("storage")
    amount = quantities.number(wanted)
    if wanted is None:
        errors.append(failure.required("spec.resources[storage]"))
    elif amount is not None and amount <= 0:
        errors.append(failure.invalid("spec.resources[storage]", wanted, "must be greater than zero"))


def _modes(spec: Obj, errors: Errors) -> None:
    for mode in spec.get("accessModes") or ():
        if mode not in _ACCESS:
            errors.append(failure.not_supported("spec.accessModes", mode, list(_ACCESS)))
    if spec.get("volumeMode") not in (None, "", *_MODES):
        errors.append(failure.not_supported("spec.volumeMode", spec["volumeMode"], list(_MODES)))
    if spec.get("storageClassName"):
        check_name(spec["storageClassName"], "spec.storageClassName", errors, names.subdomain_problem)


def check_volume(obj: Obj, errors: Errors) -> None:
    """A PersistentVolume."""
    spec = part(obj, "spec")
    _modes(spec, errors)
    if not spec.get("accessModes"):
        errors.append(failure.required("spec.accessModes"))
    if not spec.get("capacity"):
        errors.append(failure.required("spec.capacity"))
    elif list(spec["capacity"]) != ["storage"]:
        errors.append(failure.not_supported("spec.capacity", spec["capacity"], ["storage"]))
    if not any(isinstance(spec[key], dict) for key in spec.keys() - _NO_SOURCE):
        errors.append(failure.required("spec", "must specify a volume type"))
