"""A certificate authority and a server certificate for the webhooks, made and renewed without anybody's help.

Called by ``webhooks.authority``. The authority lives ten years, a server certificate one; it is renewed a month before
its end by the same authority, so ``caBundle`` stays as it is. Invariant: ``is_usable`` accepts only a certificate that
the given authority signed, for all the names asked for.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
SERVER_DAYS = 365
RENEW_BEFORE_DAYS = 30
BACKDATE = datetime.timedelta(hours=1)
"""Certificates are valid from an hour ago, so that a clock that is a little late accepts them."""


@dataclass(frozen=True, slots=True)
class Pems:
    """Authority and server certificate with their keys, PEM."""

    ca_cert: bytes
    ca_key: bytes
    cert: bytes
    key: bytes


def make(hosts: Sequence[str], at: datetime.datetime, authority: Pems | None = None) -> Pems:
    """A server certificate for ``hosts``; a new authority too, unless one is given."""
    if authority is None:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_cert = _authority(ca_key, at)
    else:
        loaded = serialization.load_pem_private_key(authority.ca_key, None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is not an elliptic-curve key")
        ca_key = loaded
        ca_cert = x509.load_pem_x509_certificate(authority.ca_cert)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _server(hosts, key, ca_cert, ca_key, at)
    return Pems(_pem(ca_cert), _key_pem(ca_key), _pem(cert), _key_pem(key))


def is_authority_usable(pems: Pems, at: datetime.datetime) -> bool:
    """Whether the authority can sign for another server certificate's life."""
    try:
        cert = x509.load_pem_x509_certificate(pems.ca_cert)
        serialization.load_pem_private_key(pems.ca_key, None)
    except (ValueError, TypeError):
        return False
    return cert.not_valid_after_utc - at > datetime.timedelta(days=SERVER_DAYS)


def is_usable(pems: Pems, hosts: Sequence[str], at: datetime.datetime) -> bool:
    """Whether the server certificate serves ``hosts`` for at least another month."""
    try:
        cert = x509.load_pem_x509_certificate(pems.cert)
        authority = x509.load_pem_x509_certificate(pems.ca_cert)
        key = serialization.load_pem_private_key(pems.key, None)
        cert.verify_directly_issued_by(authority)
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    if cert.public_key() != key.public_key():
        return False
    known = {str(name.value) for name in names}
    return set(hosts) <= known and cert.not_valid_after_utc - at > datetime.timedelta(days=RENEW_BEFORE_DAYS)


def _authority(key: ec.EllipticCurvePrivateKey, at: datetime.datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wakeful-webhook-ca")])
    builder = _builder(name, name, key.public_key(), at, AUTHORITY_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        builder.add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    hosts: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    at: datetime.datetime,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wakeful-webhook")])
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        _builder(name, authority.subject, key.public_key(), at, SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, at: datetime.datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + datetime.timedelta(days=days))
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
