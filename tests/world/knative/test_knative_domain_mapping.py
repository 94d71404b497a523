"""DomainMapping: a host of one's own for a Service; what it says when it cannot have it."""

from typing import Any

import pytest
from apiserver_rig import namespace_of
from knative_world import INGRESSES, Platform, condition

from standalone.knative.resources import DOMAIN_MAPPINGS, KSERVICES
from wakeful.kit.kube import NAMESPACES, ApiError, Obj


def mapping(name: str, where: str, **ref: Any) -> Obj:
    return {
        "apiVersion": "serving.knative.dev/v1beta1",
        "kind": "DomainMapping",
        "metadata": {"name": name, "namespace": where},
        "spec": {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "svc", **ref}},
    }


def is_told(status: str, reason: str):  # type: ignore[no-untyped-def]
    return lambda obj: condition(obj, "Ready")[:2] == (status, reason)


async def test_it_rewrites_to_the_services_own_host(platform: Platform) -> None:
    host = f"{platform.namespace}.example.com"
    await platform.client.create(DOMAIN_MAPPINGS, platform.namespace, mapping(host, platform.namespace))
    missing = await platform.until(DOMAIN_MAPPINGS, host, is_told("False", "ResolveFailed"))
    assert condition(missing, "ReferenceResolved")[2] == 'services.serving.knative.dev "svc" not found'
    await platform.apply()
    found = await platform.until(DOMAIN_MAPPINGS, host, is_told("True", ""))
    assert found["status"]["url"] == f"http://{host}:8080"
    (rule,) = (await platform.get(INGRESSES, host))["spec"]["rules"]
    assert rule["hosts"] == [host]
    assert rule["http"]["paths"][0]["rewriteHost"] == f"svc.{platform.namespace}.svc.cluster.local"
    await platform.ready()
    await platform.settle()
    await platform.client.delete(KSERVICES, platform.namespace, "svc")
    await platform.until(DOMAIN_MAPPINGS, host, is_told("False", "ResolveFailed"))
    await platform.gone(INGRESSES, host)


async def test_the_older_one_has_the_name(platform: Platform) -> None:
    other, host = f"{platform.namespace}b", f"{platform.namespace}.example.com"
    await platform.apply()
    await platform.client.create(DOMAIN_MAPPINGS, platform.namespace, mapping(host, platform.namespace))
    await platform.until(DOMAIN_MAPPINGS, host, is_told("True", ""))
    await platform.client.create(NAMESPACES, None, namespace_of(other))
    try:
        second = mapping(host, other, namespace=platform.namespace)
        await platform.client.create(DOMAIN_MAPPINGS, other, second)
        there = Platform(platform.client, platform.serving, platform.node, other)
        refused = await there.until(DOMAIN_MAPPINGS, host, is_told("False", "DomainAlreadyClaimed"))
        assert "already in use by another namespace" in condition(refused, "DomainClaimed")[2]
        await platform.client.delete(DOMAIN_MAPPINGS, platform.namespace, host)
        await there.until(DOMAIN_MAPPINGS, host, is_told("True", ""))
    finally:
        await platform.client.delete(NAMESPACES, None, other)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("x.svc.cluster.local", 'must not be a subdomain of cluster local domain "cluster.local"'),
        ("plain", "want a domain name of two or more lower-case parts"),
    ],
)
async def test_names_that_cannot_be_had(platform: Platform, name: str, words: str) -> None:
    with pytest.raises(ApiError, match="metadata") as caught:
        await platform.client.create(DOMAIN_MAPPINGS, platform.namespace, mapping(name, platform.namespace))
    assert words in str(caught.value)


async def test_a_kind_that_cannot_be_mapped_says_so(platform: Platform) -> None:
    host = f"{platform.namespace}.example.com"
    body = mapping(host, platform.namespace, apiVersion="v1")
    await platform.client.create(DOMAIN_MAPPINGS, platform.namespace, body)
    found = await platform.until(DOMAIN_MAPPINGS, host, is_told("False", "ResolveFailed"))
    assert "is not supported: want a Service or Route" in condition(found, "Ready")[2]
