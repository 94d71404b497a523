"""A Service from apply to Ready: every object of Knative's chain, its names, labels, conditions, URLs."""

from knative_world import (
    AUTOSCALERS,
    CONFIGURATIONS,
    INGRESSES,
    REVISIONS,
    ROUTES,
    Platform,
    condition,
    is_ready,
)

from standalone.knative.resources import KSERVICES
from wakeful.kit.kube import DEPLOYMENTS, SERVICES

GROUP = "serving.knative.dev"


async def test_the_whole_chain(platform: Platform) -> None:
    await platform.apply(metadata={"labels": {"team": "a"}, "annotations": {"note": "b"}})
    service = await platform.ready()
    namespace = platform.namespace
    status = service["status"]
    assert status["url"] == f"http://svc.{namespace}.localhost:8080"
    assert status["address"] == {"url": f"http://svc.{namespace}.svc.cluster.local"}
    assert status["latestCreatedRevisionName"] == status["latestReadyRevisionName"] == "svc-00001"
    assert status["traffic"] == [{"revisionName": "svc-00001", "latestRevision": True, "percent": 100}]
    assert {c["type"] for c in status["conditions"]} == {"Ready", "ConfigurationsReady", "RoutesReady"}
    configuration, route = await platform.get(CONFIGURATIONS), await platform.get(ROUTES)
    labels = {"team": "a", f"{GROUP}/service": "svc"}
    assert route["metadata"]["labels"] == labels
    uid = service["metadata"]["uid"]
    assert configuration["metadata"]["labels"] == {**labels, f"{GROUP}/serviceUID": uid}
    for child in (configuration, route):
        assert child["metadata"]["annotations"]["note"] == "b"
        assert child["metadata"]["ownerReferences"][0]["uid"] == service["metadata"]["uid"]
    assert condition(route, "CertificateProvisioned")[:2] == ("True", "TLSNotEnabled")
    revision = await platform.get(REVISIONS, "svc-00001")
    labels = revision["metadata"]["labels"]
    assert labels[f"{GROUP}/configuration"] == labels[f"{GROUP}/service"] == "svc"
    assert labels[f"{GROUP}/configurationGeneration"] == "1"
    assert labels[f"{GROUP}/routingState"] == "active"
    assert revision["metadata"]["annotations"][f"{GROUP}/routes"] == "svc"
    assert condition(revision, "Active")[0] == "True"
    assert revision["status"]["actualReplicas"] == 1
    await platform.settle()


async def test_the_pod(platform: Platform) -> None:
    probe = {"httpGet": {"path": "/ready"}}
    container = {"image": "wakeful/echo:1", "ports": [{"containerPort": 9000}], "readinessProbe": probe}
    await platform.apply(spec={"containers": [container], "timeoutSeconds": 42})
    await platform.ready()
    deployment = await platform.get(DEPLOYMENTS, "svc-00001-deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert deployment["status"]["availableReplicas"] == 1
    (pod,) = await platform.pods()
    assert pod["metadata"]["ownerReferences"][0]["kind"] == "Deployment"
    assert pod["metadata"]["labels"][f"{GROUP}/revision"] == pod["metadata"]["labels"]["app"] == "svc-00001"
    assert pod["spec"]["terminationGracePeriodSeconds"] == 42
    found = pod["spec"]["containers"][0]
    assert found["name"] == "user-container"
    assert found["ports"] == [{"name": "user-port", "containerPort": 9000, "protocol": "TCP"}]
    assert {e["name"]: e["value"] for e in found["env"]} == {
        "K_REVISION": "svc-00001",
        "K_CONFIGURATION": "svc",
        "K_SERVICE": "svc",
        "PORT": "9000",
    }
    assert found["readinessProbe"]["httpGet"]["port"] == 9000
    assert found["readinessProbe"]["periodSeconds"] == 1
    assert found["terminationMessagePolicy"] == "FallbackToLogsOnError"


async def test_the_ingress_and_placeholders(platform: Platform) -> None:
    traffic = [{"latestRevision": True, "percent": 100, "tag": "now"}]
    await platform.apply(traffic=traffic)
    service = await platform.ready()
    namespace = platform.namespace
    assert service["status"]["traffic"][0]["url"] == f"http://now-svc.{namespace}.localhost:8080"
    ingress = await platform.get(INGRESSES)
    assert is_ready(ingress)
    rules = {tuple(rule["hosts"]): rule for rule in ingress["spec"]["rules"]}
    inside = (f"svc.{namespace}", f"svc.{namespace}.svc", f"svc.{namespace}.svc.cluster.local")
    assert rules[inside]["visibility"] == "ClusterLocal"
    assert rules[(f"svc.{namespace}.localhost",)]["visibility"] == "ExternalIP"
    path = rules[(f"now-svc.{namespace}.localhost",)]["http"]["paths"][0]
    assert path["appendHeaders"] == {"Knative-Serving-Tag": "now"}
    assert path["splits"] == [
        {
            "serviceName": "svc-00001",
            "serviceNamespace": namespace,
            "servicePort": 80,
            "percent": 100,
            "appendHeaders": {
                "Knative-Serving-Revision": "svc-00001",
                "Knative-Serving-Namespace": namespace,
            },
        }
    ]
    for name in ("svc", "now-svc"):
        placeholder = await platform.get(SERVICES, name)
        assert placeholder["spec"]["type"] == "ExternalName"
    await platform.apply(traffic=[{"latestRevision": True, "percent": 100}])
    await platform.ready()
    await platform.settle()
    assert await platform.client.find(SERVICES, namespace, "now-svc") is None


async def test_private_route(platform: Platform) -> None:
    await platform.apply(metadata={"labels": {"networking.knative.dev/visibility": "cluster-local"}})
    service = await platform.ready()
    assert service["status"]["url"] == f"http://svc.{platform.namespace}.svc.cluster.local"
    ingress = await platform.get(INGRESSES)
    assert [rule["visibility"] for rule in ingress["spec"]["rules"]] == ["ClusterLocal"]


async def test_deleting_the_service_removes_everything(platform: Platform) -> None:
    await platform.apply()
    await platform.ready()
    await platform.client.delete(KSERVICES, platform.namespace, "svc", propagationPolicy="Background")
    for resource in (CONFIGURATIONS, ROUTES, REVISIONS, AUTOSCALERS, INGRESSES, DEPLOYMENTS):
        name = {CONFIGURATIONS: "svc", ROUTES: "svc", INGRESSES: "svc"}.get(resource, "svc-00001")
        name = "svc-00001-deployment" if resource is DEPLOYMENTS else name
        await platform.gone(resource, name)


async def test_a_foreign_child_is_left_alone(platform: Platform) -> None:
    body = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Configuration",
        "metadata": {"name": "svc", "namespace": platform.namespace},
        "spec": {"template": {"spec": {"containers": [{"image": "wakeful/other:1"}]}}},
    }
    await platform.client.create(CONFIGURATIONS, platform.namespace, body)
    await platform.apply()
    service = await platform.until(
        KSERVICES, "svc", lambda s: condition(s, "ConfigurationsReady")[1] == "NotOwned"
    )
    assert condition(service, "Ready") == (
        "False",
        "NotOwned",
        'There is an existing Configuration "svc" that we do not own.',
    )
    assert (await platform.get(CONFIGURATIONS))["spec"]["template"]["spec"]["containers"][0][
        "image"
    ] == "wakeful/other:1"
