"""A real S3 server for scenarios (moto's, from hack/s3-server), on an address that pods can reach.

Started once a session by test_storage. It holds its buckets in memory and ends with the session.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minio import Minio

from e2e.waiting import until

ROOT = Path(__file__).resolve().parents[1]
ACCESS_KEY, SECRET_KEY = "e2e-user", "e2e-secret"


@dataclass(frozen=True, slots=True)
class S3:
    """A running server; ``endpoint`` is HOST:PORT."""

    endpoint: str
    client: Minio

    def put(self, bucket: str, key: str, data: bytes) -> None:
        if not self.client.bucket_exists(bucket):
            self.client.make_bucket(bucket)
        self.client.put_object(bucket, key, io.BytesIO(data), len(data))


@contextlib.contextmanager
def serving(host: str) -> Iterator[S3]:
    """The server on a free port of ``host`` for the time of the block."""
    subprocess.run([ROOT / "hack" / "s3-server", "--prepare"], check=True, timeout=300)
    with socket.create_server((host, 0)) as free:
        port = int(free.getsockname()[1])
    program = ROOT / ".venv-s3" / "bin" / "moto_server"
    process = subprocess.Popen(
        [program, "-H", host, "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: _listens(host, port) or process.poll() is not None, 60, "the S3 server to listen")
        assert process.poll() is None, "the S3 server ended at start"
        client = Minio(f"{host}:{port}", ACCESS_KEY, SECRET_KEY, secure=False, region="us-east-1")
        yield S3(f"{host}:{port}", client)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 5):
        return True
    return False
