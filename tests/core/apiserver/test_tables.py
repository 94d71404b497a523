"""Server-side tables: the columns and words that kubectl users know."""

from datetime import UTC, datetime, timedelta

import pytest

from standalone.apiserver import tables, tables_cells
from standalone.apiserver.kinds import Kind
from standalone.apiserver.kinds_core import CORE

NOW = datetime(2026, 1, 1, tzinfo=UTC)
KIND = {(kind.group, kind.kind): kind for kind in CORE}


def meta(name="x", seconds=30, **more):
    at = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"name": name, "creationTimestamp": at, **more}


def row(group, kind, obj, *, wide=False):
    table = tables.render_table(KIND[group, kind], [{"metadata": meta(), **obj}], now=NOW)
    shown = [n for n, column in enumerate(table["columnDefinitions"]) if wide or column["priority"] == 0]
    return {table["columnDefinitions"][n]["name"]: table["rows"][0]["cells"][n] for n in shown}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (120, "2m"), (330, "5m30s"), (600, "10m"), (10799, "179m"), (10800, "3h"), (12000, "3h20m"), (8 * 3600, "8h"), (48 * 3600, "2d"), (52 * 3600, "2d4h"), (9 * 86400, "9d"), (800 * 86400, "2y70d"), (3000 * 86400, "8y"), (-1, "0s"), (-5, "<invalid>")],
)  # fmt: skip
def test_ages_are_worded_as_kubectl_does(seconds, text):
    assert tables_cells.duration(seconds) == text


def status(**state):
    return {"name": "c", "ready": "running" in state, "restartCount": 0, "state": state}


def pod(*statuses, phase="Running", **more):
    spec = {"containers": [{"name": f"c{n}"} for n in range(max(1, len(statuses)))], "nodeName": "wakeful"}
    return {"spec": spec, "status": {"phase": phase, "containerStatuses": list(statuses), **more}}


PODS = [
    (pod(status(running={})), "1/1", "Running"),
    (pod(phase="Pending"), "0/1", "Pending"),
    (pod(status(waiting={"reason": "CrashLoopBackOff"}), status(running={})), "1/2", "CrashLoopBackOff"),
    (pod(status(terminated={"exitCode": 3})), "0/1", "ExitCode:3"),
    (pod(status(terminated={"exitCode": 0, "reason": "Completed"}), phase="Succeeded"), "0/1", "Completed"),
    (pod(phase="Failed", reason="Evicted"), "0/1", "Evicted"),
]


@pytest.mark.parametrize(("obj", "ready", "word"), PODS)
def test_pods(obj, ready, word):
    shown = row("", "Pod", obj)
    assert (shown["Ready"], shown["Status"], shown["Age"]) == (ready, word, "30s")
    assert list(shown) == ["Name", "Ready", "Status", "Restarts", "Age"]


def test_a_pod_while_it_initialises_terminates_and_restarts():
    obj = pod(phase="Pending", initContainerStatuses=[status(running={})])
    obj["spec"]["initContainers"] = [{"name": "c"}]
    assert row("", "Pod", obj)["Status"] == "Init:0/1"
    obj["status"]["initContainerStatuses"] = [status(waiting={"reason": "ImagePullBackOff"})]
    assert row("", "Pod", obj)["Status"] == "Init:ImagePullBackOff"
    obj["status"]["initContainerStatuses"] = [status(terminated={"exitCode": 1, "reason": "Error"})]
    assert row("", "Pod", obj)["Status"] == "Init:Error"
    obj["status"]["conditions"] = [
        {"type": "Initialized", "status": "True"}
    ]  # a sidecar that ended with the pod
    obj["status"]["containerStatuses"] = [status(terminated={"exitCode": 3, "reason": "Error"})]
    assert row("", "Pod", obj)["Status"] == "Error"
    going = {**pod(status(running={})), "metadata": meta(deletionTimestamp="2026-01-01T00:00:00Z")}
    assert row("", "Pod", going)["Status"] == "Terminating"
    crashed = status(running={})
    crashed.update(restartCount=2, lastState={"terminated": {"finishedAt": "2025-12-31T23:55:00Z"}})
    assert row("", "Pod", pod(crashed))["Restarts"] == "2 (5m ago)"


def test_wide_columns_of_a_pod():
    shown = row("", "Pod", pod(status(running={}), podIP="127.0.0.1"), wide=True)
    assert list(shown)[5:] == ["IP", "Node", "Nominated Node", "Readiness Gates"]
    assert (shown["IP"], shown["Node"], shown["Nominated Node"]) == ("127.0.0.1", "wakeful", "<none>")


def test_other_kinds():
    ports = [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]
    service = row("", "Service", {"spec": {"type": "NodePort", "clusterIP": "10.0.0.1", "ports": ports}})
    assert service["Port(s)"] == "80:30080/TCP,53/UDP" and service["External-IP"] == "<none>"
    assert row("", "ConfigMap", {"data": {"a": "", "b": ""}})["Data"] == 2
    assert row("", "ConfigMap", {})["Data"] == 0
    deployment = {"spec": {"replicas": 2}, "status": {"readyReplicas": 1}}
    assert row("apps", "Deployment", deployment)["Ready"] == "1/2"
    event = {
        "lastTimestamp": "2025-12-31T23:59:00Z",
        "reason": "R",
        "involvedObject": {"kind": "Pod", "name": "p"},
    }
    shown = row("", "Event", event)
    assert (shown["Last Seen"], shown["Object"]) == ("60s", "pod/p") and "Name" not in shown
    claim = {"status": {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}}}
    shown = row("", "PersistentVolumeClaim", claim)
    assert (shown["Access Modes"], shown["Capacity"], shown["VolumeAttributesClass"]) == (
        "RWO",
        "1Gi",
        "<unset>",
    )


@pytest.mark.parametrize("kind", CORE, ids=lambda kind: kind.resource)
@pytest.mark.parametrize(
    "junk",
    [{}, {"spec": 1, "status": 2, "metadata": {}}, {"spec": {"ports": [1], "rules": 3}, "subjects": [{}]}],
)
def test_a_row_never_fails(kind, junk):
    table = tables.render_table(kind, [junk], now=NOW)
    assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"])


COLUMNS = (
    {"name": "URL", "type": "string", "jsonPath": ".status.url"},
    {"name": "Ready", "type": "string", "jsonPath": ".status.conditions[?(@.type=='Ready')].status"},
    {
        "name": "Prev",
        "type": "integer",
        "jsonPath": ".status.traffic[?(@.tag=='prev')].percent",
        "priority": 1,
    },
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
)
CUSTOM = Kind("x.io", "v1", "Thing", "things", "thing", True, is_custom=True, columns=COLUMNS)


def test_a_custom_resource_has_its_own_columns():
    obj = {
        "metadata": meta(),
        "spec": {"on": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "traffic": [{"tag": "prev", "percent": 90}],
        },
    }
    table = tables.render_table(CUSTOM, [obj, {"metadata": meta("y"), "spec": {"on": "text"}}], now=NOW)
    assert [column["name"] for column in table["columnDefinitions"]] == [
        "Name",
        "URL",
        "Ready",
        "Prev",
        "Age",
        "On",
    ]
    assert table["rows"][0]["cells"] == ["x", None, "True", 90, "30s", True]
    assert table["rows"][1]["cells"] == ["y", None, None, None, "30s", None]


def test_what_comes_with_a_row():
    obj = {"metadata": meta(), "spec": {}}
    kind = Kind("x.io", "v1", "Plain", "plains", "plain", True, is_custom=True)
    with_metadata = tables.render_table(kind, [obj], now=NOW, resource_version="7")
    assert with_metadata["metadata"] == {"resourceVersion": "7"}
    assert with_metadata["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert with_metadata["rows"][0]["object"]["metadata"] == obj["metadata"]
    whole = tables.render_table(kind, [obj], now=NOW, include_object="Object", with_headers=False)
    assert whole["rows"][0]["object"] == obj and whole["columnDefinitions"] == []
    assert tables.render_table(kind, [obj], now=NOW, include_object="None")["rows"][0]["object"] is None


KUBECTL = """
Pod: NAME READY STATUS RESTARTS AGE | IP NODE NOMINATED-NODE READINESS-GATES
Deployment: NAME READY UP-TO-DATE AVAILABLE AGE | CONTAINERS IMAGES SELECTOR
ReplicaSet: NAME DESIRED CURRENT READY AGE | CONTAINERS IMAGES SELECTOR
ReplicationController: NAME DESIRED CURRENT READY AGE | CONTAINERS IMAGES SELECTOR
PodTemplate: NAME CONTAINERS IMAGES POD-LABELS |
StatefulSet: NAME READY AGE | CONTAINERS IMAGES
DaemonSet: NAME DESIRED CURRENT READY UP-TO-DATE AVAILABLE NODE-SELECTOR AGE | CONTAINERS IMAGES SELECTOR
ControllerRevision: NAME CONTROLLER REVISION AGE |
Job: NAME STATUS COMPLETIONS DURATION AGE | CONTAINERS IMAGES SELECTOR
CronJob: NAME SCHEDULE TIMEZONE SUSPEND ACTIVE LAST-SCHEDULE AGE | CONTAINERS IMAGES SELECTOR
Service: NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE | SELECTOR
Endpoints: NAME ENDPOINTS AGE |
EndpointSlice: NAME ADDRESSTYPE PORTS ENDPOINTS AGE |
ConfigMap: NAME DATA AGE |
Secret: NAME TYPE DATA AGE |
ServiceAccount: NAME SECRETS AGE |
Namespace: NAME STATUS AGE |
Node: NAME STATUS ROLES AGE VERSION | INTERNAL-IP EXTERNAL-IP OS-IMAGE KERNEL-VERSION CONTAINER-RUNTIME
PersistentVolumeClaim: NAME STATUS VOLUME CAPACITY ACCESS-MODES STORAGECLASS VOLUMEATTRIBUTESCLASS AGE | VOLUMEMODE
PersistentVolume: NAME CAPACITY ACCESS-MODES RECLAIM-POLICY STATUS CLAIM STORAGECLASS VOLUMEATTRIBUTESCLASS REASON AGE | VOLUMEMODE
StorageClass: NAME PROVISIONER RECLAIMPOLICY VOLUMEBINDINGMODE ALLOWVOLUMEEXPANSION AGE |
ResourceQuota: NAME REQUEST LIMIT AGE |
LimitRange: NAME CREATED-AT |
Event: LAST-SEEN TYPE REASON OBJECT MESSAGE | SUBOBJECT SOURCE FIRST-SEEN COUNT NAME
Lease: NAME HOLDER AGE |
HorizontalPodAutoscaler: NAME REFERENCE TARGETS MINPODS MAXPODS REPLICAS AGE |
PodDisruptionBudget: NAME MIN-AVAILABLE MAX-UNAVAILABLE ALLOWED-DISRUPTIONS AGE |
NetworkPolicy: NAME POD-SELECTOR AGE |
Ingress: NAME CLASS HOSTS ADDRESS PORTS AGE |
IngressClass: NAME CONTROLLER PARAMETERS AGE |
Role: NAME CREATED-AT |
ClusterRole: NAME CREATED-AT |
RoleBinding: NAME ROLE AGE | USERS GROUPS SERVICEACCOUNTS
ClusterRoleBinding: NAME ROLE AGE | USERS GROUPS SERVICEACCOUNTS
PriorityClass: NAME VALUE GLOBAL-DEFAULT AGE PREEMPTIONPOLICY |
MutatingWebhookConfiguration: NAME WEBHOOKS AGE |
ValidatingWebhookConfiguration: NAME WEBHOOKS AGE |
CustomResourceDefinition: NAME CREATED-AT |
"""
"""What kubectl prints of each kind; after the bar what only ``-o wide`` shows."""


@pytest.mark.parametrize("line", KUBECTL.strip().splitlines(), ids=lambda line: line.partition(":")[0])
def test_columns_are_kubectls(line):
    name, _, rest = line.partition(": ")
    narrow, _, wide = rest.partition("|")
    kind = next(kind for kind in CORE if kind.kind == name)
    columns = tables.render_table(kind, [], now=NOW)["columnDefinitions"]
    shown = {0: [], 1: []}
    for column in columns:
        shown[column["priority"]].append(column["name"].upper().replace(" ", "-"))
    assert shown == {0: narrow.split(), 1: wide.split()}


def test_every_stored_kind_has_its_columns():
    listed = {line.partition(":")[0] for line in KUBECTL.strip().splitlines()}
    assert {kind.kind for kind in CORE if "list" in kind.verbs} <= listed


def test_quotas_classes_and_revisions():
    quota = {"status": {"hard": {"limits.cpu": "2", "pods": "3", "cpu": "1"}, "used": {"pods": "1"}}}
    shown = row("", "ResourceQuota", quota)
    assert (shown["Request"], shown["Limit"]) == ("cpu: 0/1, pods: 1/3", "limits.cpu: 0/2")
    annotated = {"metadata": meta(annotations={"storageclass.kubernetes.io/is-default-class": "true"})}
    assert row("storage.k8s.io", "StorageClass", annotated)["Name"] == "x (default)"
    owner = {"controller": True, "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web"}
    revision = {"metadata": meta(ownerReferences=[owner]), "revision": 3}
    assert row("apps", "ControllerRevision", revision)["Controller"] == "statefulset.apps/web"
    spec = {"controller": "c", "parameters": {"apiGroup": "x.io", "kind": "P", "name": "n"}}
    assert row("networking.k8s.io", "IngressClass", {"spec": spec})["Parameters"] == "P.x.io/n"
