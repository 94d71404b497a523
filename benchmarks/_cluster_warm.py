"""Warm requests through the ingress, one at a time on one kept connection, targets in turn so that all see the same noise.

Called by ``cluster``. A plain blocking client in a thread: what it adds (some 0.1 ms) is the same for every target.
"""

from __future__ import annotations

import http.client
import json
import time
from urllib.parse import urlsplit

from benchmarks._cluster_wake import Target

WARM_UP = 20


def measure(base: str, targets: list[Target], rounds: int, requests: int) -> dict[str, list[float]]:
    """Milliseconds of every request by target; ``rounds`` of ``requests`` each."""
    found: dict[str, list[float]] = {target.label: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            found[target.label] += one_round(base, target, requests)
    return found


def one_round(base: str, target: Target, requests: int) -> list[float]:
    """Milliseconds of ``requests`` requests after ``WARM_UP`` that are not counted."""
    address = urlsplit(base)
    link = http.client.HTTPConnection(str(address.hostname), address.port or 80, timeout=60)
    body = None if target.body is None else json.dumps(target.body)
    headers = {"Host": target.host, "Content-Type": "application/json"}
    taken: list[float] = []
    try:
        for number in range(requests + WARM_UP):
            began = time.perf_counter()
            link.request(target.method, target.path, body, headers)
            answer = link.getresponse()
            text = answer.read().decode()
            if number >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
            if answer.status != 200 or target.says not in text:
                raise SystemExit(f"{target.label}: a warm request answered {answer.status}: {text[:300]}")
    finally:
        link.close()
    return taken
