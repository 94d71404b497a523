"""Builds the home that the command line names: the only place that knows both.

Called by the suite's conftest. A kubeconfig means a cluster that is already there; without one the cluster is started.
"""

from __future__ import annotations

from pathlib import Path

from e2e.homes.cluster import ClusterHome, Found
from e2e.homes.port import Home, HomeError
from e2e.homes.standalone import StandaloneHome

HOMES = ("standalone", "cluster")


def build(name: str, kubeconfig: str | None, ingress: str | None, host_address: str | None) -> Home:
    """The home called ``name``. Raises ``HomeError`` when the options do not fit together."""
    if name == "standalone":
        if kubeconfig:
            raise HomeError("--kubeconfig is for --home cluster")
        return StandaloneHome()
    if (kubeconfig is None) != (ingress is None):
        raise HomeError("--kubeconfig and --ingress go together")
    if kubeconfig is None or ingress is None:
        return ClusterHome(None)
    return ClusterHome(Found(Path(kubeconfig), ingress, host_address or ""))
