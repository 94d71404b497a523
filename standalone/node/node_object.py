"""The Node ``wakeful`` and its Lease: what kubectl and controllers see of this machine.

Called by ``__main__``. Creates both, renews the Lease every 10 s and the Ready condition every 60 s as a kubelet
does, and says NotReady when the node ends. Invariant: a renewal that fails is tried again; it never ends the node.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp

from wakeful.core.api import instants
from wakeful.kit import logs
from wakeful.kit.kube import NAMESPACES, NODES, ApiError, KubeClient, Resource

Obj = dict[str, Any]

NAME = "wakeful"
LEASES = Resource("coordination.k8s.io", "v1", "leases")
LEASE_NAMESPACE = "kube-node-lease"
RENEW_S = 10.0
STATUS_EVERY = 6
LIMITS = "node.wakeful.dev/limits"
ENGINE = "node.wakeful.dev/container-engine"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is said about this machine."""

    capacity: Mapping[str, str]
    limits: str
    engine: str
    version: str


async def run(client: KubeClient, facts: Facts) -> None:
    """Create and renew, for ever."""
    log = logs.get("node.object")
    rounds = 0
    while True:
        try:
            if rounds % STATUS_EVERY == 0:
                await _write_node(
                    client, facts, "True", "KubeletReady", "wakeful node is posting ready status"
                )
            await _renew(client)
            rounds += 1
        except (ApiError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("node not written", error=repr(error))
            rounds = 0
            await asyncio.sleep(1.0)
            continue
        await asyncio.sleep(RENEW_S)


async def say_stopped(client: KubeClient, facts: Facts) -> None:
    """Mark the node NotReady; a short attempt, since everything may be ending."""
    with contextlib.suppress(ApiError, aiohttp.ClientError, OSError, TimeoutError):
        async with asyncio.timeout(1.0):
            await _write_node(client, facts, "False", "KubeletNotReady", "node is shutting down")


async def _write_node(client: KubeClient, facts: Facts, ready: str, reason: str, message: str) -> None:
    body: Obj = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": NAME,
            "labels": {
                "kubernetes.io/hostname": NAME,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": _architecture(),
            },
            "annotations": {LIMITS: facts.limits, ENGINE: facts.engine},
        },
        "spec": {},
    }
    existing = await client.find(NODES, None, NAME)
    if existing is None:
        existing = await client.create(NODES, None, body)
    elif (existing["metadata"].get("annotations") or {}).get(LIMITS) != facts.limits:
        await client.patch(NODES, None, NAME, {"metadata": body["metadata"]})
    status = {"status": _status(facts, existing, (ready, reason, message))}
    await client.patch(NODES, None, NAME, status, subresource="status")


def _status(facts: Facts, existing: Obj, ready: tuple[str, str, str]) -> Obj:
    now = instants.render(datetime.now(UTC))
    old = {c["type"]: c for c in (existing.get("status") or {}).get("conditions") or []}

    def condition(kind: str, status: str, reason: str, message: str) -> Obj:
        before = old.get(kind) or {}
        since = before.get("lastTransitionTime") if before.get("status") == status else None
        return {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": since or now,
        }

    return {
        "capacity": dict(facts.capacity),
        "allocatable": dict(facts.capacity),
        "addresses": [
            {"type": "InternalIP", "address": "127.0.0.1"},
            {"type": "Hostname", "address": NAME},
        ],
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "not measured on one machine"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "not measured on one machine"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID", "not measured on one machine"),
            condition("Ready", *ready),
        ],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
        "nodeInfo": {
            "architecture": _architecture(),
            "bootID": "",
            "containerRuntimeVersion": f"process://{facts.version}",
            "kernelVersion": platform.release(),
            "kubeProxyVersion": "",
            "kubeletVersion": f"v{facts.version}-wakeful",
            "machineID": socket.gethostname(),
            "operatingSystem": "linux",
            "osImage": platform.platform(),
            "systemUUID": "",
        },
    }


async def _renew(client: KubeClient) -> None:
    now = instants.render_micro(datetime.now(UTC))
    spec = {"holderIdentity": NAME, "leaseDurationSeconds": 40, "renewTime": now}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": LEASE_NAMESPACE},
        "spec": spec,
    }
    try:
        await client.patch(LEASES, LEASE_NAMESPACE, NAME, {"spec": spec})
    except ApiError as error:
        if error.code != 404:
            raise
        if await client.find(NAMESPACES, None, LEASE_NAMESPACE) is None:
            await client.create(NAMESPACES, None, {"metadata": {"name": LEASE_NAMESPACE}})
        await client.create(LEASES, LEASE_NAMESPACE, lease)


def _architecture() -> str:
    machine = platform.machine()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def memory_bytes() -> int:
    """The machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
