"""The initializer's settings from the environment: KServe's names where it has one. Loaded once by ``__main__``.

Invariant: a value that cannot be read is an error that names the variable, never a silent default.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import Reason, StorageError

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Settings:
    """How downloads are done."""

    local_roots: tuple[Path, ...] = (Path("/mnt"),)
    """Folders that file:// may read (STORAGE_LOCAL_ROOTS, ``:`` between them): a pod's own mounts by default."""
    max_bytes: int = 1024 * GIB
    """Largest sum of files or of an archive's contents (STORAGE_MAX_BYTES)."""
    max_files: int = 100_000
    """Most objects of one source or members of one archive (STORAGE_MAX_FILES)."""
    connect_timeout_s: float = 15.0
    """Seconds to connect (S3_CONNECT_TIMEOUT)."""
    read_timeout_s: float = 30.0
    """Seconds of silence before a read is given up (S3_READ_TIMEOUT)."""
    stall_s: float = 60.0
    """A transfer that moves less than ``stall_bytes`` in this time is stalled (STORAGE_STALL_SECONDS, at most 60)."""
    stall_bytes: int = 64 * 1024
    """See ``stall_s``: about 1 KiB/s, which no model download can wait for."""
    attempts: int = 3
    """Tries in a row without progress before giving up (S3_MAX_ATTEMPTS)."""
    retry_s: float = 0.5
    """First pause between tries; doubles each time."""
    concurrency: int = 4
    """Files downloaded at once (S3_MAX_FILE_CONCURRENCY)."""
    allow_patterns: tuple[str, ...] = ()
    """Globs; when given, only matching paths are fetched (STORAGE_ALLOW_PATTERNS, JSON list)."""
    ignore_patterns: tuple[str, ...] = ()
    """Globs of paths to leave out (STORAGE_IGNORE_PATTERNS, JSON list)."""
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For stores' own variables (credentials, endpoints); never printed."""


def load(environ: Mapping[str, str]) -> Settings:
    """Settings from environment variables. Raises ``StorageError`` (invalid)."""
    d = Settings()
    roots = tuple(Path(p) for p in environ.get("STORAGE_LOCAL_ROOTS", "/mnt").split(":") if p.startswith("/"))
    return Settings(
        local_roots=roots,
        max_bytes=int(_number(environ, "STORAGE_MAX_BYTES", d.max_bytes, 1, 2**60)),
        max_files=int(_number(environ, "STORAGE_MAX_FILES", d.max_files, 1, 10**7)),
        connect_timeout_s=_number(environ, "S3_CONNECT_TIMEOUT", d.connect_timeout_s, 0.1, 60),
        read_timeout_s=_number(environ, "S3_READ_TIMEOUT", d.read_timeout_s, 0.1, 60),
        stall_s=_number(environ, "STORAGE_STALL_SECONDS", d.stall_s, 0.1, 60),
        attempts=int(_number(environ, "S3_MAX_ATTEMPTS", d.attempts, 1, 20)),
        concurrency=int(_number(environ, "S3_MAX_FILE_CONCURRENCY", d.concurrency, 1, 32)),
        allow_patterns=_globs(environ, "STORAGE_ALLOW_PATTERNS"),
        ignore_patterns=_globs(environ, "STORAGE_IGNORE_PATTERNS"),
        environ=environ,
    )


def _number(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = environ.get(name, "")
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise StorageError(
            Reason.INVALID, f"environment variable {name}={text[:40]!r}: a number from {low:g} to {high:g}"
        )
    return value


def _globs(environ: Mapping[str, str], name: str) -> tuple[str, ...]:
    text = environ.get(name, "")
    if not text:
        return ()
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise StorageError(
            Reason.INVALID, f'environment variable {name} must be a JSON list of globs, as ["*.json"]'
        )
    return tuple(value)


def is_true(text: str) -> bool:
    """Whether an environment value means yes: true, 1, yes, in any case."""
    return text.strip().lower() in ("true", "1", "yes")
