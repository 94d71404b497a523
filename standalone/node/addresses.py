"""Loopback ports for pods: which container port is which port on 127.0.0.1.

Called by worker and launch. Ports come from 20000 to 29999, below the range the kernel takes outgoing connections
from (32768 and up on Linux), so that a port that was checked free is not taken before the pod's program binds it;
a port given by ``bind(0)`` could be. Invariant: a port is given to one pod at a time, and a pod keeps its ports until
it is removed.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any

FIRST, LAST = 20000, 29999


class NoPortError(Exception):
    """Every port of the range is taken."""


class PortAllocator:
    """The ports given out by this node."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)
        self._taken: dict[int, str] = {}

    def reserve(self, uid: str, ports: Iterable[int]) -> None:
        """Mark ports that a pod of an earlier node process has."""
        self._taken.update(dict.fromkeys(ports, uid))

    def give(self, uid: str) -> int:
        """A free port for the pod ``uid``. Raises ``NoPortError``."""
        first = self._random.randint(FIRST, LAST)
        span = LAST - FIRST + 1
        for offset in range(span):
            port = FIRST + (first - FIRST + offset) % span
            if port not in self._taken and _is_free(port):
                self._taken[port] = uid
                return port
        raise NoPortError(f"no free port between {FIRST} and {LAST} on 127.0.0.1")

    def release(self, uid: str) -> None:
        """Take back every port of a pod."""
        self._taken = {port: owner for port, owner in self._taken.items() if owner != uid}


def _is_free(port: int) -> bool:
    for address in ("127.0.0.1", "0.0.0.0"):  # asks whether another program listens
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
            except OSError:
                return False
    return True


_LISTENS = re.compile(r"--http[_-]port(?:=(\d+))?")
_NEIGHBOUR = re.compile(r"(?<![\w.])(localhost|127\.0\.0\.1):(\d+)(?!\d)")


def listens_on(words: Iterable[Any]) -> int | None:
    """The container port of the last ``--http_port`` among a container's args: where a model server listens."""
    found, is_next = None, False
    for word in map(str, words):
        match = _LISTENS.fullmatch(word)
        number = match[1] if match else word if is_next else None
        if number and number.isdigit() and 0 < int(number) < 65536:
            found = int(number)
        is_next = match is not None and match[1] is None
    return found


def neighbours(text: str, ports: Mapping[int, int]) -> str:
    """``text`` with ``localhost:N`` as the loopback port of container port N, where the pod has that port."""
    return _NEIGHBOUR.sub(lambda m: f"{m[1]}:{ports.get(int(m[2]), int(m[2]))}", text)


def wanted(container: Mapping[str, Any]) -> set[int]:
    """The container ports a spec names: declared ports, ``--http_port``, numeric probe and hook ports, and ``PORT``."""
    ports = {int(port["containerPort"]) for port in container.get("ports") or []}
    own = listens_on([*(container.get("command") or []), *(container.get("args") or [])])
    if own is not None:
        ports.add(own)
    hooks = container.get("lifecycle") or {}
    actions = [container.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")]
    actions += [hooks.get("preStop"), hooks.get("postStart")]
    for action in actions:
        for kind in ("httpGet", "tcpSocket", "grpc"):
            target = (action or {}).get(kind) or {}
            port = target.get("port")
            if not target.get("host") and str(port).isdigit() and int(str(port)) > 0:
                ports.add(int(str(port)))
    for entry in container.get("env") or []:
        if entry.get("name") == "PORT" and str(entry.get("value") or "").isdigit():
            ports.add(int(entry["value"]))
    return ports


def resolve(container: Mapping[str, Any], ports: Mapping[int, int], port: Any) -> int:
    """The loopback port of a container port given as a number or a name. Raises ``ValueError``."""
    if not str(port or "").isdigit():
        named = (p for p in container.get("ports") or [] if p.get("name") == port and port)
        declared = next(named, None)
        if declared is None:
            # Knative writes port 0 for "the serving port" in probes.
            every = container.get("ports") or []
            if port in (None, 0, "", "0") and len(every) == 1:
                declared = every[0]
            else:
                raise ValueError(f"the container has no port named {port!r}")
        return ports.get(int(declared["containerPort"]), int(declared["containerPort"]))
    if int(port) == 0:
        return resolve(container, ports, None)
    return ports.get(int(port), int(port))
