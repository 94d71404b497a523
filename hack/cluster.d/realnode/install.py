"""What goes into a running Kubernetes to make it a node for tests: images, DNS's role, Knative; and the waits for them.

Called by lifecycle.py. Invariant: everything is applied with force by one field manager, so applying again is safe;
every wait has a deadline and says what it lacked.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from realnode import api, box, knative
from realnode.node import INGRESS_PORT, NODE_NAME, ClusterError, Node
from realnode.progress import Progress, read

NODE_READY_S = 90.0
KNATIVE_READY_S = 240.0
INGRESS_READY_S = 60.0
IMPORT_S = 600.0
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
DNS_ROLE = "system:coredns"


@contextlib.contextmanager
def importing(node: Node, folder: Path) -> Iterator[Callable[[], None]]:
    """Imports all archives of a folder beside the block, which calls what it is given to wait for the end.

    Leaving the block early (Ctrl-C, an error) ends the import.
    """
    script = (
        'for archive; do "$0" --address "$SOCKET" --namespace k8s.io images import "$archive" || exit; done'
    )
    archives = sorted(str(path) for path in folder.glob("*.tar"))
    log = node.logs / "import.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            ("/bin/sh", "-c", script, "ctr", *archives), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env={**os.environ, "SOCKET": str(node.containerd_socket)}, start_new_session=True,
        )  # fmt: skip

    def finish() -> None:
        if process.wait(IMPORT_S) != 0:
            raise ClusterError(
                f"the node's images could not be imported; {log} ends with:\n  {log.read_text()[-800:]}"
            )

    try:
        yield finish
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def import_image(node: Node, path: Path) -> list[str]:
    """Imports one archive and returns the names of the images in it."""
    command = ("ctr", "--address", node.containerd_socket, "--namespace", "k8s.io", "images", "import", path)
    return re.findall(r"^unpacking (\S+)", read(command), re.MULTILINE)


def apply_knative(
    client: api.Api, manifests: Path, finish_import: Callable[[], None], progress: Progress
) -> None:
    """Applies everything but workloads while the images come in, so that no pod has to look for its image twice."""
    first = json.loads((manifests / "first.json").read_text())
    rest = json.loads((manifests / "rest.json").read_text())
    with progress.step("applied Knative's kinds and settings"):
        client.apply_all(first)
        for found in first:
            if found["kind"] == "CustomResourceDefinition":
                path = f"/apis/{found['apiVersion']}/customresourcedefinitions/{found['metadata']['name']}"
                client.wait(path, api.lacks("Established"), 30)
        client.apply_all(found for found in rest if found["kind"] not in WORKLOADS)
    with progress.step("the node is Ready"):
        wait_for_node(client)
    with progress.step("the node's images are imported"):
        finish_import()
    with progress.step("Knative Serving, Kourier and Knative Eventing are available"):
        client.apply_all(found for found in rest if found["kind"] in WORKLOADS)
        wait_for_knative(client)


def dns_role() -> list[api.Object]:
    rules = [
        {
            "apiGroups": [""],
            "resources": ["endpoints", "services", "pods", "namespaces"],
            "verbs": ["list", "watch"],
        },
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    group = "rbac.authorization.k8s.io"
    head = {"apiVersion": f"{group}/v1", "metadata": {"name": DNS_ROLE}}
    return [
        {**head, "kind": "ClusterRole", "rules": rules},
        {
            **head,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": DNS_ROLE},
            "subjects": [{"apiGroup": group, "kind": "User", "name": DNS_ROLE}],
        },
    ]


def wait_for_node(client: api.Api) -> None:
    """Ready, and seen alive since this call: right after a restart the condition is still that of the life before."""
    begin = datetime.now(UTC)

    def is_alive(lease: api.Object) -> str:
        renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
        return "" if renewed >= begin else f"was last renewed {renewed.isoformat()}"

    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE_NAME}"
    client.wait(path, is_alive, NODE_READY_S)
    client.wait(f"/api/v1/nodes/{NODE_NAME}", api.lacks("Ready"), NODE_READY_S)


def wait_for_knative(client: api.Api) -> None:
    for namespace in knative.NAMESPACES:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        client.wait(path, api.all_lack("Available"), KNATIVE_READY_S)


def wait_for_ingress(node: Node) -> None:
    """Kourier answers (404: it knows no such host) at the node's port."""

    def answers() -> bool:
        connection = http.client.HTTPConnection(node.ip, INGRESS_PORT, timeout=2)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", "/")
            return connection.getresponse().status == 404
        return False

    box.wait_for(answers, f"an answer of the ingress {node.ingress_url}", INGRESS_READY_S)
