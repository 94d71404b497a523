"""Knative's webhooks: what is filled in, what is refused and with which words, and that a second pass changes nothing."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from knative_reviews import GROUP, admit, refusal, service

from standalone.apiserver.ports import Denied
from standalone.knative.admission import Admission


def test_defaults_of_a_service() -> None:
    found = admit(service())
    assert found["spec"]["traffic"] == [{"latestRevision": True, "percent": 100}]
    assert found["spec"]["template"]["spec"] == {
        "containers": [
            {
                "image": "wakeful/echo:1",
                "name": "user-container",
                "resources": {},
                "readinessProbe": {"tcpSocket": {"port": 0}, "successThreshold": 1},
            }
        ],
        "timeoutSeconds": 300,
        "containerConcurrency": 0,
        "enableServiceLinks": False,
    }
    assert found["metadata"]["annotations"] == {f"{GROUP}/creator": "ann", f"{GROUP}/lastModifier": "ann"}


def test_a_second_pass_changes_nothing() -> None:
    probe = {"httpGet": {"path": "/"}, "periodSeconds": 5}
    found = admit(service({"livenessProbe": probe, "readinessProbe": probe}, timeoutSeconds=600))
    assert admit(found, found) == found
    assert found["spec"]["template"]["spec"]["responseStartTimeoutSeconds"] == 300


def test_who_changed_it() -> None:
    first = admit(service())
    changed = copy.deepcopy(first)
    changed["spec"]["template"]["spec"]["timeoutSeconds"] = 10
    changed["metadata"]["annotations"][f"{GROUP}/creator"] = "mallory"
    second = admit(changed, first, user="bob")
    assert second["metadata"]["annotations"] == {f"{GROUP}/creator": "ann", f"{GROUP}/lastModifier": "bob"}


def test_names_of_several_containers() -> None:
    obj = service()
    obj["spec"]["template"]["spec"]["containers"] = [
        {"image": "a", "ports": [{"containerPort": 8080}]},
        {"image": "b", "name": "user-container-1"},
        {"image": "c"},
    ]
    containers = admit(obj)["spec"]["template"]["spec"]["containers"]
    assert [c["name"] for c in containers] == ["user-container-0", "user-container-1", "user-container-2"]
    assert "readinessProbe" not in containers[1]


CONTAINERS: list[tuple[dict[str, Any], str]] = [
    ({"image": ""}, "missing field(s): spec.template.spec.containers[0].image"),
    (
        {"image": "UPPER CASE"},
        "invalid value: UPPER CASE: spec.template.spec.containers[0].image\ncould not parse reference: UPPER CASE",
    ),
    ({"lifecycle": {}}, "must not set the field(s): spec.template.spec.containers[0].lifecycle"),
    (
        {"name": "queue-proxy"},
        '"queue-proxy" is a reserved container name: spec.template.spec.containers[0].name',
    ),
    (
        {"env": [{"name": "PORT", "value": "1"}]},
        '"PORT" is a reserved environment variable: spec.template.spec.containers[0].env[0].name',
    ),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
        "must not set the field(s): spec.template.spec.containers[0].env[0].valueFrom.fieldRef",
    ),
    (
        {"ports": [{"containerPort": 1}, {"containerPort": 2}]},
        "more than one container port is set: spec.template.spec.containers[0].ports\nOnly a single port is allowed",
    ),
    (
        {"ports": [{"containerPort": 70000}]},
        "expected 0 <= 70000 <= 65535: spec.template.spec.containers[0].ports.containerPort",
    ),
    (
        {"ports": [{"containerPort": 80, "name": "web"}]},
        "Port name web is not allowed: spec.template.spec.containers[0].ports.name\nName must be empty, or one of: 'h2c', 'http1'",
    ),
    (
        {"ports": [{"containerPort": 80, "protocol": "UDP"}]},
        "invalid value: UDP: spec.template.spec.containers[0].ports.protocol",
    ),
    (
        {"readinessProbe": {"httpGet": {}, "exec": {}}},
        "expected exactly one, got both: spec.template.spec.containers[0].readinessProbe.httpGet, spec.template.spec.containers[0].readinessProbe.exec",
    ),
    (
        {"readinessProbe": {"httpGet": {}, "timeoutSeconds": 3}},
        "timeoutSeconds is disallowed when periodSeconds is zero: spec.template.spec.containers[0].readinessProbe.timeoutSeconds",
    ),
    (
        {"livenessProbe": {"periodSeconds": 1}},
        "expected exactly one, got neither: spec.template.spec.containers[0].livenessProbe.httpGet, spec.template.spec.containers[0].livenessProbe.tcpSocket, spec.template.spec.containers[0].livenessProbe.exec, spec.template.spec.containers[0].livenessProbe.grpc",
    ),
    (
        {"securityContext": {"privileged": True}},
        "invalid value: true: spec.template.spec.containers[0].securityContext.privileged",
    ),
    (
        {"volumeMounts": [{"name": "v", "mountPath": "/x"}]},
        "volume with no matching name: v: spec.template.spec.containers[0].volumeMounts[0].name",
    ),
]


@pytest.mark.parametrize(
    ("container", "text"), CONTAINERS, ids=[next(iter(c)) + str(i) for i, (c, _) in enumerate(CONTAINERS)]
)
def test_refused_containers(container: dict[str, Any], text: str) -> None:
    assert refusal(service(container)) == text


def test_reserved_port() -> None:
    assert refusal(service({"ports": [{"containerPort": 8012}]})).startswith("8012 is a reserved port: ")


MOUNTS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    (
        {"persistentVolumeClaim": {"claimName": "c"}},
        {"mountPath": "/a", "readOnly": True},
        "must not set the field(s): spec.template.spec.volumes[0].persistentVolumeClaim",
    ),
    (
        {"hostPath": {"path": "/"}},
        {"mountPath": "/a"},
        "must not set the field(s): spec.template.spec.volumes[0].hostPath",
    ),
    (
        {"secret": {"secretName": "s"}},
        {"mountPath": "/dev/"},
        'mountPath "/dev" is a reserved path: spec.template.spec.containers[0].volumeMounts[0].mountPath',
    ),
    (
        {"secret": {"secretName": "s"}},
        {"mountPath": "a"},
        "invalid value: a: spec.template.spec.containers[0].volumeMounts[0].mountPath",
    ),
    (
        {"secret": {"secretName": "s"}},
        {"mountPath": "/a", "readOnly": False},
        "volume mount should be readOnly for this type of volume: spec.template.spec.containers[0].volumeMounts[0].readOnly",
    ),
    (
        {"secret": {}},
        {"mountPath": "/a"},
        "missing field(s): spec.template.spec.volumes[0].secret.secretName",
    ),
    (
        {},
        {"mountPath": "/a"},
        "expected exactly one, got neither: spec.template.spec.volumes[0].secret, spec.template.spec.volumes[0].configMap, spec.template.spec.volumes[0].projected",
    ),
]


@pytest.mark.parametrize(("source", "mount", "text"), MOUNTS)
def test_refused_volumes(source: dict[str, Any], mount: dict[str, Any], text: str) -> None:
    obj = service({"volumeMounts": [{"name": "v", **mount}]}, volumes=[{"name": "v", **source}])
    assert text in refusal(obj)


def test_unmounted_volume_and_gated_pod_fields() -> None:
    obj = service(
        volumes=[{"name": "v", "emptyDir": {}}],
        initContainers=[{"image": "i"}],
        nodeSelector={"a": "b"},
        hostname="x",
    )
    assert refusal(obj) == (
        "must not set the field(s): spec.template.spec.hostname, spec.template.spec.initContainers, "
        'spec.template.spec.nodeSelector\nvolume with name "v" not mounted: spec.template.spec.volumes[0].name'
    )


def test_a_feature_flag_opens_the_field() -> None:
    admission = Admission()
    admission.load("config-features", {"kubernetes.podspec-init-containers": "enabled"})
    obj = service(initContainers=[{"image": "i"}])
    assert (
        admit(obj, admission=admission)["spec"]["template"]["spec"]["initContainers"][0]["name"]
        == "init-container"
    )


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("timeoutSeconds", 601, "expected 0 <= 601 <= 600: spec.template.spec.timeoutSeconds"),
        ("containerConcurrency", 1001, "expected 0 <= 1001 <= 1000: spec.template.spec.containerConcurrency"),
        (
            "automountServiceAccountToken",
            True,
            "must not set the field(s): spec.template.spec.automountServiceAccountToken",
        ),
        ("containers", [], "missing field(s): spec.template.spec.containers"),
    ],
)
def test_refused_revision_fields(field: str, value: Any, text: str) -> None:
    obj = service()
    obj["spec"]["template"]["spec"][field] = value
    assert refusal(obj) == text


def test_own_revision_names() -> None:
    obj = service()
    metadata = obj["spec"]["template"]["metadata"]
    metadata["name"] = "other-1"
    assert 'other-1 must have prefix "svc-"' in refusal(obj)
    metadata["name"] = "svc-one"
    first = admit(obj)
    assert admit(first, first) == first
    changed = copy.deepcopy(first)
    changed["spec"]["template"]["spec"]["timeoutSeconds"] = 5
    text = refusal(changed, first)
    assert text.startswith(
        "Saw the following changes without a name change (-old +new): spec.template.metadata.name\n"
    )
    assert "timeoutSeconds" in text and "300" in text


def test_a_revision_is_immutable() -> None:
    spec = service()["spec"]["template"]["spec"]
    first = admit(
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "Revision",
            "metadata": {"name": "r", "namespace": "ns"},
            "spec": spec,
        }
    )
    changed = copy.deepcopy(first)
    changed["spec"]["containers"][0]["image"] = "b"
    assert refusal(changed, first).startswith("Immutable fields changed (-old +new): spec\n")
    labelled = copy.deepcopy(first)
    labelled["metadata"]["labels"] = {"a": "b"}
    assert admit(labelled, first)["metadata"]["labels"] == {"a": "b"}


def test_config_maps_are_checked() -> None:
    bad: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config-autoscaler", "namespace": "knative-serving"},
        "data": {"stable-window": "1s"},
    }
    with pytest.raises(Denied, match="stable-window = 1, want 6s to 1h"):
        admit(bad)
    bad["metadata"]["namespace"] = "mine"
    admit(bad)
    with pytest.raises(ValueError, match="is none of enabled"):
        Admission().load("config-features", {"multi-container": "maybe"})
    with pytest.raises(ValueError, match="cannot be greater than max"):
        Admission().load("config-defaults", {"revision-timeout-seconds": "700"})


json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab/-", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "name",
                    "image",
                    "containers",
                    "volumes",
                    "env",
                    "ports",
                    "readinessProbe",
                    "volumeMounts",
                    "mountPath",
                    "resources",
                    "httpGet",
                    "port",
                    "secret",
                    "valueFrom",
                    "percent",
                    "tag",
                    "securityContext",
                    "capabilities",
                    "add",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json, json)
def test_no_input_crashes_admission(spec: Any, traffic: Any) -> None:
    obj = service()
    obj["spec"] = {"template": {"spec": spec if isinstance(spec, dict) else {}}, "traffic": traffic}
    try:
        found = admit(obj)
    except Denied:
        return
    assert admit(found, found) == found
