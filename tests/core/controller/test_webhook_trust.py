"""The webhooks' certificates, and the bundle of several replicas' authorities."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from controller.webhooks import certificates, trust

AT = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
HOSTS = ("wakeful-webhook.ns.svc", "127.0.0.1")


def pair(owner: str = "a", at: datetime = AT, life: timedelta = 90 * DAY) -> certificates.Pair:
    return certificates.make(HOSTS, owner, at, life)


def owners(bundle: bytes) -> list[str | None]:
    certs = x509.load_pem_x509_certificates(bundle) if bundle else []
    return sorted(str(certificates.owner_of(item)) for item in certs)


def test_a_pair_serves_its_hosts_for_its_life() -> None:
    made = pair()
    assert certificates.is_usable(made, HOSTS, AT)
    assert certificates.is_usable(made, HOSTS[:1], AT + 89 * DAY)
    assert certificates.left(made, AT) == 90 * DAY
    assert not certificates.is_usable(made, HOSTS, AT + 90 * DAY), "ended"
    assert not certificates.is_usable(made, HOSTS, AT - DAY), "not yet valid"
    assert not certificates.is_usable(made, ("other.svc",), AT), "another name"


@pytest.mark.parametrize("part", ["ca_cert", "cert", "key"])
def test_parts_that_do_not_belong_together_are_not_usable(part: str) -> None:
    mixed = {"ca_cert": pair().ca_cert, **{name: getattr(pair(), name) for name in ("cert", "key")}}
    one = pair()
    parts = {name: getattr(one, name) for name in ("ca_cert", "cert", "key")}
    assert not certificates.is_usable(certificates.Pair(**{**parts, part: mixed[part]}), HOSTS, AT)
    assert not certificates.is_usable(certificates.Pair(**{**parts, part: b"junk"}), HOSTS, AT)


def test_a_bundle_is_merged_once_and_in_any_order() -> None:
    a, b = pair("a").ca_cert, pair("b").ca_cert
    one = trust.merge(trust.merge(b"", "a", [a], AT), "b", [b], AT)
    other = trust.merge(trust.merge(b"", "b", [b], AT), "a", [a], AT)
    assert one == other
    assert trust.merge(one, "a", [a], AT) == one
    assert owners(one) == ["a", "b"]
    ssl.create_default_context(cadata=one.decode())


def test_a_new_authority_stands_beside_the_old_one_and_then_alone() -> None:
    old, new, other = pair("a").ca_cert, pair("a").ca_cert, pair("b").ca_cert
    both = trust.merge(trust.merge(other, "a", [old], AT), "a", [old, new], AT)
    assert owners(both) == ["a", "a", "b"]
    assert owners(trust.merge(both, "a", [new], AT)) == ["a", "b"]


def test_what_expired_what_is_foreign_and_what_is_junk_goes() -> None:
    mine, gone = pair("a").ca_cert, pair("b", life=DAY).ca_cert
    foreign = pair("c").cert
    assert owners(trust.merge(gone, "a", [mine], AT + DAY)) == ["a"]
    assert owners(trust.merge(foreign, "a", [mine], AT)) == ["a"]
    assert owners(trust.merge(b"not PEM", "a", [mine], AT)) == ["a"]
    assert owners(trust.merge(b"-----BEGIN CERTIFICATE-----\nx\n", "a", [mine], AT)) == ["a"]


def test_the_bundle_is_bounded_and_the_oldest_go() -> None:
    bundle = b""
    for index in range(trust.ENTRIES_MAX + 3):
        at = AT + index * timedelta(minutes=1)
        bundle = trust.merge(bundle, f"pod-{index:02}", [pair(f"pod-{index:02}", at).ca_cert], at)
    left = owners(bundle)
    assert len(left) == trust.ENTRIES_MAX
    assert left[0] == "pod-03"


def test_a_long_owner_is_recognised() -> None:
    name = "x" * 200
    bundle = trust.merge(b"", name, [pair(name).ca_cert], AT)
    assert len(owners(trust.merge(bundle, name, [pair(name).ca_cert], AT))) == 1
