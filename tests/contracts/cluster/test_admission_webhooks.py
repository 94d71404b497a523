"""Admission webhooks: what they are asked, what they change, what they refuse, and when they fail."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster_api import Api, eventually
from cluster_objects import config_map, deployment
from cluster_webhook import Webhook, patch

Obj = dict[str, Any]
HOST = os.environ.get("WAKEFUL_CONTRACT_WEBHOOK_HOST", "")
GROUP = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}
Register = Callable[..., None]


@pytest.fixture
def webhook(api: Api, tmp_path: Path) -> Iterator[Webhook]:
    if not api.is_embedded and not HOST:
        pytest.skip("set WAKEFUL_CONTRACT_WEBHOOK_HOST to an address of this machine")
    found = Webhook(tmp_path, HOST or "127.0.0.1")
    yield found
    found.close()


@pytest.fixture
def register(api: Api, webhook: Webhook, namespace: str) -> Iterator[Register]:
    """``register("Mutating", "name", script, **fields)`` for this namespace, and wait until it is in force."""
    made: list[str] = []

    def one(which: str, name: str, script: Callable[[Obj], Obj], **fields: Any) -> None:
        webhook.scripts[name] = script
        entry = {
            "name": f"{name}.contract.example.com",
            "clientConfig": webhook.client(name),
            "rules": [CONFIGMAPS],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            **fields,
        }
        body = {"metadata": {"name": f"{name}-{secrets.token_hex(4)}"}, "webhooks": [entry]}
        path = f"{GROUP}/{which.lower()}webhookconfigurations"
        made.append(f"{path}/{api.post(path, body).ok()['metadata']['name']}")
        if not api.is_embedded:
            time.sleep(1)  # kube-apiserver reads configurations a moment later and tells nobody

    yield one
    for path in made:
        api.delete(path)


def _allow(request: Obj) -> Obj:
    return {}


def _deny(request: Obj) -> Obj:
    return {"allowed": False, "status": {"message": "not on a Saturday"}}


def test_request_says_everything(
    api: Api, webhook: Webhook, register: Register, namespace: str, configmaps: str
) -> None:
    register("Validating", "look", _allow)
    created = api.post(configmaps, config_map("a", text="1"), fieldManager="me").ok()
    (asked,) = webhook.requests("look")
    assert asked["operation"] == "CREATE"
    assert asked["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert asked["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert asked["requestKind"] == asked["kind"]
    assert asked["requestResource"] == asked["resource"]
    assert (asked["name"], asked["namespace"]) == ("a", namespace)
    assert asked["userInfo"]["username"]
    assert "system:authenticated" in asked["userInfo"]["groups"]
    assert asked["object"]["kind"] == "ConfigMap"
    assert asked["object"]["data"] == {"text": "1"}
    assert asked["object"]["metadata"]["uid"] == created["metadata"]["uid"]
    assert asked["oldObject"] is None
    assert asked["dryRun"] is False
    assert asked["options"]["kind"] == "CreateOptions"
    assert asked["options"]["fieldManager"] == "me"


def test_update_and_delete_show_the_old_object(
    api: Api, webhook: Webhook, register: Register, configmaps: str
) -> None:
    register("Validating", "look", _allow, rules=[{**CONFIGMAPS, "operations": ["UPDATE", "DELETE"]}])
    api.post(configmaps, config_map("a", text="1")).ok()
    api.patch(f"{configmaps}/a", {"data": {"text": "2"}}).ok()
    api.delete(f"{configmaps}/a").ok()
    update, delete = webhook.requests("look")
    assert (update["operation"], delete["operation"]) == ("UPDATE", "DELETE")
    assert update["oldObject"]["data"] == {"text": "1"}
    assert update["object"]["data"] == {"text": "2"}
    assert delete["object"] is None
    assert delete["oldObject"]["data"] == {"text": "2"}
    assert delete["options"]["kind"] == "DeleteOptions"


def test_mutation_is_stored(api: Api, register: Register, configmaps: str) -> None:
    label = {"op": "add", "path": "/metadata/labels", "value": {"touched": "yes"}}
    register("Mutating", "touch", lambda request: patch(label))
    assert api.post(configmaps, config_map("a")).ok()["metadata"]["labels"] == {"touched": "yes"}
    assert api.get(f"{configmaps}/a").ok()["metadata"]["labels"] == {"touched": "yes"}


def test_mutations_run_by_name_and_see_each_other(
    api: Api, webhook: Webhook, register: Register, configmaps: str
) -> None:
    def add(letter: str) -> Callable[[Obj], Obj]:
        def script(request: Obj) -> Obj:
            order = (request["object"].get("data") or {}).get("order", "") + letter
            return patch({"op": "add", "path": "/data", "value": {"order": order}})

        return script

    register("Mutating", "b-second", add("b"))
    register("Mutating", "a-first", add("a"))
    assert api.post(configmaps, config_map("x")).ok()["data"] == {"order": "ab"}


def test_reinvocation_sees_later_changes(
    api: Api, webhook: Webhook, register: Register, configmaps: str
) -> None:
    register("Mutating", "a-early", _allow, reinvocationPolicy="IfNeeded")
    register("Mutating", "a-never", _allow)
    later = {"op": "add", "path": "/data", "value": {"late": "yes"}}
    register("Mutating", "b-late", lambda request: patch(later))
    api.post(configmaps, config_map("x")).ok()
    early = webhook.requests("a-early")
    assert len(early) == 2
    assert early[1]["object"]["data"] == {"late": "yes"}
    assert len(webhook.requests("a-never")) == 1


def test_validation_follows_mutation(api: Api, webhook: Webhook, register: Register, configmaps: str) -> None:
    change = {"op": "add", "path": "/data", "value": {"by": "mutation"}}
    register("Mutating", "z-change", lambda request: patch(change))
    register("Validating", "a-look", _allow)
    api.post(configmaps, config_map("x")).ok()
    assert webhook.requests("a-look")[0]["object"]["data"] == {"by": "mutation"}


def test_mutation_cannot_make_an_invalid_object(api: Api, register: Register, configmaps: str) -> None:
    bad = {"op": "add", "path": "/metadata/labels", "value": {"bad label": "x"}}
    register("Mutating", "spoil", lambda request: patch(bad))
    api.post(configmaps, config_map("a")).fails(422, "Invalid")


def test_unusable_patch_is_an_internal_error(api: Api, register: Register, configmaps: str) -> None:
    register("Mutating", "spoil", lambda request: {"patchType": "JSONPatch", "patch": "bm90IGpzb24="})
    api.post(configmaps, config_map("a")).fails(500, "InternalError")


def test_refusal_is_forbidden(api: Api, register: Register, configmaps: str) -> None:
    register("Validating", "no", _deny)
    answer = api.post(configmaps, config_map("a"))
    assert answer.status == 400 and answer.reason == ""  # the webhook named neither
    expected = 'admission webhook "no.contract.example.com" denied the request: not on a Saturday'
    assert expected in answer.message
    api.get(f"{configmaps}/a").fails(404, "NotFound")


def test_refusal_without_a_word(api: Api, register: Register, configmaps: str) -> None:
    register("Validating", "no", lambda request: {"allowed": False})
    answer = api.post(configmaps, config_map("a"))
    assert answer.status == 400
    assert "denied the request without explanation" in answer.message


def test_refusal_with_a_code(api: Api, register: Register, configmaps: str) -> None:
    status = {"message": "size", "code": 422, "reason": "Invalid"}
    register("Validating", "no", lambda request: {"allowed": False, "status": status})
    api.post(configmaps, config_map("a")).fails(422, "Invalid")


def test_warnings_reach_the_client(api: Api, register: Register, configmaps: str) -> None:
    register("Validating", "warn", lambda request: {"warnings": ["mind the gap"]})
    assert '299 - "mind the gap"' in api.post(configmaps, config_map("a")).header("Warning")


@pytest.mark.parametrize("fault", ["status", "slow", "uid", "closed", "authority"])
@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
def test_failure_follows_the_policy(
    api: Api, webhook: Webhook, register: Register, configmaps: str, fault: str, policy: str
) -> None:
    def script(request: Obj) -> Obj:
        if fault == "slow":
            time.sleep(1.5)
        return {"status": {"status_code": 500}, "uid": {"uid": "other"}}.get(fault, {})

    fields: Obj = {"failurePolicy": policy, "timeoutSeconds": 1}
    if fault == "closed":
        fields["clientConfig"] = {"url": "https://127.0.0.1:9/none"}
    if fault == "authority":
        fields["clientConfig"] = {"url": f"{webhook.url}/x"}
    register("Validating", "fault", script, **fields)
    answer = api.post(configmaps, config_map("a"))
    if policy == "Ignore":
        answer.ok()
    else:
        answer.fails(500, "InternalError")
        assert 'failed calling webhook "fault.contract.example.com"' in answer.message
        if fault == "slow":
            assert "context deadline exceeded" in answer.message
        api.get(f"{configmaps}/a").fails(404, "NotFound")


def test_missing_service_is_named(api: Api, register: Register, namespace: str, configmaps: str) -> None:
    service = {"service": {"namespace": namespace, "name": "nobody", "path": "/x"}}
    register("Validating", "lost", _allow, clientConfig=service)
    answer = api.post(configmaps, config_map("a")).fails(500, "InternalError")
    assert 'service "nobody" not found' in answer.message


def test_dry_run_asks_harmless_webhooks_only(
    api: Api, webhook: Webhook, register: Register, configmaps: str
) -> None:
    register("Validating", "look", _allow)
    api.post(configmaps, config_map("a"), dryRun="All").ok()
    assert webhook.requests("look")[0]["dryRun"] is True


def test_selectors_and_rules_choose(
    api: Api, webhook: Webhook, register: Register, namespace: str, configmaps: str
) -> None:
    register("Validating", "labelled", _allow, objectSelector={"matchLabels": {"pick": "me"}})
    register("Validating", "elsewhere", _allow, namespaceSelector={"matchLabels": {"no": "where"}})
    register("Validating", "updates", _allow, rules=[{**CONFIGMAPS, "operations": ["UPDATE"]}])
    register("Validating", "cluster", _allow, rules=[{**CONFIGMAPS, "scope": "Cluster"}])
    register("Validating", "all", _allow, rules=[{**CONFIGMAPS, "resources": ["*"], "apiGroups": ["*"]}])
    api.post(configmaps, config_map("a")).ok()
    api.post(configmaps, config_map("b", {"pick": "me"})).ok()
    asked = [(name, request["name"]) for name, request in webhook.asked]
    assert sorted(asked) == [("all", "a"), ("all", "b"), ("labelled", "b")]


def test_subresources_are_asked_for_by_name(
    api: Api, webhook: Webhook, register: Register, namespace: str
) -> None:
    rule = {"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"]}
    register("Validating", "main", _allow, rules=[{**rule, "resources": ["deployments"]}])
    register("Validating", "scale", _allow, rules=[{**rule, "resources": ["deployments/scale"]}])
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    api.post(path, deployment("a")).ok()
    api.patch(f"{path}/a/scale", {"spec": {"replicas": 0}}).ok()
    api.patch(f"{path}/a", {"spec": {"paused": True}}).ok()
    scaled = [request for request in webhook.requests("scale") if request["name"] == "a"]
    assert {request["subResource"] for request in scaled} == {
        "scale"
    }  # more than one where the patch was repeated
    assert any(request["object"]["spec"].get("paused") for request in webhook.requests("main"))


def test_configurations_are_never_asked_about(
    api: Api, webhook: Webhook, register: Register, configmaps: str
) -> None:
    every = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    register("Validating", "no", _deny, rules=[every])
    assert api.post(configmaps, config_map("a")).status == 400
    found = api.get(f"{GROUP}/validatingwebhookconfigurations").ok()["items"]
    name = next(item["metadata"]["name"] for item in found if item["metadata"]["name"].startswith("no-"))
    api.delete(f"{GROUP}/validatingwebhookconfigurations/{name}").ok()
    eventually(lambda: api.post(configmaps, config_map("b")).status in (201, 409), "still refused")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "short"),
        ("sideEffects", "Unknown"),
        ("admissionReviewVersions", ["v9"]),
        ("timeoutSeconds", 31),
        ("timeoutSeconds", 0),
        ("failurePolicy", "Maybe"),
        ("clientConfig", {}),
        ("clientConfig", {"url": "http://127.0.0.1/x"}),
        ("namespaceSelector", {"matchExpressions": [{"key": "a", "operator": "Like"}]}),
    ],
)
def test_malformed_configuration_is_invalid(api: Api, field: str, value: object) -> None:
    entry = {
        "name": "a.contract.example.com",
        "clientConfig": {"url": "https://127.0.0.1/x"},
        "rules": [CONFIGMAPS],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        field: value,
    }
    body = {"metadata": {"name": "contract-bad"}, "webhooks": [entry]}
    answer = api.post(f"{GROUP}/validatingwebhookconfigurations", body)
    if answer.status == 201:
        api.delete(f"{GROUP}/validatingwebhookconfigurations/contract-bad")
    causes = answer.fails(422, "Invalid").causes()
    assert any(name.startswith(f"webhooks[0].{field}") for name in causes), causes
