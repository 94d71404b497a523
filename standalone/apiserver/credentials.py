"""The authority, the server's certificate, the token and the kubeconfig of one data directory.

``ensure`` is called at every start of the API server, and by tests. What exists is kept; a server certificate is
renewed 30 days before its end; the kubeconfig is rewritten when the port changed. Keys and token are private to the
user (0600). Invariant: each file is written whole or not at all, the kubeconfig last, so that whoever finds it can
use it.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

from standalone.layout import Layout
from wakeful.kit import files

CONTEXT = "wakeful"
AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
RENEW_DAYS = 30
HOST = "127.0.0.1"
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What ``ensure`` made or found."""

    authority: Path
    certificate: Path
    key: Path
    token: str
    signing_key: bytes
    """Signs service account tokens."""

    def tls(self) -> ssl.SSLContext:
        """The server side, HTTP/1.1 only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        context.set_alpn_protocols(["http/1.1"])
        return context


def ensure(data_dir: Path, port: int) -> Credentials:
    """Make what is missing below ``data_dir`` for a server on 127.0.0.1:``port``. Raises ``OSError``."""
    layout = Layout(data_dir)
    layout.make()
    authority, certificate, key = (layout.pki / name for name in ("ca.crt", "server.crt", "server.key"))
    if _needs_authority(layout.pki):
        _make_authority(layout.pki)
    if _needs_certificate(certificate, key):
        _make_certificate(layout.pki)
    token = _secret(layout.token)
    signing_key = _secret(layout.pki / "service-account.key").encode()
    encoded = base64.b64encode(authority.read_bytes()).decode()
    if not _leads_here(layout.kubeconfig, f"https://{HOST}:{port}", encoded, token):
        files.write_atomic(layout.kubeconfig, _kubeconfig(encoded, token, port).encode(), 0o600)
    return Credentials(authority, certificate, key, token, signing_key)


def _secret(path: Path) -> str:
    if not path.exists() or not path.read_text().strip():
        files.write_atomic(path, (secrets.token_urlsafe(32) + "\n").encode(), 0o600)
    return path.read_text().strip()


def _needs_authority(pki: Path) -> bool:
    return not ((pki / "ca.crt").exists() and (pki / "ca.key").exists())


def _needs_certificate(certificate: Path, key: Path) -> bool:
    if not (certificate.exists() and key.exists()):
        return True
    from cryptography import x509

    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    left = found.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    return left < datetime.timedelta(days=RENEW_DAYS)


def _make_authority(pki: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"wakeful-ca-{secrets.token_hex(4)}")])
    now = datetime.datetime.now(datetime.UTC)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    (pki / "server.crt").unlink(missing_ok=True)  # first, so that no crash leaves one of another authority
    _write_pair(pki, "ca", certificate, key)


def _make_certificate(pki: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    authority = x509.load_pem_x509_certificate((pki / "ca.crt").read_bytes())
    signer = serialization.load_pem_private_key((pki / "ca.key").read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise OSError(f"{pki / 'ca.key'} is not an elliptic-curve key: remove {pki} to make a new authority")
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in NAMES]
    names.append(x509.IPAddress(ipaddress.ip_address(HOST)))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wakeful-apiserver")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=SERVER_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    _write_pair(pki, "server", certificate, key)


def _write_pair(pki: Path, name: str, certificate: object, key: object) -> None:
    """The key first: a certificate without its key would be taken for a complete pair."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    assert isinstance(certificate, x509.Certificate)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    encoded = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.write_atomic(pki / f"{name}.key", encoded, 0o600)
    files.write_atomic(pki / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM))


def _leads_here(path: Path, *facts: str) -> bool:
    """Whether it needs no change: what a user did to it, such as another current namespace, is kept."""
    if not path.exists():
        return False
    words = path.read_text().split()
    return all(fact in words for fact in facts)


def _kubeconfig(encoded: str, token: str, port: int) -> str:
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {CONTEXT}
  cluster:
    server: https://{HOST}:{port}
    certificate-authority-data: {encoded}
users:
- name: {CONTEXT}
  user:
    token: {token}
contexts:
- name: {CONTEXT}
  context:
    cluster: {CONTEXT}
    user: {CONTEXT}
    namespace: default
current-context: {CONTEXT}
"""
