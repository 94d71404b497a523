"""A server certificate for the webhooks and the authority that signed it, made without anybody's help.

Called by ``webhooks.authority``. Each controller process has an authority of its own, whose key is thrown away as soon
as it has signed the one server certificate: nothing is left that could sign another, and no private key is ever
stored in the cluster. A new pair replaces both, so an authority lives exactly as long as its certificate.
Invariant: ``is_usable`` accepts only a certificate that the given authority signed, for all the names asked for.
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

AUTHORITY_NAME = "wakeful-webhook-ca"
BACKDATE = datetime.timedelta(hours=1)
"""Certificates are valid from an hour ago, so that a clock that is a little late accepts them."""
OWNER_LIMIT = 64
"""X.520's bound of an organizational unit's name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An authority's certificate, the server certificate it signed, and that one's key, PEM."""

    ca_cert: bytes
    cert: bytes
    key: bytes


def make(hosts: Sequence[str], owner: str, at: datetime.datetime, life: datetime.timedelta) -> Pair:
    """A pair for ``hosts`` that ends ``life`` after ``at``; ``owner`` tells whose authority it is."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_cert = _authority(owner, ca_key, at, life)
    key = ec.generate_private_key(ec.SECP256R1())
    cert = _server(hosts, key, ca_cert, ca_key, at + life)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Pair(_pem(ca_cert), _pem(cert), private)


def owner_of(cert: x509.Certificate) -> str | None:
    """The owner of an authority made here; None for any other certificate."""
    names = [str(item.value) for item in cert.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [AUTHORITY_NAME]:
        return None
    units = cert.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(units[0].value) if units else ""


def same_owner(found: str | None, owner: str) -> bool:
    """Whether an owner read from a certificate is ``owner``, as far as a certificate can hold it."""
    return found == owner[:OWNER_LIMIT]


def left(pair: Pair, at: datetime.datetime) -> datetime.timedelta:
    """How long the server certificate is still valid; negative when it has ended."""
    return x509.load_pem_x509_certificate(pair.cert).not_valid_after_utc - at


def is_usable(pair: Pair, hosts: Sequence[str], at: datetime.datetime) -> bool:
    """Whether the server certificate serves ``hosts`` at ``at`` and belongs to its key and its authority."""
    try:
        cert = x509.load_pem_x509_certificate(pair.cert)
        authority = x509.load_pem_x509_certificate(pair.ca_cert)
        key = serialization.load_pem_private_key(pair.key, None)
        cert.verify_directly_issued_by(authority)
        names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    if cert.public_key() != key.public_key():
        return False
    known = {str(name.value) for name in names}
    return set(hosts) <= known and cert.not_valid_before_utc <= at < cert.not_valid_after_utc


def _authority(
    owner: str, key: ec.EllipticCurvePrivateKey, at: datetime.datetime, life: datetime.timedelta
) -> x509.Certificate:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY_NAME)]
    if owner:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, owner[:OWNER_LIMIT]))
    name = x509.Name(attributes)
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
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    hosts: Sequence[str],
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    end: datetime.datetime,
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wakeful-webhook")]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(authority.not_valid_before_utc)
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([_general_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(cert: x509.Certificate) -> bytes:
    return cert.public_bytes(serialization.Encoding.PEM)
