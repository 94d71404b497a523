"""What is refused in built-in kinds: one row a mistake, with the paths that the 422 names; and what must pass."""

import copy

import pytest

from standalone.apiserver.kinds_core import CORE
from standalone.apiserver.schema import core_checks

KIND = {kind.kind: kind for kind in CORE if kind.group != "events.k8s.io"}


def found(kind, obj):
    return [error.path for error in core_checks.check_core(KIND[kind], obj)]


def container(**fields):
    return {"name": "c", "image": "i", **fields}


def of_container(fields):
    obj = {"spec": {"containers": [container(**fields)], "volumes": [{"name": "v", "emptyDir": {}}]}}
    return [path.removeprefix("spec.containers[0].") for path in found("Pod", obj)]


LONG = "a" * 64
BAD_CONTAINERS = [
    ({"name": "A_b"}, "name"),
    ({"name": LONG}, "name"),
    ({"image": ""}, "image"),
    ({"image": " x"}, "image"),
    ({"ports": [{"containerPort": 0}]}, "ports[0].containerPort"),
    ({"ports": [{"containerPort": 65536}]}, "ports[0].containerPort"),
    ({"ports": [{"containerPort": 1, "hostPort": 65536}]}, "ports[0].hostPort"),
    ({"ports": [{"containerPort": 1, "name": "123"}]}, "ports[0].name"),
    ({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}, "ports[1].name"),
    ({"env": [{"name": ""}]}, "env[0].name"),
    ({"env": [{"name": "A=B"}]}, "env[0].name"),
    ({"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {}}}]}, "env[0].valueFrom"),
    ({"env": [{"name": "A", "valueFrom": {}}]}, "env[0].valueFrom"),
    (
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {}, "secretKeyRef": {"name": "s"}}}]},
        "env[0].valueFrom",
    ),
    ({"volumeMounts": [{"name": "w", "mountPath": "/a"}]}, "volumeMounts[0].name"),
    ({"volumeMounts": [{"name": "v", "mountPath": ""}]}, "volumeMounts[0].mountPath"),
    ({"volumeMounts": [{"name": "v", "mountPath": "/a"}] * 2}, "volumeMounts[1].mountPath"),
    ({"volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "../b"}]}, "volumeMounts.subPath"),
    ({"resources": {"limits": {"cpu": "-1"}}}, "resources.limits[cpu]"),
    ({"resources": {"limits": {"gpu": "1"}}}, "resources.limits[gpu]"),
    ({"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1001m"}}}, "resources.requests"),
    ({"resources": {"requests": {"x.com/gpu": "1"}}}, "resources.limits"),
    ({"resources": {"limits": {"x.com/gpu": "500m"}}}, "resources.limits[x.com/gpu]"),
    ({"resources": {"limits": {"x.com/gpu": "2"}, "requests": {"x.com/gpu": "1"}}}, "resources.requests"),
    ({"livenessProbe": {}}, "livenessProbe"),
    ({"livenessProbe": {"exec": {"command": ["a"]}, "httpGet": {"port": 1}}}, "livenessProbe.httpGet"),
    ({"livenessProbe": {"exec": {"command": []}}}, "livenessProbe.exec.command"),
    ({"startupProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}, "startupProbe.successThreshold"),
    ({"readinessProbe": {"httpGet": {"port": 0}}}, "readinessProbe.httpGet.port"),
    ({"readinessProbe": {"httpGet": {"port": "a_b"}}}, "readinessProbe.httpGet.port"),
    ({"readinessProbe": {"httpGet": {"port": 1}, "periodSeconds": -1}}, "readinessProbe.periodSeconds"),
    ({"lifecycle": {"preStop": {}}}, "lifecycle.preStop"),
    ({"securityContext": {"runAsUser": -1}}, "securityContext.runAsUser"),
    ({"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, "securityContext"),
]


@pytest.mark.parametrize(("fields", "path"), BAD_CONTAINERS, ids=lambda value: str(value)[:60])
def test_a_containers_mistake_is_named(fields, path):
    assert set(of_container(fields)) == {path}


def test_a_good_container_passes():
    fields = {
        "ports": [{"containerPort": 80, "protocol": "TCP"}, {"containerPort": 80, "protocol": "TCP"}],
        "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}, {"name": "a.b-c 1"}],
        "resources": {"limits": {"cpu": "1", "x.com/gpu": "1"}, "requests": {"cpu": "1", "x.com/gpu": "1"}},
        "volumeMounts": [
            {"name": "v", "mountPath": "/a"},
            {"name": "v", "mountPath": "/b", "subPath": "c/..d"},
        ],
        "readinessProbe": {"httpGet": {"port": "http", "path": "/"}, "successThreshold": 3},
    }
    assert of_container(fields) == []


BAD_PODS = [
    ({"containers": []}, ["spec.containers"]),
    ({"initContainers": [container()]}, ["spec.initContainers[0].name"]),
    ({"volumes": [{"name": "v"}, {"name": "v"}]}, ["spec.volumes[1].name"]),
    ({"volumes": [{"name": "v", "emptyDir": {}, "secret": {"secretName": "s"}}]}, ["spec.volumes[0].secret"]),
    ({"volumes": [{"name": "v", "secret": {}}]}, ["spec.volumes[0].secret.secretName"]),
    (
        {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "/a"}]}}]},
        ["spec.volumes[0].configMap.items[0].path"],
    ),
    ({"serviceAccountName": "A"}, ["spec.serviceAccountName"]),
    ({"hostname": "a.b"}, ["spec.hostname"]),
    ({"nodeSelector": {"a": "-"}}, ["spec.nodeSelector"]),
    ({"activeDeadlineSeconds": 0}, ["spec.activeDeadlineSeconds"]),
    (
        {"initContainers": [container(name="i", livenessProbe={"exec": {"command": ["a"]}})]},
        ["spec.initContainers[0].livenessProbe"],
    ),
]


@pytest.mark.parametrize(("fields", "paths"), BAD_PODS, ids=lambda value: str(value)[:60])
def test_a_pods_mistake_is_named(fields, paths):
    assert found("Pod", {"spec": {"containers": [container()], **fields}}) == paths


def workload(**spec):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container()]}}
    return {"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}


BAD_OTHERS = [
    ("Deployment", workload(replicas=-1), "spec.replicas"),
    ("Deployment", workload(selector={}), "spec.selector"),
    ("Deployment", workload(progressDeadlineSeconds=5, minReadySeconds=5), "spec.progressDeadlineSeconds"),
    ("Deployment", workload(strategy={"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}), "spec.strategy.rollingUpdate"),
    ("Deployment", workload(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}), "spec.strategy.rollingUpdate.maxUnavailable"),
    ("Deployment", workload(strategy={"rollingUpdate": {"maxSurge": "a"}}), "spec.strategy.rollingUpdate.maxSurge"),
    ("Job", {"spec": {"template": {"spec": {"containers": [container()], "restartPolicy": "Always"}}}}, "spec.template.spec.restartPolicy"),
    ("CronJob", {"spec": {"schedule": "* *"}}, "spec.schedule"),
    ("HorizontalPodAutoscaler", {"spec": {"minReplicas": 3, "maxReplicas": 2}}, "spec.maxReplicas"),
    ("PodDisruptionBudget", {"spec": {"minAvailable": 1, "maxUnavailable": 1}}, "spec"),
    ("Service", {"spec": {"ports": [{"port": 0}]}}, "spec.ports[0].port"),
    ("Service", {"spec": {"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}}, "spec.ports[1]"),
    ("Service", {"spec": {"ports": [{"port": 1, "targetPort": "a_b"}]}}, "spec.ports[0].targetPort"),
    ("Service", {"spec": {"type": "ExternalName"}}, "spec.externalName"),
    ("ConfigMap", {"data": {"..a": ""}}, "data[..a]"),
    ("ConfigMap", {"data": {"a": ""}, "binaryData": {"a": ""}}, "data[a]"),
    ("ConfigMap", {"data": {"a": "x" * 1048577}}, ""),
    ("Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, "data[tls.key]"),
    ("Secret", {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "YQ=="}}, "data[.dockerconfigjson]"),
    ("Role", {"rules": [{"verbs": [], "apiGroups": [""], "resources": ["pods"]}]}, "rules[0].verbs"),
    ("RoleBinding", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}, "subjects[0].namespace"),
    ("Ingress", {"spec": {}}, "spec"),
    ("PriorityClass", {"value": 2_000_000_000}, "value"),
    ("PersistentVolumeClaim", {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "0"}}}}, "spec.resources[storage]"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "obj", "path"), BAD_OTHERS, ids=lambda value: str(value)[:40])
def test_other_mistakes_are_named(kind, obj, path):
    assert found(kind, obj) == [path]


def test_every_mistake_is_reported_at_once():
    bad = [container(name="A", image="", ports=[{"containerPort": 0}]), container(name="A")]
    assert len(found("Pod", {"spec": {"containers": bad, "hostname": "A", "nodeSelector": {"a": "-"}}})) == 7


def test_the_claims_of_a_stateful_set_are_volumes():
    mounted = {"name": "c", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/d"}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [mounted]}}
    claim = {"metadata": {"name": "data"}, "spec": {}}
    assert found("StatefulSet", workload(template=template, volumeClaimTemplates=[claim])) == []
    assert found("StatefulSet", workload(template=template)) == [
        "spec.template.spec.containers[0].volumeMounts[0].name"
    ]


FIXED = [
    ("Job", {"template": {"spec": {}}}, {"template": {"spec": {"hostname": "a"}}}, ["spec.template"]),
    ("Job", {"suspend": True, "template": {}}, {"suspend": True, "template": {"spec": {}}}, []),
    ("PersistentVolumeClaim", {"accessModes": ["a"]}, {"accessModes": ["b"]}, ["spec"]),
    ("PersistentVolumeClaim", {"resources": {}}, {"resources": {"requests": {"storage": "1"}}}, []),
    ("StatefulSet", {"serviceName": "a"}, {"serviceName": "b"}, ["spec.serviceName"]),
]


@pytest.mark.parametrize(("kind", "old", "new", "paths"), FIXED)
def test_fixed_fields(kind, old, new, paths):
    errors = core_checks.immutable_errors(KIND[kind], {"spec": old}, {"spec": new})
    assert [error.path for error in errors] == paths


JUNK = (None, 1, "x", [], {}, [1, None], {"a": {"b": [None]}}, True, -1, "")
FIELDS = ("spec", "data", "rules", "subjects", "roleRef", "type", "value", "metadata")
INNER = (
    "containers",
    "volumes",
    "template",
    "ports",
    "selector",
    "strategy",
    "schedule",
    "rules",
    "resources",
)


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.resource)
def test_checks_are_total(kind):
    for junk in JUNK:
        core_checks.check_core(kind, {field: copy.deepcopy(junk) for field in FIELDS})
        for inner in INNER:
            core_checks.check_core(kind, {"spec": {inner: copy.deepcopy(junk)}})
            pod = {"containers": [{key: copy.deepcopy(junk) for key in ("ports", "env", "resources", inner)}]}
            core_checks.check_core(kind, {"spec": {"template": {"spec": pod}, **pod}})
