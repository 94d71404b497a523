"""The programs of a node: their command lines and their configuration files, in the order in which they start.

Called by lifecycle.py; starts nothing itself. Paths such as /var/lib/kubelet and /run/containerd are the box's own
(box.sh), so the defaults of these programs hold. Left out: a metrics server, a cloud provider, network policies (the
bridge network does not enforce them).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from realnode.images import PAUSE_IMAGE
from realnode.node import API_PORT, NODE_NAME, Node

Command = tuple[str | Path, ...]
ETCD_URL = "http://127.0.0.1:2379"
ETCD_PEER_URL = "http://127.0.0.1:2380"
MOST_PODS = 250


def write_configuration(node: Node) -> None:
    """All files that the command lines below name; written anew at each start of the node."""
    files: Mapping[str, str] = {
        "containerd.toml": containerd_toml(node),
        "cni/10-bridge.conflist": json.dumps(network_configuration(node)),
        "kubelet.json": json.dumps(kubelet_configuration(node)),
        "proxy.json": json.dumps(proxy_configuration(node)),
        "Corefile": corefile(node),
        "resolv.conf": f"nameserver {node.ip}\n",
    }
    for name, text in files.items():
        path = node.run / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def command(node: Node, programs: Path, name: str) -> Command:
    """The command line of a component (a key of COMPONENTS); `programs` is the folder that build.py made."""
    return COMPONENTS[name](node, programs / "node")


def containerd(node: Node, _: Path) -> Command:
    return ("containerd", "--config", node.run / "containerd.toml")


def etcd(node: Node, programs: Path) -> Command:
    # no fsync: a killed process loses nothing, only a machine that loses power does
    return (
        programs / "etcd", "--name", "node", "--data-dir", node.run / "etcd", "--unsafe-no-fsync",
        "--log-level", "warn", "--listen-client-urls", ETCD_URL, "--advertise-client-urls", ETCD_URL,
        "--listen-peer-urls", ETCD_PEER_URL, "--initial-advertise-peer-urls", ETCD_PEER_URL,
        "--initial-cluster", f"node={ETCD_PEER_URL}",
    )  # fmt: skip


def apiserver(node: Node, programs: Path) -> Command:
    pki = node.pki
    issuer = "https://kubernetes.default.svc.cluster.local"
    return (
        programs / "kube-apiserver", "--etcd-servers", ETCD_URL, "--bind-address", "0.0.0.0",
        "--advertise-address", node.ip, "--secure-port", str(API_PORT), "--allow-privileged",
        "--service-cluster-ip-range", node.service_network, "--kubelet-preferred-address-types", "InternalIP",
        "--client-ca-file", pki / "ca.crt",
        "--tls-cert-file", pki / "apiserver.crt", "--tls-private-key-file", pki / "apiserver.key",
        "--kubelet-certificate-authority", pki / "ca.crt",
        "--kubelet-client-certificate", pki / "kubelet-client.crt", "--kubelet-client-key", pki / "kubelet-client.key",
        "--service-account-issuer", issuer, "--service-account-key-file", pki / "sa.pub",
        "--service-account-signing-key-file", pki / "sa.key",
        "--authorization-mode", "Node,RBAC", "--enable-admission-plugins", "NodeRestriction", "--profiling=false",
    )  # fmt: skip


def controller_manager(node: Node, programs: Path) -> Command:
    pki = node.pki
    return (
        programs / "kube-controller-manager", "--kubeconfig", node.kubeconfig("controller-manager"),
        "--leader-elect=false", "--use-service-account-credentials", "--root-ca-file", pki / "ca.crt",
        "--service-account-private-key-file", pki / "sa.key",
        "--cluster-signing-cert-file", pki / "ca.crt", "--cluster-signing-key-file", pki / "ca.key",
    )  # fmt: skip


def scheduler(node: Node, programs: Path) -> Command:
    return (programs / "kube-scheduler", "--kubeconfig", node.kubeconfig("scheduler"), "--leader-elect=false")


def kubelet(node: Node, programs: Path) -> Command:
    return (
        programs / "kubelet", "--config", node.run / "kubelet.json", "--kubeconfig", node.kubeconfig("kubelet"),
        "--hostname-override", NODE_NAME, "--node-ip", node.ip,
    )  # fmt: skip


def proxy(node: Node, programs: Path) -> Command:
    return (programs / "kube-proxy", "--config", node.run / "proxy.json")


def dns(node: Node, programs: Path) -> Command:
    return (programs / "dns", "-conf", node.run / "Corefile")


# The order is the order of starting: each needs only what stands before it.
COMPONENTS: Mapping[str, Callable[[Node, Path], Command]] = {
    "containerd": containerd,
    "etcd": etcd,
    "apiserver": apiserver,
    "controller-manager": controller_manager,
    "scheduler": scheduler,
    "proxy": proxy,
    "dns": dns,
    "kubelet": kubelet,
}


def containerd_toml(node: Node) -> str:
    """`restrict_oom_score_adj`: in a container (CI) a process may not ask for less than it has itself."""
    return f"""version = 2
[grpc]
  address = "{node.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{node.run}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{node.run}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
"""


def network_configuration(node: Node) -> dict[str, object]:
    """A bridge without masquerading: pods reach this machine at its address 10.89.N.1, which knows the way back."""
    addresses = {
        "type": "host-local",
        "dataDir": str(node.run / "ipam"),
        "ranges": [[{"subnet": node.pod_network}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True}
    return {"cniVersion": "0.4.0", "name": "node", "plugins": [{**bridge, "ipam": addresses}]}


def kubelet_configuration(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(node.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(node.pki / "kubelet.crt"),
        "tlsPrivateKeyFile": str(node.pki / "kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.netns}",
        "volumePluginDir": str(node.run / "volume-plugins"),
        "clusterDNS": [node.ip],
        "clusterDomain": "cluster.local",
        "resolvConf": str(node.run / "resolv.conf"),
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "failSwapOn": False,
        "maxPods": MOST_PODS,
        "imageGCHighThresholdPercent": 100,  # nothing could be pulled again
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
    }


def proxy_configuration(node: Node) -> dict[str, object]:
    none = "0s"  # connection tracking keeps the machine's own limits
    tracking = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": none, "tcpCloseWaitTimeout": none}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(node.kubeconfig("proxy"))},
        "clusterCIDR": node.pod_network,
        "hostnameOverride": NODE_NAME,
        "conntrack": tracking,
        "iptables": {"syncPeriod": "30s", "minSyncPeriod": "0s"},
    }


def corefile(node: Node) -> str:
    """Names of the cluster, and NXDOMAIN at once for all others: the node has no way out."""
    return f""".:53 {{
    bind {node.ip}
    errors
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {node.kubeconfig("dns")}
        ttl 5
    }}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""
