"""Where things are in a data directory: the one place that builds these paths. See docs/explanation/standalone.md.

Called by every process of the standalone platform and by the command line. No I/O but for the run folder.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

SOCKET_PATH_LIMIT = 100
"""A unix socket's address holds 108 bytes on Linux; the longest file name we put after the folder is 24."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one data directory."""

    data_dir: Path

    @property
    def kubeconfig(self) -> Path:
        return self.data_dir / "kubeconfig"

    @property
    def token(self) -> Path:
        return self.data_dir / "token"

    @property
    def pki(self) -> Path:
        return self.data_dir / "pki"

    @property
    def objects_db(self) -> Path:
        """The API server's SQLite file."""
        return self.data_dir / "state" / "kubernetes.db"

    @property
    def events_db(self) -> Path:
        """The broker's SQLite file."""
        return self.data_dir / "state" / "events.db"

    @property
    def volumes(self) -> Path:
        """``NAMESPACE/CLAIM`` folders: the contents of PersistentVolumeClaims."""
        return self.data_dir / "volumes"

    @property
    def pods(self) -> Path:
        """``UID`` folders: volumes, logs and the saved state of each pod."""
        return self.data_dir / "pods"

    @property
    def logs(self) -> Path:
        return self.data_dir / "logs"

    @property
    def run(self) -> Path:
        """The folder of unix sockets: in the data directory, or in /tmp where that path would be too long."""
        inside = self.data_dir / "run"
        if len(os.fsencode(inside)) + 24 <= SOCKET_PATH_LIMIT:
            return inside
        digest = hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"wakeful-{os.getuid()}-{digest}"

    @property
    def ready(self) -> Path:
        """Is there while ``wakeful up`` is ready: what can wait until then leaves the processor to what cannot."""
        return self.run / "ready"

    def socket(self, process: str) -> Path:
        """The admin or service socket of a process: ``apiserver``, ``gateway``, ``autoscaler``, ``eventing`` ..."""
        return self.run / f"{process}.sock"

    def make(self) -> None:
        """Create the folders, private to this user."""
        for folder in (
            self.data_dir,
            self.pki,
            self.objects_db.parent,
            self.volumes,
            self.pods,
            self.logs,
            self.run,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.run.stat()
        if found.st_uid != os.getuid() or found.st_mode & 0o022:  # in /tmp anybody may have made it first
            raise PermissionError(errno.EACCES, "another user owns or can write it: remove it", str(self.run))
