"""An admission webhook of the contract suite: HTTPS on this machine, scripted answers, a record of what was asked.

``WAKEFUL_CONTRACT_WEBHOOK_HOST`` is the address under which another cluster reaches this machine; without it such a
cluster's admission cases are skipped.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Obj = dict[str, Any]
Script = Callable[[Obj], Obj]


class Webhook:
    """Answers ``POST /PATH`` by ``scripts[PATH]``, a function from the request to the response."""

    def __init__(self, folder: Path, host: str) -> None:
        self.scripts: dict[str, Script] = {}
        self.asked: list[tuple[str, Obj]] = []
        self.authority, chain = _certificate(folder, host)
        webhook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, raw = webhook.answer(self.path.partition("?")[0].strip("/"), body)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def answer(self, name: str, body: bytes) -> tuple[int, bytes]:
        review = json.loads(body)
        request = review["request"]
        self.asked.append((name, request))
        response = {"uid": request["uid"], "allowed": True, **self.scripts[name](request)}
        if "status_code" in response:
            return response["status_code"], b"broken"
        envelope = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        return 200, json.dumps(envelope).encode()

    def client(self, name: str) -> Obj:
        """The ``clientConfig`` of a script."""
        return {"url": f"{self.url}/{name}", "caBundle": self.authority}

    def requests(self, name: str) -> list[Obj]:
        return [request for asked, request in self.asked if asked == name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def patch(*operations: Obj) -> Obj:
    """A response that changes the object."""
    raw = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return {"patchType": "JSONPatch", "patch": raw}


def _certificate(folder: Path, host: str) -> tuple[str, Path]:
    """A certificate that is its own authority: (base64 PEM for ``caBundle``, path of key and certificate)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "contract-webhook")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(usage, True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA256())
    )
    public = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "webhook.pem"
    path.write_bytes(private + public)
    return base64.b64encode(public).decode(), path
