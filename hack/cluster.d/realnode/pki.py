"""Certificates and kubeconfigs of one node: a certificate authority of its own, one certificate for each component.

Called by `up` once for each new node; all of it lies in the node's run folder, readable by root alone, and goes with
it. Invariant: certificates carry key identifiers, since Python 3.13 and newer refuse those without.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
from base64 import b64encode
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from realnode.node import NODE_NAME, Node

VALID_DAYS = 365
Key = ec.EllipticCurvePrivateKey
# who -> groups; the name is also the user's, with system: where Kubernetes wants it
USERS = {
    "admin": ("admin", "system:masters"),
    "kubelet": (f"system:node:{NODE_NAME}", "system:nodes"),
    "kubelet-client": ("apiserver-kubelet-client", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "dns": ("system:coredns", ""),
}
WITH_KUBECONFIG = ("admin", "kubelet", "controller-manager", "scheduler", "proxy", "dns")


class Authority:
    """Signs the certificates of one node and writes them to `folder` (NAME.crt, NAME.key)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hack-cluster")])
        usage = key_usage(cert_sign=True)
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._store("ca", certificate, self._key)

    def issue(self, file: str, name: str, group: str = "", hosts: tuple[str, ...] = ()) -> None:
        """A certificate for client and server use; hosts are addresses or DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if group:
            attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        both = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        builder = (
            self._builder(x509.Name(attributes), key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(cert_sign=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([host_name(host) for host in hosts]), False
            )
        self._store(file, builder.sign(self._key, hashes.SHA256()), key)

    def _builder(self, subject: x509.Name, key: Key) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder(issuer_name=self._name, subject_name=subject, public_key=key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )

    def _store(self, file: str, certificate: x509.Certificate, key: Key) -> None:
        (self._folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        store_key(self._folder / f"{file}.key", key)


def key_usage(*, cert_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=cert_sign, crl_sign=cert_sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def store_key(path: Path, key: Key) -> None:
    path.touch(mode=0o600)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(*form))


def write_all(node: Node) -> None:
    """All certificates, the key that signs service account tokens, and all kubeconfigs of a new node."""
    node.pki.mkdir(parents=True, mode=0o700)
    authority = Authority(node.pki)
    names = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    authority.issue("apiserver", "kube-apiserver", hosts=(node.ip, "127.0.0.1", node.api_service_ip, *names))
    for file, (name, group) in USERS.items():
        authority.issue(file, name, group, hosts=(node.ip, NODE_NAME) if file == "kubelet" else ())
    tokens = ec.generate_private_key(ec.SECP256R1())
    store_key(node.pki / "sa.key", tokens)
    public = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (node.pki / "sa.pub").write_bytes(tokens.public_key().public_bytes(*public))
    for user in WITH_KUBECONFIG:
        write_kubeconfig(node, user)


def write_kubeconfig(node: Node, user: str) -> None:
    """A kubeconfig with everything in it (no other file needed), as JSON, which every reader of YAML reads."""

    def embedded(file: str) -> str:
        return b64encode((node.pki / file).read_bytes()).decode()

    name = f"hack-cluster-{node.index}"
    cluster = {"server": node.api_url, "certificate-authority-data": embedded("ca.crt")}
    secrets = {"client-certificate-data": embedded(f"{user}.crt"), "client-key-data": embedded(f"{user}.key")}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": secrets}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }
    path = node.kubeconfig(user)
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))
