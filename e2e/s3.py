"""A real S3 server for scenarios (moto's, from `hack/env s3`), on an address that pods can reach.

Started once a session by test_storage. It holds its buckets in memory and ends with the session. Signatures are checked:
the server has one user, made at its start, and refuses every other key.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minio import Minio

from e2e.waiting import until

ROOT = Path(__file__).resolve().parents[1]
USER = "e2e"
MAY_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@dataclass(frozen=True, slots=True)
class S3:
    """A running server; ``endpoint`` is HOST:PORT, ``key`` and ``secret`` are its only user's."""

    endpoint: str
    key: str
    secret: str

    @property
    def client(self) -> Minio:
        return Minio(self.endpoint, self.key, self.secret, secure=False, region="us-east-1")

    def put(self, bucket: str, key: str, data: bytes) -> None:
        client = self.client
        if not client.bucket_exists(bucket):
            client.make_bucket(bucket)
        client.put_object(bucket, key, io.BytesIO(data), len(data))


@contextlib.contextmanager
def serving(host: str) -> Iterator[S3]:
    """The server on a free port of ``host`` for the time of the block."""
    subprocess.run([ROOT / "hack" / "env", "s3"], check=True, timeout=300)
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
        yield _with_a_user(f"{host}:{port}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)


def _with_a_user(endpoint: str) -> S3:
    """Make the user and its key; from then on the server checks who asks."""
    _manage(endpoint, Action="CreateUser", UserName=USER)
    made = _manage(endpoint, Action="CreateAccessKey", UserName=USER)
    _manage(
        endpoint,
        Action="PutUserPolicy",
        UserName=USER,
        PolicyName="all",
        PolicyDocument=json.dumps(MAY_ALL),
    )
    _post(endpoint, "/moto-api/reset-auth", "0", {})
    key, secret = (_between(made, tag) for tag in ("AccessKeyId", "SecretAccessKey"))
    return S3(endpoint, key, secret)


def _manage(endpoint: str, **words: str) -> str:
    """One call of the identity service, which shares the port: the scope of the signature tells them apart."""
    scope = "Credential=nobody/20260101/us-east-1/iam/aws4_request"
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none",
    }
    return _post(endpoint, "/", urllib.parse.urlencode({"Version": "2010-05-08", **words}), headers)


def _post(endpoint: str, path: str, body: str, headers: dict[str, str]) -> str:
    with contextlib.closing(http.client.HTTPConnection(endpoint, timeout=30)) as link:
        link.request("POST", path, body, headers)
        answer = link.getresponse()
        text = answer.read().decode()
    assert answer.status == 200, f"the S3 server: POST {path}: {answer.status} {text}"
    return text


def _between(text: str, tag: str) -> str:
    found = re.search(f"<{tag}>(.*?)</{tag}>", text)
    assert found is not None, f"no {tag} in {text}"
    return found[1]


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 5):
        return True
    return False
