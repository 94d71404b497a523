"""`hack/cluster smoke`: proves a node with the smallest Knative Service and one event; takes seconds.

Called by __main__.py and by tests. In a namespace of its own, deleted at the end: a Service becomes Ready and answers
through the ingress; an event sent to a Broker reaches it through a Trigger, and its reply reaches a second subscriber.
"""

from __future__ import annotations

import contextlib
import http.client
import uuid

from realnode import api, box, images
from realnode.node import DOMAIN, INGRESS_PORT, ClusterError, Node
from realnode.progress import Progress

NAMESPACE = f"smoke-{uuid.uuid4().hex[:8]}"  # one of its own each time: the last one may not be gone yet
EVENTING = "eventing.knative.dev/v1"


def check(node: Node, progress: Progress) -> None:
    """Raises ClusterError with what did not come."""
    client = api.Api(node)
    client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    try:
        client.wait(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default", lambda _: "", 30)
        with progress.step("a Knative Service is Ready"):
            client.apply(service())
            path = f"/apis/serving.knative.dev/v1/namespaces/{NAMESPACE}/services/hello"
            client.wait(path, api.lacks("Ready"), 60)
        with progress.step("it answers through the ingress"):
            box.wait_for(lambda: answer(node) == "hello from smoke\n", "the answer through the ingress", 30)
        with progress.step("an event was delivered and its reply came back"):
            check_event(node, client)
    finally:
        client.delete(f"/api/v1/namespaces/{NAMESPACE}")


def container(name: str, answers_as: str, *more: dict[str, str]) -> api.Object:
    environment = [{"name": "NAME", "value": answers_as}, *more]
    return {"name": name, "image": images.HELLO_IMAGE, "imagePullPolicy": "IfNotPresent", "env": environment}


def placed(version: str, kind: str, name: str, **more: object) -> api.Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, **more}


def service() -> api.Object:
    template = {"spec": {"containers": [container("user-container", "smoke")]}}
    return placed("serving.knative.dev/v1", "Service", "hello", spec={"template": template})


def answer(node: Node) -> str:
    connection = http.client.HTTPConnection(node.ip, INGRESS_PORT, timeout=30)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", "/", headers={"Host": f"hello.{NAMESPACE}.{DOMAIN}"})
        return connection.getresponse().read().decode(errors="replace")
    return ""


def check_event(node: Node, client: api.Api) -> None:
    sink = container("sink", "sink", {"name": "PORT", "value": "8080"})
    pod = placed("v1", "Pod", "sink", spec={"containers": [sink], "terminationGracePeriodSeconds": 1})
    pod["metadata"]["labels"] = {"app": "sink"}
    ports = {"selector": {"app": "sink"}, "ports": [{"port": 80, "targetPort": 8080}]}
    to_service = {"ref": {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello"}}
    to_sink = {"ref": {"apiVersion": "v1", "kind": "Service", "name": "sink"}}
    client.apply_all(
        [pod, placed("v1", "Service", "sink", spec=ports), placed(EVENTING, "Broker", "default")]
    )
    for name, kind, subscriber in (
        ("asked", "smoke.request", to_service),
        ("replied", "smoke.reply", to_sink),
    ):
        spec = {"broker": "default", "filter": {"attributes": {"type": kind}}, "subscriber": subscriber}
        client.apply(placed(EVENTING, "Trigger", name, spec=spec))
    base = f"/apis/{EVENTING}/namespaces/{NAMESPACE}"
    for path in (f"{base}/brokers/default", f"{base}/triggers/asked", f"{base}/triggers/replied"):
        client.wait(path, api.lacks("Ready"), 60)
    client.wait(f"/api/v1/namespaces/{NAMESPACE}/pods/sink", api.lacks("Ready"), 60)
    broker = client.get("/api/v1/namespaces/knative-eventing/services/broker-ingress") or {}
    event_id = uuid.uuid4().hex
    # a Trigger that says Ready may lose its first event while the channel's dispatcher hears of it: send until answered
    sent_to = (broker["spec"]["clusterIP"], f"/{NAMESPACE}/default")
    box.wait_for(lambda: send(*sent_to, event_id) and was_answered(client, event_id), "the reply event", 60)


def send(host: str, path: str, event_id: str) -> bool:
    headers = {
        "Ce-Specversion": "1.0", "Ce-Id": event_id, "Ce-Type": "smoke.request", "Ce-Source": "/hack/cluster",
        "Content-Type": "application/json",
    }  # fmt: skip
    connection = http.client.HTTPConnection(host, 80, timeout=30)
    with contextlib.closing(connection):
        try:
            connection.request("POST", path, b'{"n": 1}', headers)
            return connection.getresponse().status == 202
        except OSError as error:
            raise ClusterError(f"the broker at http://{host}{path} does not take events: {error}") from error


def was_answered(client: api.Api, event_id: str) -> bool:
    status, log = client.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods/sink/log")
    return status == 200 and f"reply-{event_id}".encode() in log
