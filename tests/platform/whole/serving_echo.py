"""Knative Services of the echo container, applied, called and looked at as a user does."""

from __future__ import annotations

import collections
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from waiting_rig import until_blocking as until
from whole_platform import Platform

SCRIPT = Path(__file__).with_name("echo_server.py")
Obj = dict[str, Any]


class Echo:
    """The Service ``name`` in ``namespace``."""

    def __init__(self, platform: Platform, namespace: str, name: str) -> None:
        self.platform, self.namespace, self.name = platform, namespace, name
        self.host = f"{name}.{namespace}.localhost"

    def kubectl(self, *arguments: str, text: str | None = None, check: bool = True) -> str:
        return self.platform.kubectl("-n", self.namespace, *arguments, text=text, check=check)

    def apply(self, version: str = "1", **more: Any) -> None:
        """``container`` and ``notes`` (template annotations) are laid over; ``spec`` is the Service's beside it."""
        container: Obj = {"image": "python:3.11", "command": ["python", str(SCRIPT)]}
        container["env"] = [{"name": "V", "value": version}, *more.get("env", [])]
        container |= more.get("container", {})
        template = {"metadata": {"annotations": more.get("notes", {})}, "spec": {"containers": [container]}}
        metadata: Obj = {"name": self.name, "annotations": more.get("own_notes", {})}
        body = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": metadata}
        self.kubectl(
            "apply",
            "-f",
            "-",
            text=json.dumps({**body, "spec": {"template": template, **more.get("spec", {})}}),
        )

    def ready(self, limit_s: int = 30) -> None:
        self.kubectl("wait", f"ksvc/{self.name}", "--for=condition=Ready", f"--timeout={limit_s}s")

    def get(self, kind: str = "ksvc", name: str = "") -> Obj:
        found: Obj = json.loads(self.kubectl("get", kind, name or self.name, "-o", "json"))
        return found

    def condition(self, type_: str, kind: str = "ksvc", name: str = "") -> tuple[str, str, str]:
        for found in self.get(kind, name).get("status", {}).get("conditions", []):
            if found["type"] == type_:
                return found["status"], found.get("reason", ""), found.get("message", "")
        return "", "", ""

    def pods(self, revision: str = "") -> list[str]:
        label = (
            f"serving.knative.dev/revision={revision}"
            if revision
            else f"serving.knative.dev/service={self.name}"
        )
        return self.kubectl("get", "pods", "-l", label, "-o", "name").split()

    def roll_out(self, version: str, revision: str, **more: Any) -> None:
        """Apply and wait until ``revision`` is the latest ready one and the Service Ready."""
        self.apply(version, **more)
        until(lambda: self.get()["status"].get("latestReadyRevisionName") == revision, 30, revision)
        self.ready()

    def call(self, path: str = "/", host: str = "") -> tuple[int, str]:
        """Status, and the revision that answered (or the text)."""
        with closing(self.connect()) as link:
            return self.call_on(link, path, host)

    def call_on(self, link: http.client.HTTPConnection, path: str = "/", host: str = "") -> tuple[int, str]:
        link.request("GET", path, headers={"Host": host or self.host})
        response = link.getresponse()
        raw = response.read().decode()
        return response.status, json.loads(raw)["K_REVISION"] if response.status == 200 else raw

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.platform.ports[0], timeout=60)

    def count(self, requests: int, host: str = "") -> dict[tuple[int, str], int]:
        """How often each answer came."""
        with closing(self.connect()) as link:
            return dict(collections.Counter(self.call_on(link, "/", host) for _ in range(requests)))

    @contextmanager
    def load(
        self, clients: int, path: str = "/", pause_s: float = 0.0
    ) -> Iterator[collections.Counter[tuple[int, str]]]:
        """Clients that call all the time; the answers are complete when the block has ended."""
        seen: collections.Counter[tuple[int, str]] = collections.Counter()
        lock, stop = threading.Lock(), threading.Event()

        def run() -> None:
            link = self.connect()
            while not stop.wait(pause_s):
                try:
                    answer = self.call_on(link, path)
                except (OSError, http.client.HTTPException) as error:
                    answer = (0, repr(error))
                    link.close()
                with lock:
                    seen[answer] += 1
            link.close()

        threads = [threading.Thread(target=run) for _ in range(clients)]
        for thread in threads:
            thread.start()
        try:
            yield seen
        finally:
            stop.set()
            for thread in threads:
                thread.join()
