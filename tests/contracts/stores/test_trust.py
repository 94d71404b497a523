"""Which certificates a download trusts: KServe's variables and Secret members, against a real HTTPS server."""

from __future__ import annotations

import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificate_rig import make_pair

from storage.errors import StorageError
from storage.stores import connection, s3


@dataclass(frozen=True, slots=True)
class Secure:
    """An HTTPS server with one file, and the certificate that says who it is."""

    url: str
    certificate: Path


class OneFile(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.send_header("ETag", '"1"')
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"model")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def write_certificate(folder: Path) -> tuple[Path, Path]:
    pair = make_pair()
    certificate, private = folder / "cabundle.crt", folder / "key.pem"
    certificate.write_bytes(pair[0])
    private.write_bytes(pair[1])
    return certificate, private


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    certificate, private = write_certificate(tmp_path_factory.mktemp("tls"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), OneFile) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield Secure(f"https://127.0.0.1:{server.server_address[1]}/model.bin", certificate)
        server.shutdown()
        thread.join(10)


def fetch(secure: Secure, folder: Path, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "storage", secure.url, str(folder)],
        env={"PATH": os.environ["PATH"], "S3_MAX_ATTEMPTS": "1", **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()[-1]


@pytest.mark.parametrize("how", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "configmap"])
def test_a_named_authority_is_trusted(secure: Secure, tmp_path: Path, how: str) -> None:
    environ = {how: str(secure.certificate)}
    if how == "configmap":
        mount = str(secure.certificate.parent)
        environ = {"CA_BUNDLE_CONFIGMAP_NAME": "authorities", "CA_BUNDLE_VOLUME_MOUNT_POINT": mount}
    status, line = fetch(secure, tmp_path / "out", **environ)
    assert status == 0, line
    assert (tmp_path / "out" / "model.bin").read_bytes() == b"model"


def test_an_unknown_authority_is_not(secure: Secure, tmp_path: Path) -> None:
    status, line = fetch(secure, tmp_path)
    assert (status, "certificate not trusted" in line) == (1, True), line


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AWS_CA_BUNDLE": "/absent.crt"}, "CA bundle /absent.crt cannot be used: no such file"),
        ({"AWS_CA_BUNDLE": "/etc/hostname"}, "CA bundle /etc/hostname cannot be used: it holds no PEM"),
        ({"CA_BUNDLE_CONFIGMAP_NAME": "c"}, "/etc/ssl/custom-certs/cabundle.crt cannot be used"),
    ],
    ids=["absent", "no-pem", "not-mounted"],
)
def test_a_wrong_bundle_is_named(secure: Secure, tmp_path: Path, environ: dict[str, str], words: str) -> None:
    status, line = fetch(secure, tmp_path, **environ)
    assert (status, words in line) == (1, True), line


def test_s3_takes_authorities_from_the_storage_secret(secure: Secure) -> None:
    pem = secure.certificate.read_text()
    config = {"type": "s3", "endpoint_url": secure.url.rpartition("/")[0], "certificate": pem}
    found = s3.access({"STORAGE_CONFIG": json.dumps(config)})
    policy = connection.Policy(5, 5, ca_text=found.ca_text)
    assert connection.manager(policy).request("GET", secure.url).data == b"model"
    assert s3.access({"STORAGE_CONFIG": '{"ca_bundle": "/x.crt"}'}).ca_file == "/x.crt"
    with pytest.raises(StorageError, match="certificate in the Secret cannot be used"):
        connection.manager(connection.Policy(5, 5, ca_text="nonsense"))


def test_s3_acceleration_is_for_amazon_only() -> None:
    assert s3.access({"S3_USE_ACCELERATE": "1"}).is_accelerated
    assert not s3.access({}).is_accelerated
    policy = connection.Policy(5, 5)
    s3.S3Store("bucket", s3.access({"S3_USE_ACCELERATE": "1"}), policy)
    s3.S3Store(
        "bucket", s3.access({"S3_USE_ACCELERATE": "1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}), policy
    )
