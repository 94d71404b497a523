"""Built-in kinds: their schemas, defaults and checks; the types that CRDs inline."""

import copy

import pytest
from kubernetes.client import models

from standalone.apiserver.kinds_core import CORE
from standalone.apiserver.schema import checks_crd, core, core_checks, core_defaults, structural

KIND = {(kind.group, kind.kind): kind for kind in CORE}


def pod(**spec):
    container = {"name": "c", "image": "nginx"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p"},
        "spec": {"containers": [container], **spec},
    }


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.resource)
def test_every_built_in_kind_has_a_schema(kind):
    schema = core.core_schema(kind.group, kind.version, kind.kind)
    assert schema is not None
    assert {"apiVersion", "kind", "metadata"} <= schema["properties"].keys()


def test_an_unknown_kind_has_none():
    assert core.core_schema("x.io", "v1", "Pod") is None


def test_a_pod_is_pruned_validated_and_its_quantities_become_text():
    schema = core.core_schema("", "v1", "Pod")
    obj = pod(hostNetwork="yes", foo=1)
    obj["spec"]["containers"][0]["resources"] = {"limits": {"cpu": 1, "memory": "1Gi", "x": 0.5, "y": "a b"}}
    assert structural.prune(schema, obj) == ["spec.foo"]
    structural.apply_defaults(schema, obj)
    limits = obj["spec"]["containers"][0]["resources"]["limits"]
    assert limits["cpu"] == "1" and limits["x"] == "500m"
    assert [error.path for error in structural.validate(schema, obj)] == [
        "spec.containers[0].resources.limits.y",
        "spec.hostNetwork",
    ]


def test_the_schema_knows_list_keys_and_patch_keys():
    containers = core.core_schema("", "v1", "Pod")["properties"]["spec"]["properties"]["containers"]
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    ports = containers["items"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert (
        core.core_schema("", "v1", "Service")["properties"]["spec"]["properties"]["selector"][
            "x-kubernetes-map-type"
        ]
        == "atomic"
    )


def test_a_status_may_be_incomplete():
    obj = pod()
    obj["status"] = {"containerStatuses": [{"name": "c"}]}
    assert structural.validate(core.core_schema("", "v1", "Pod"), obj) == []


@pytest.mark.parametrize(
    "name", ["V1PodSpec", "V1Container", "V1ObjectMeta", "V1Volume", "V1ResourceRequirements"]
)
def test_an_expanded_type_is_structural_and_private(name):
    one = core.expand(name)
    assert checks_crd.check_structural({"type": "object", "properties": {"x": one}}) == []
    one["properties"].clear()
    assert core.expand(name)["properties"]
    assert "x-kubernetes-patch-strategy" not in str(core.expand(name))


def test_an_expanded_quantity_takes_numbers_and_text():
    schema = {"type": "object", "properties": {"x": core.expand("V1ResourceRequirements")}}
    good = {"x": {"limits": {"cpu": 1, "memory": "1Gi"}}}
    assert structural.validate(schema, good) == []
    assert structural.validate(schema, {"x": {"limits": {"cpu": "one"}}})


def test_a_type_that_is_not_there_is_named():
    with pytest.raises(KeyError, match="V1Nothing"):
        core.expand("V1Nothing")


def test_the_facts_agree_with_the_installed_models():
    for name in ("V1Container", "V1ServiceSpec", "V1Probe"):
        assert set(core.type_facts(name)["fields"]) == set(getattr(models, name).attribute_map.values())


def defaulted(group, kind, obj):
    core_defaults.default_core(KIND[group, kind], obj)
    once = copy.deepcopy(obj)
    core_defaults.default_core(KIND[group, kind], obj)
    assert obj == once
    return obj


def test_pod_defaults():
    obj = pod(volumes=[{"name": "v"}, {"name": "s", "secret": {"secretName": "x"}}])
    obj["spec"]["containers"][0].update(
        readinessProbe={"httpGet": {"port": 1}},
        ports=[{"containerPort": 1}],
        resources={"limits": {"cpu": "1"}},
    )
    spec = defaulted("", "Pod", obj)["spec"]
    assert (spec["restartPolicy"], spec["dnsPolicy"], spec["terminationGracePeriodSeconds"]) == (
        "Always",
        "ClusterFirst",
        30,
    )
    container = spec["containers"][0]
    assert container["imagePullPolicy"] == "Always"
    assert container["terminationMessagePath"] == "/dev/termination-log"
    assert container["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
    assert container["resources"]["requests"] == {"cpu": "1"}
    assert container["readinessProbe"] == {
        "httpGet": {"port": 1, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
    }  # fmt: skip
    assert spec["volumes"] == [
        {"name": "v", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
    ]
    assert obj["status"] == {"phase": "Pending", "qosClass": "Burstable"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("a", "Always"),
        ("a:latest", "Always"),
        ("a:1", "IfNotPresent"),
        ("r:5000/a", "Always"),
        ("a@sha256:0", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image, policy):
    obj = pod()
    obj["spec"]["containers"][0]["image"] = image
    assert defaulted("", "Pod", obj)["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_empty_text_and_zero_mean_not_set_where_go_has_no_pointer():
    obj = pod(restartPolicy="", dnsPolicy="")
    probe = {"httpGet": {"port": 1}, "successThreshold": 0, "periodSeconds": 0}
    obj["spec"]["containers"][0].update(imagePullPolicy="", livenessProbe=probe)
    spec = defaulted("", "Pod", obj)["spec"]
    assert (spec["restartPolicy"], spec["dnsPolicy"]) == ("Always", "ClusterFirst")
    container = spec["containers"][0]
    assert container["imagePullPolicy"] == "Always"
    assert (container["livenessProbe"]["successThreshold"], container["livenessProbe"]["periodSeconds"]) == (
        1,
        10,
    )
    service = {"spec": {"type": "", "ports": [{"port": 80, "targetPort": 0}, {"port": 81, "targetPort": ""}]}}
    spec = defaulted("", "Service", service)["spec"]
    assert spec["type"] == "ClusterIP" and [port["targetPort"] for port in spec["ports"]] == [80, 81]
    workload = {"spec": {"replicas": 0, "template": {"spec": {"containers": []}}}}
    assert defaulted("apps", "Deployment", workload)["spec"]["replicas"] == 0


def test_defaults_of_other_kinds():
    service = defaulted("", "Service", {"spec": {"ports": [{"port": 80}]}})["spec"]
    assert service["type"] == "ClusterIP" and service["ports"] == [
        {"port": 80, "protocol": "TCP", "targetPort": 80}
    ]
    deployment = defaulted(
        "apps", "Deployment", {"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}
    )["spec"]
    assert deployment["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
    }
    assert deployment["template"]["spec"]["restartPolicy"] == "Always"
    secret = defaulted("", "Secret", {"stringData": {"a": "b"}, "data": {"c": "ZA=="}})
    assert secret == {"type": "Opaque", "data": {"a": "Yg==", "c": "ZA=="}}
    namespace = defaulted("", "Namespace", {"metadata": {"name": "n"}})
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
    hook = {"webhooks": [{"clientConfig": {"service": {"name": "s"}}, "rules": [{}]}]}
    hook = defaulted("admissionregistration.k8s.io", "MutatingWebhookConfiguration", hook)["webhooks"][0]
    assert hook["timeoutSeconds"] == 10 and hook["clientConfig"]["service"]["port"] == 443


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.resource)
@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"spec": None},
        {"spec": 1},
        {"spec": {"template": [], "ports": 3, "containers": [1]}},
        {"metadata": 1},
    ],
)
def test_defaults_and_checks_survive_junk(kind, junk):
    obj = copy.deepcopy(junk)
    core_defaults.default_core(kind, obj)
    core_checks.check_core(kind, obj)
    core_checks.immutable_errors(kind, obj, {"spec": {"x": 1}})


def paths(group, kind, obj):
    return [error.path for error in core_checks.check_core(KIND[group, kind], obj)]


def test_checks_find_common_mistakes():
    assert paths("", "Pod", pod()) == []
    assert paths("", "Pod", {"spec": {"containers": []}}) == ["spec.containers"]
    bad = {
        "containers": [
            {
                "name": "A_b",
                "ports": [{"containerPort": 0}],
                "volumeMounts": [{"name": "v", "mountPath": "/"}],
            }
        ]
    }
    assert paths("", "Pod", {"spec": bad}) == [
        "spec.containers[0].name", "spec.containers[0].image", "spec.containers[0].ports[0].containerPort",
        "spec.containers[0].volumeMounts[0].name",
    ]  # fmt: skip
    assert paths("", "Service", {"spec": {}}) == ["spec.ports"]
    assert paths("", "ConfigMap", {"data": {"a/b": ""}}) == ["data[a/b]"]
    assert paths("", "PersistentVolumeClaim", {"spec": {}}) == ["spec.accessModes", "spec.resources[storage]"]
    template = {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "a", "image": "b"}]}}
    workload = {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    assert paths("apps", "Deployment", workload) == ["spec.template.metadata.labels"]


def test_immutable_fields_are_kept():
    old = {"spec": {"selector": {"matchLabels": {"a": "b"}}}}
    new = {"spec": {"selector": {"matchLabels": {"a": "c"}}}}
    [error] = core_checks.immutable_errors(KIND["apps", "Deployment"], old, new)
    assert error.path == "spec.selector" and error.message.endswith("field is immutable")
    assert core_checks.immutable_errors(
        KIND["", "ConfigMap"], {"immutable": True, "data": {}}, {"data": {"a": "b"}}
    )
