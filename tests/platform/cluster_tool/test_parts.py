"""The parts of hack/cluster that need no node: pins, addresses, archives, certificates, manifests, refusals."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
import tomllib
from pathlib import Path
from typing import Any

import pytest
from realnode import archive, build, components, knative, lifecycle, needs, pki
from realnode.archive import Image, Layer
from realnode.node import HERE, KUBERNETES_VERSION, MOST_NODES, ClusterError, Node
from realnode.progress import Progress

ROOT = Path(__file__).resolve().parents[3]
QUIET = Progress(quiet=True)


def test_every_tool_of_go_mod_is_built_and_in_one_group_only() -> None:
    prefixes = [prefix for _, prefix in build.GROUPS.values()]
    assert build.tools()
    assert [tool for tool in build.tools() if sum(tool.startswith(prefix) for prefix in prefixes) != 1] == []


def test_go_mod_pins_the_kubernetes_that_programs_report_and_no_file_names_a_host() -> None:
    assert f"require k8s.io/kubernetes {KUBERNETES_VERSION}" in (HERE / "go.mod").read_text()
    texts = [path.read_text() for path in (HERE / "go.mod", HERE / "envoy.txt", *HERE.rglob("*.py"))]
    assert [text for text in texts if "proxy.golang" in text or "pypi" in text or "registry." in text] == []


def test_networks_of_all_nodes_are_apart() -> None:
    nodes = [Node(index, Path("/c")) for index in range(MOST_NODES)]
    texts = [text for node in nodes for text in (f"{node.ip}/24", node.pod_network, node.service_network)]
    networks = [ipaddress.ip_network(text, strict=False) for text in texts]
    assert [pair for pair in itertools.combinations(networks, 2) if pair[0].overlaps(pair[1])] == []
    assert all(len(node.host_link) <= 15 for node in nodes)  # the kernel's bound


def test_the_key_follows_the_content(tmp_path: Path) -> None:
    file = tmp_path / "go.mod"
    file.write_text("a")
    first = build.key_of([file], "flags")
    assert build.key_of([file], "flags") == first
    assert build.key_of([file], "other flags") != first
    file.write_text("b")
    assert build.key_of([file], "flags") != first


def test_an_archive_is_the_same_twice_and_stores_equal_layers_once(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    ground = Layer(texts={"/etc/passwd": "x"}, folders={"/tmp": 0o1777})
    images = [
        Image(f"dev.local/{name}:1", (ground, Layer(files={f"/app/{name}": program})), "/app")
        for name in "ab"
    ]
    digests = set()
    for name in ("one.tar", "two.tar"):
        archive.write(tmp_path / name, images)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    with tarfile.open(tmp_path / "one.tar") as tar:
        layers = [name for name in tar.getnames() if name.endswith(".tar")]
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        (shared,) = set(manifest[0]["Layers"]) & set(manifest[1]["Layers"])
        config = json.load(tar.extractfile(manifest[0]["Config"]))  # type: ignore[arg-type]
        with tarfile.open(fileobj=tar.extractfile(shared)) as layer:
            modes = {entry.name: entry.mode for entry in layer}
    assert len(layers) == 3
    assert config["config"]["User"] == "65532:65532"
    assert modes == {"etc": 0o755, "etc/passwd": 0o644, "tmp": 0o1777}


@pytest.mark.parametrize("host", ["10.89.3.2", "kubernetes.default.svc", "127.0.0.1"])
def test_certificates_pass_the_strict_checks_of_newer_pythons(tmp_path: Path, host: str) -> None:
    node = Node(3, tmp_path)
    pki.write_all(node)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(node.pki / "apiserver.crt", node.pki / "apiserver.key")
    server.load_verify_locations(node.pki / "ca.crt")
    server.verify_mode = ssl.CERT_REQUIRED
    client = ssl.create_default_context(cafile=node.pki / "ca.crt")
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_cert_chain(node.pki / "admin.crt", node.pki / "admin.key")
    near, far = socket.socketpair()
    seen: list[Any] = []

    def serve() -> None:
        with server.wrap_socket(far, server_side=True) as tls:
            seen.append(tls.getpeercert())
            tls.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    with client.wrap_socket(near, server_hostname=host) as tls:
        assert tls.recv(1) == b"x"
    thread.join(10)
    assert (("organizationName", "system:masters"),) in seen[0]["subject"]
    assert node.kubeconfig().stat().st_mode & 0o077 == 0
    assert (
        json.loads(node.kubeconfig().read_text())["clusters"][0]["cluster"]["server"]
        == "https://10.89.3.2:6443"
    )


def workload(image: str) -> dict[str, Any]:
    probe = {"periodSeconds": 10, "initialDelaySeconds": 3}
    container = {"name": "c", "image": image, "resources": {"limits": {"cpu": "1"}}, "readinessProbe": probe}
    spec = {"template": {"spec": {"containers": [container]}}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


def test_workloads_get_local_images_and_small_requests() -> None:
    fitted = knative.fit(workload("ko://knative.dev/serving/cmd/activator"))
    assert fitted is not None
    (container,) = fitted["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "dev.local/knative.dev/serving/cmd/activator:node"
    assert container["imagePullPolicy"] == "IfNotPresent"
    assert container["resources"] == knative.SMALL
    assert container["readinessProbe"] == {"periodSeconds": 1}


def test_settings_are_merged_into_knatives_own_and_the_ingress_has_a_port() -> None:
    autoscaler = {"kind": "ConfigMap", "metadata": {"name": "config-autoscaler"}, "data": {"max-scale": "3"}}
    fitted = knative.fit(autoscaler)
    assert fitted is not None
    assert fitted["data"] == {"max-scale": "3", **knative.CONFIG["config-autoscaler"]}
    service = {
        "kind": "Service",
        "metadata": {"name": "kourier"},
        "spec": {"type": "LoadBalancer", "ports": [{}]},
    }
    fitted = knative.fit(service)
    assert fitted is not None
    assert fitted["spec"] == {"type": "NodePort", "ports": [{"nodePort": 31080}]}
    assert knative.fit({"kind": "HorizontalPodAutoscaler", "metadata": {"name": "activator"}}) is None


def test_configuration_files_can_be_read(tmp_path: Path) -> None:
    node = Node(2, tmp_path)
    components.write_configuration(node)
    for name in ("kubelet.json", "proxy.json", "cni/10-bridge.conflist"):
        assert json.loads((node.run / name).read_text())
    assert tomllib.loads((node.run / "containerd.toml").read_text())["grpc"]["address"] == str(
        node.containerd_socket
    )
    for name in components.COMPONENTS:
        assert len(components.command(node, Path("/programs"), name)) >= 3


def test_a_node_of_another_cache_folder_is_left_alone(tmp_path: Path, needs_root: None) -> None:
    theirs, ours = Node(14, tmp_path / "theirs"), Node(14, tmp_path / "ours")
    theirs.run.mkdir(parents=True)
    with lifecycle.owned(theirs, QUIET):
        pass
    with pytest.raises(ClusterError, match=r"node 14 belongs to the cache folder .*/theirs"):
        lifecycle.down(ours, QUIET)
    theirs.run.rmdir()
    with lifecycle.owned(ours, QUIET):  # what does not exist owns nothing
        pass


def test_purge_is_refused_while_a_node_exists(tmp_path: Path) -> None:
    Node(4, tmp_path).run.mkdir(parents=True)
    with pytest.raises(ClusterError, match=r"nodes \[4\] exist"):
        lifecycle.purge(tmp_path, QUIET)
    Node(4, tmp_path).run.rmdir()
    lifecycle.purge(tmp_path, QUIET)
    assert not tmp_path.exists()


def test_old_builds_go_and_those_of_nodes_stay(tmp_path: Path) -> None:
    for name in ("programs-old", "programs-node", "programs-new", "images-old.partial", "run"):
        (tmp_path / name).mkdir()
    node = Node(0, tmp_path)
    node.run.mkdir(parents=True)
    node.origin.write_text(json.dumps({"names": ["programs-node"], "programs": "x"}))
    build.forget_older(tmp_path, ["programs-new", *lifecycle.used_by_nodes(tmp_path)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["programs-new", "programs-node", "run"]


def run_tool(
    *arguments: str, cache: Path, path: str = os.environ["PATH"]
) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": path,
        "HOME": str(cache),
        "WAKEFUL_CLUSTER_CACHE": str(cache),
        "PYTHONPATH": str(HERE),
    }
    command = (sys.executable, "-m", "realnode", *arguments)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build",), rf"^hack/cluster: hack/cluster needs Go {'.'.join(map(str, needs.OLDEST_GO))} or newer"),
        (("env",), r"^hack/cluster: node 0 is not up: run hack/cluster up$"),
        (
            ("kill", "apiserver", "--index", "3"),
            r"node 3 is not up: run hack/cluster up --index 3|needs root",
        ),
        (("restart", "nothing"), r"node 0 is not up|needs root"),
        (("logs", "etcd"), r"node 0 has no log etcd; it has none"),
        (("up", "--index", "16"), r"a node's number is 0 to 15, not 16"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_what_cannot_be_done_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    result = run_tool(*arguments, cache=tmp_path, path="/nowhere")
    assert result.returncode != 0
    assert re.search(message, result.stderr.strip().splitlines()[-1]), result.stderr
    assert "Traceback" not in result.stderr


def test_status_of_no_node_is_one_thing(tmp_path: Path) -> None:
    result = run_tool("status", "--json", cache=tmp_path)
    assert result.returncode == 1
    assert json.loads(result.stdout)["problems"] == ["it is not up (hack/cluster up)"]
