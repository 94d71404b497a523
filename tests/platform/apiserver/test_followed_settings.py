"""Knative's admission decides by the ConfigMaps that are there now: after a write, after a restart, after a deletion."""

from __future__ import annotations

from cluster_api import Answer, Api, eventually
from server_process import ServerProcess

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVICES = "/apis/serving.knative.dev/v1/namespaces/default/services"
MAPS = "/api/v1/namespaces/knative-serving/configmaps"


def serve_knative_services(api: Api) -> None:
    names = {"plural": "services", "singular": "service", "kind": "Service", "listKind": "ServiceList"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    spec = {
        "group": "serving.knative.dev",
        "scope": "Namespaced",
        "names": names,
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }
    api.post(DEFINITIONS, {"metadata": {"name": "services.serving.knative.dev"}, "spec": spec}).ok()
    eventually(lambda: api.get(SERVICES).status == 200, "Knative Services are not served")
    api.post("/api/v1/namespaces", {"metadata": {"name": "knative-serving"}}).ok()


def begin_with_no_pod(api: Api) -> Answer:
    notes = {"autoscaling.knative.dev/initial-scale": "0"}
    template = {"metadata": {"annotations": notes}, "spec": {"containers": [{"image": "python:3.11"}]}}
    body = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"generateName": "none-"},
        "spec": {"template": template},
    }
    return api.post(SERVICES, body)


def test_a_setting_is_in_force_with_the_next_write(server: ServerProcess) -> None:
    api = server.api()
    serve_knative_services(api)
    refused = begin_with_no_pod(api)
    assert refused.status == 400 and "allow-zero-initial-scale is false" in refused.body["message"]
    settings = {
        "metadata": {"name": "config-autoscaler"},
        "data": {"allow-zero-initial-scale": "true"},
    }
    api.post(MAPS, settings).ok()
    assert begin_with_no_pod(api).status == 201
    server.stop()
    server.start()
    api = server.api()
    assert begin_with_no_pod(api).status == 201
    api.delete(f"{MAPS}/config-autoscaler").ok()
    assert begin_with_no_pod(api).status == 400
