"""Where a model lies: the URIs ``storageUri`` accepts, and the parts of ``pvc://claim/sub/path``.

Used by validation, by the builders of the predictor and by the pod webhook. It never touches the storage. Source:
KServe behaviour page sections 3.2, 3.3 and 3.9. Invariant: a sub-path returned from here cannot leave its volume.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIXES = (
    "pvc://",
    "s3://",
    "gs://",
    "hdfs://",
    "webhdfs://",
    "hf://",
    "modelscope://",
    "http://",
    "https://",
    "file://",
)
"""Schemes the storage initializer (or the pod webhook) is asked to handle."""

OWN_PREFIXES = ("pvc://", "s3://", "http://", "https://", "file://", "/")
"""Those that Wakeful's own storage initializer reads in this version (pvc:// is mounted)."""

OCI_PREFIXES = ("oci://", "oci+modelcar://", "oci+native://", "oci+fetch://")

_CLAIM = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


class StorageUriError(ValueError):
    """The URI cannot be used; the text is one sentence that says why and what would be right."""


@dataclass(frozen=True, slots=True)
class PvcPath:
    """A folder or file in a PersistentVolumeClaim; ``sub_path`` is "" for the whole volume."""

    claim: str
    sub_path: str


def check(uri: str) -> None:
    """Raise ``StorageUriError`` when no part of the platform can handle ``uri``."""
    if not uri:
        raise StorageUriError(
            "the storage URI is empty; give one such as pvc://CLAIM/FOLDER or s3://BUCKET/PREFIX"
        )
    if uri.startswith("pvc://"):
        parse_pvc(uri)
        return
    if uri.startswith(OCI_PREFIXES):
        raise StorageUriError(f"StorageURI not supported yet: {uri} (models in OCI images)")
    if uri.startswith(PREFIXES) or uri.startswith("/"):
        return
    scheme = _SCHEME.match(uri)
    found = scheme.group() if scheme else "no scheme"
    raise StorageUriError(f"StorageURI not supported: {uri} has {found}; use one of {', '.join(PREFIXES)}")


def is_pvc(uri: str) -> bool:
    """Whether ``uri`` is mounted directly instead of being downloaded."""
    return uri.startswith("pvc://")


def parse_pvc(uri: str) -> PvcPath:
    """``pvc://claim[/sub/path]`` in parts. Raises ``StorageUriError``."""
    claim, _, path = uri.removeprefix("pvc://").partition("/")
    if not _CLAIM.fullmatch(claim) or len(claim) > 253:
        raise StorageUriError(
            f"{uri}: {claim!r} is not the name of a PersistentVolumeClaim; write pvc://CLAIM/FOLDER"
        )
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise StorageUriError(f"{uri}: the path must not contain '..'")
    return PvcPath(claim, "/".join(parts))
