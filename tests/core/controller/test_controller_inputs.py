"""What the controller is given: the ConfigMap, reviews of admission, and addresses made of a component's URL."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.desired import configuration, ingress
from controller.webhooks import reviews
from wakeful.core.api import inferenceservice

Obj = dict[str, Any]


def parsed(**data: Any) -> configuration.Configuration:
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in data.items()}
    return configuration.parse({"data": texts})


def test_no_configmap_means_the_shipped_defaults() -> None:
    assert configuration.parse(None) == parsed()
    assert configuration.parse(None).defaults.deployment_mode == "Knative"
    assert configuration.parse(None).defaults.limits == {"cpu": "1", "memory": "2Gi"}


def test_values_are_taken() -> None:
    found = parsed(
        ingress={
            "urlScheme": "https",
            "disableIstioVirtualHost": "true",
            "additionalIngressDomains": ["b", "a"],
        },
        storageInitializer={"image": "i:2", "memoryLimit": "4Gi"},
        inferenceService={
            "resource": {"cpuLimit": "", "memoryLimit": "8Gi"},
            "serviceLabelDisallowedList": ["x"],
        },
        security={"autoMountServiceAccountToken": False},
        deploy={"defaultDeploymentMode": "RawDeployment"},
        localModel={"enabled": True},
    )
    assert found.problems == ()
    assert found.ingress.url_scheme == "https" and found.ingress.is_virtual_host_disabled
    assert found.ingress.additional_domains == ("a", "b")
    assert found.storage.image == "i:2" and found.storage.resources["limits"] == {"cpu": "1", "memory": "4Gi"}
    assert found.defaults.limits == {"memory": "8Gi"} and not found.defaults.automount_token
    assert found.defaults.deployment_mode == "Standard"
    assert {"x", "networking.knative.dev/visibility"} <= found.disallowed_labels


BAD = {
    "not JSON": ({"ingress": "{bad"}, "key ingress: not JSON"),
    "not an object": ({"deploy": "[]"}, "key deploy: must be a JSON object, not list"),
    "mode": ({"deploy": {"defaultDeploymentMode": "Foo"}}, "defaultDeploymentMode 'Foo' is not one of"),
    "scheme": ({"ingress": {"urlScheme": "ftp"}}, "urlScheme must be http or https"),
}


@pytest.mark.parametrize(("data", "words"), BAD.values(), ids=list(BAD))
def test_a_bad_key_is_named_and_hides_no_other(data: Obj, words: str) -> None:
    found = parsed(**data, storageInitializer={"image": "i:2"})
    assert len(found.problems) == 1 and words in found.problems[0]
    assert found.storage.image == "i:2"


@given(
    st.dictionaries(
        st.sampled_from(["deploy", "ingress", "credentials", "inferenceService"]), st.text(max_size=20)
    )
)
def test_no_text_raises(data: dict[str, str]) -> None:
    configuration.parse({"data": data})


def isvc(name: str = "foo", namespace: str = "ns", **spec: Any) -> inferenceservice.InferenceService:
    metadata = {"name": name, "namespace": namespace, "uid": "u"}
    return inferenceservice.parse({"metadata": metadata, "spec": {"predictor": {}} | spec})


ADDRESSES = [
    ("foo", "ns", "http://foo-predictor.ns.example.com", "http://foo.ns.example.com"),
    ("foo", "ns", "http://foo-predictor-ns.example.com", "http://foo-ns.example.com"),
    ("x-default", "ns", "http://x-default-predictor.ns.example.com", "http://x-default.ns.example.com"),
    ("foo", "default", "http://foo-predictor-default.example.com", "http://foo-default.example.com"),
    (
        "a-predictor",
        "ns",
        "http://a-predictor-predictor.ns.localhost:8080",
        "http://a-predictor.ns.localhost:8080",
    ),
    ("foo", "ns", "http://foo-predictor.ns.svc.cluster.local", "http://foo.ns.svc.cluster.local"),
]


@pytest.mark.parametrize(("name", "namespace", "component", "wanted"), ADDRESSES)
def test_only_the_components_own_suffix_is_cut(
    name: str, namespace: str, component: str, wanted: str
) -> None:
    found = ingress.address_of(isvc(name, namespace), component, configuration.IngressConfig())
    assert found.url == wanted
    assert found.internal == f"http://{name}.{namespace}.svc.cluster.local"


def test_additional_domains_get_the_same_sub_domain() -> None:
    config = parsed(ingress={"additionalIngressDomains": ["a.org", "example.com"]})
    address = ingress.address_of(isvc(), "http://foo-predictor.ns.example.com", config.ingress)
    rules = ingress.build(isvc(), address, config, "")["spec"]["rules"]
    assert rules[0]["hosts"] == ["foo.ns.example.com", "foo.ns.a.org"]
    assert rules[1]["hosts"] == ["foo.ns.svc.cluster.local", "foo.ns.svc", "foo.ns"]
    assert ingress.services_behind({"spec": {"rules": rules}}) == {"foo-predictor"}


def review(obj: Obj, old: Obj | None = None) -> reviews.Review:
    return reviews.decode(
        {"request": {"uid": "u", "operation": "CREATE", "namespace": "ns", "object": obj, "oldObject": old}}
    )


def test_a_change_is_a_patch_of_what_differs() -> None:
    before = {
        "metadata": {"annotations": {"a": "b"}, "name": "x"},
        "spec": {"predictor": {"sklearn": {}}, "gone": 1},
    }
    after = {
        "metadata": {"annotations": {"a": "b"}, "name": "x"},
        "spec": {"predictor": {"model": {}}, "a/b~c": 2},
    }
    answer = reviews.encode(review(before), reviews.Verdict(changed=after))["response"]
    assert answer["allowed"] is True and answer["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(answer["patch"])) == [
        {"op": "add", "path": "/spec/a~1b~0c", "value": 2},
        {"op": "remove", "path": "/spec/gone"},
        {"op": "replace", "path": "/spec/predictor", "value": {"model": {}}},
    ]
    assert "patch" not in reviews.encode(review(before), reviews.Verdict(changed=before))["response"]


def test_a_refusal_and_warnings() -> None:
    answer = reviews.encode(review({}), reviews.Verdict("no", ["w" * 300]))["response"]
    assert answer["allowed"] is False
    assert answer["status"] == {"code": 400, "reason": "BadRequest", "message": "no"}
    assert [len(item) for item in answer["warnings"]] == [256]


@pytest.mark.parametrize("body", [None, [], {}, {"request": 1}, {"request": {"uid": ""}}])
def test_what_is_no_review(body: object) -> None:
    with pytest.raises(ValueError, match=r"request\.uid is missing"):
        reviews.decode(body)
