"""Whom the API server shall trust: the ``caBundle`` as one text of several authorities, one or two a replica.

Called by ``webhooks.authority``. Every replica puts its own authority beside those of the others, because no private
key is shared; while a replica changes its certificate the old and the new one stand side by side. An entry goes when it
has expired, when its owner has put another in its place, or when there are too many. Invariant: merging what is
merged already changes nothing, in whatever order the replicas come.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from controller.webhooks import certificates

ENTRIES_MAX = 32
"""Replicas that are gone leave their entry until it expires; theirs are the oldest and go first."""
_DIGEST = hashes.SHA256()


def merge(bundle: bytes, owner: str, own: Sequence[bytes], at: datetime.datetime) -> bytes:
    """``bundle`` with the authorities ``own`` of ``owner``, without what has expired and what nobody here made.

    A bundle that cannot be read counts as empty: it trusts nobody, so there is nothing to keep.
    """
    mine = [x509.load_pem_x509_certificate(pem) for pem in own]
    others = [cert for cert in _read(bundle) if _is_kept(cert, owner, at)]
    others.sort(key=lambda cert: cert.not_valid_before_utc, reverse=True)
    kept = {cert.fingerprint(_DIGEST): cert for cert in mine}
    for cert in others[: max(0, ENTRIES_MAX - len(mine))]:
        kept.setdefault(cert.fingerprint(_DIGEST), cert)
    return b"".join(kept[key].public_bytes(serialization.Encoding.PEM) for key in sorted(kept))


def _read(bundle: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(bundle) if bundle.strip() else []
    except ValueError:
        return []


def _is_kept(cert: x509.Certificate, owner: str, at: datetime.datetime) -> bool:
    found = certificates.owner_of(cert)
    return found is not None and not certificates.same_owner(found, owner) and at < cert.not_valid_after_utc
