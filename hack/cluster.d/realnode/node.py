"""Where one node of `hack/cluster` lives: its number, addresses, names and folders. Every other module takes a `Node`.

Several nodes (each a cluster of its own) run side by side; node N has the network namespace wkcN, the addresses
10.89.N.1 (this machine) and 10.89.N.2 (the node), the pods 10.245.N.0/24 and the services 10.(112+N).0.0/16.
Built things are shared by all nodes (the cache folder), state is not (`run/N` below it).
Invariant: no other module makes up a path, an address or a name that the kernel knows.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]  # hack/cluster.d: go.mod, go.sum, apps and envoy.txt
MOST_NODES = 16
KUBERNETES_VERSION = "v1.34.4"
INGRESS_PORT = 31080
API_PORT = 6443
DOMAIN = "example.com"
NODE_NAME = "node1"


class ClusterError(Exception):
    """Something the user must do or know; the text is one line: what is wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node: `index` is 0 to 15, `cache` the folder that built things and states live in."""

    index: int
    cache: Path

    @property
    def run(self) -> Path:
        return self.cache / "run" / str(self.index)

    @property
    def netns(self) -> str:
        """Also the name of the cgroup that the pods live under."""
        return f"wkc{self.index}"

    @property
    def host_link(self) -> str:
        return f"wkc{self.index}-host"

    @property
    def node_link(self) -> str:
        return f"wkc{self.index}-node"

    @property
    def host_ip(self) -> str:
        return f"10.89.{self.index}.1"

    @property
    def ip(self) -> str:
        return f"10.89.{self.index}.2"

    @property
    def pod_network(self) -> str:
        return f"10.245.{self.index}.0/24"

    @property
    def pod_gateway(self) -> str:
        return f"10.245.{self.index}.1"

    @property
    def service_network(self) -> str:
        return f"10.{112 + self.index}.0.0/16"

    @property
    def api_service_ip(self) -> str:
        return f"10.{112 + self.index}.0.1"

    @property
    def api_url(self) -> str:
        return f"https://{self.ip}:{API_PORT}"

    @property
    def ingress_url(self) -> str:
        return f"http://{self.ip}:{INGRESS_PORT}"

    @property
    def containerd_socket(self) -> Path:
        return self.run / "containerd.sock"

    @property
    def logs(self) -> Path:
        return self.run / "log"

    @property
    def pki(self) -> Path:
        return self.run / "pki"

    @property
    def origin(self) -> Path:
        """Written first by `up`: which built things the node is made of."""
        return self.run / "origin.json"

    @property
    def ready_mark(self) -> Path:
        """Written last by `up`: without it the run state is that of an interrupted start."""
        return self.run / "ready"

    def kubeconfig(self, user: str = "admin") -> Path:
        return self.run / f"{user}.kubeconfig"


def cache_folder() -> Path:
    """$WAKEFUL_CLUSTER_CACHE, else wakeful/cluster in the user's cache folder. A bad choice raises ClusterError."""
    chosen = os.environ.get("WAKEFUL_CLUSTER_CACHE")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(chosen).absolute() if chosen else home / "wakeful" / "cluster"
    for hidden in ("/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys", "/dev"):
        if folder.is_relative_to(hidden):
            raise ClusterError(
                f"{folder} lies below {hidden}, which the node replaces: set WAKEFUL_CLUSTER_CACHE"
            )
    if len(str(folder)) > 70:  # unix sockets below it may be 107 bytes long
        raise ClusterError(
            f"{folder} is too long a path for sockets: set WAKEFUL_CLUSTER_CACHE to a shorter one"
        )
    return folder


def parse_index(text: str) -> int:
    """The number of a node from the command line; argparse prints what is wrong with it."""
    if not text.isdecimal() or int(text) >= MOST_NODES:
        raise argparse.ArgumentTypeError(f"a node's number is 0 to {MOST_NODES - 1}, not {text}")
    return int(text)
