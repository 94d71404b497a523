"""Requests without pause while pods are deleted, scaled and replaced, and while the gateway is killed: none is lost.

The server dies at once of SIGTERM, in the middle of what it does: only the platform's order of things protects it.
"""

from __future__ import annotations

import collections
import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from whole_platform import Platform

from standalone import instance

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180), pytest.mark.usefixtures("needs_kubectl")]

SERVER = """
import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(0.05)
        self.send_response(200); self.send_header("content-length", "2"); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *a): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), H).serve_forever()
"""


def service(version: str) -> str:
    container = {
        "image": "python:3",
        "command": ["python", "-c", SERVER],
        "env": [{"name": "VERSION", "value": version}],
    }
    made = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lossless"}},
        {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "abrupt", "namespace": "lossless"},
            "spec": {"template": {"spec": {"containers": [container]}}},
        },
    ]
    return "\n".join(json.dumps(each) for each in made)


class Traffic:
    """Four clients, one kept connection each, or a new one a request."""

    def __init__(self, port: int, is_kept: bool) -> None:
        self.seen: collections.Counter[str] = collections.Counter()
        self._port, self._is_kept = port, is_kept
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._work) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _work(self) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        while not self._stop.is_set():
            try:
                client.request("POST", "/", b"x", {"Host": "abrupt.lossless.localhost"})
                answer = client.getresponse()
                said = answer.read()
                self.seen["200" if answer.status == 200 else f"{answer.status} {said[:200]!r}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.seen[type(error).__name__] += 1
                client.close()
            if not self._is_kept:
                client.close()
        client.close()

    def end(self) -> dict[str, int]:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return dict(self.seen)


@pytest.fixture
def abrupt(platform: Platform) -> Iterator[Callable[..., str]]:
    platform.kubectl("apply", "-f", "-", text=service("1"))
    wait = ("wait", "ksvc/abrupt", "-n", "lossless", "--for=condition=Ready", "--timeout=60s")
    platform.kubectl(*wait)
    yield lambda *words, **more: platform.kubectl(*words, "-n", "lossless", **more)
    platform.kubectl("delete", "ksvc", "abrupt", "-n", "lossless")


def test_no_request_is_lost_while_pods_come_and_go(platform: Platform, abrupt: Callable[..., str]) -> None:
    traffic = Traffic(platform.ports[0], is_kept=True)
    try:
        for _ in range(4):
            abrupt("delete", "pod", "--all", "--wait=false")
            time.sleep(0.7)  # traffic, not waiting: pods are to be in use when the next blow falls
        deployment = abrupt("get", "deployment", "-o", "name").split()[0]
        for replicas in (2, 0, 1, 0):
            abrupt("scale", deployment, f"--replicas={replicas}")
            time.sleep(0.7)
        platform.kubectl("apply", "-f", "-", text=service("2"))
        abrupt(
            "wait",
            "ksvc/abrupt",
            "--for=jsonpath={.status.latestReadyRevisionName}=abrupt-00002",
            "--timeout=60s",
        )
        time.sleep(1.0)
    finally:
        seen = traffic.end()
    assert set(seen) == {"200"}, seen
    assert seen["200"] > 50


@pytest.mark.usefixtures("abrupt")
def test_no_connection_is_refused_while_the_gateway_starts_again(platform: Platform) -> None:
    traffic = Traffic(platform.ports[0], is_kept=False)
    try:
        time.sleep(0.5)
        record = instance.read(platform.layout)
        assert record is not None
        os.kill(record.processes["gateway"].pid, signal.SIGKILL)
        time.sleep(3.0)
    finally:
        seen = traffic.end()
    under_way = sum(
        seen.pop(name, 0) for name in ("RemoteDisconnected", "ConnectionResetError", "IncompleteRead")
    )
    assert under_way <= 4, seen
    assert set(seen) == {"200"}, seen
