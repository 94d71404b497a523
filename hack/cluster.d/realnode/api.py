"""A few calls to the node's Kubernetes API with nothing but the standard library: get, server-side apply, wait.

Called by lifecycle.py and smoke.py. One connection, one thread. Every refusal becomes a ClusterError that names the
object and quotes the server. Left out: watches (a wait looks again every 0.2 s), pagination.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import Any

from realnode.node import API_PORT, ClusterError, Node

Object = dict[str, Any]
FIELD_MANAGER = "hack-cluster"
LOOK_EVERY_S = 0.2
# a webhook or a kind that came a moment ago may not answer yet
SOON_RIGHT = (
    "no endpoints available",
    "connection refused",
    "failed calling webhook",
    "the server could not find",
)


class Api:
    """The API of one node, as its administrator."""

    def __init__(self, node: Node, timeout_s: float = 30.0) -> None:
        self._timeout_s = timeout_s
        self._host = node.ip
        self._context = context_of(json.loads(node.kubeconfig().read_text()))
        self._connection: http.client.HTTPSConnection | None = None
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def call(self, method: str, path: str, body: Object | None = None) -> tuple[int, bytes]:
        """One request; a lost connection is opened again once, a silent one is not. OSError when the server cannot be reached."""
        headers = {
            "Content-Type": "application/apply-patch+yaml" if method == "PATCH" else "application/json"
        }
        payload = None if body is None else json.dumps(body)
        for last in (False, True):
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(
                    self._host, API_PORT, timeout=self._timeout_s, context=self._context
                )
            try:
                self._connection.request(method, path, payload, headers)
                answer = self._connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                self._connection = None
                if last or isinstance(error, TimeoutError):
                    raise OSError(f"{method} {path}: {error}") from error
        raise AssertionError("not reached")

    def get(self, path: str) -> Object | None:
        """The JSON at a path; None when there is none (404)."""
        status, content = self.call("GET", path)
        if status == 404:
            return None
        if status != 200:
            raise ClusterError(f"GET {path}: {status} {content[:300].decode(errors='replace')}")
        answer: Object = json.loads(content)
        return answer

    def is_ready(self) -> bool:
        try:
            return self.call("GET", "/readyz")[0] == 200
        except OSError:
            return False

    def delete(self, path: str) -> None:
        status, content = self.call("DELETE", path)
        if status not in (200, 202, 404):
            raise ClusterError(f"DELETE {path}: {status} {content[:300].decode(errors='replace')}")

    def apply(self, found: Object, within_s: float = 30.0) -> None:
        """Server-side apply with force; what is only too early is tried again for `within_s` seconds."""
        deadline = time.monotonic() + within_s
        name = f"{found['kind']} {found['metadata']['name']}"
        while fault := self._try_apply(found):
            if time.monotonic() > deadline or not any(part in fault for part in SOON_RIGHT):
                raise ClusterError(f"apply {name}: {fault[:500]}")
            time.sleep(LOOK_EVERY_S)

    def _try_apply(self, found: Object) -> str:
        """What the server refused it with; empty when it took it."""
        try:
            path = self._path(found)
            if not path:
                return "the server could not find the kind"
            status, content = self.call("PATCH", f"{path}?fieldManager={FIELD_MANAGER}&force=true", found)
        except OSError as error:
            return f"connection refused or lost: {error}"
        return "" if status in (200, 201) else f"{status} {content.decode(errors='replace')}"

    def _path(self, found: Object) -> str:
        """Where an object lives; empty when the server does not know its kind (yet)."""
        version, kind = found["apiVersion"], found["kind"]
        prefix = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._plurals:
            for each in (self.get(prefix) or {"resources": []})["resources"]:
                if "/" not in each["name"]:
                    self._plurals[version, each["kind"]] = (each["name"], each["namespaced"])
        if (version, kind) not in self._plurals:
            return ""
        plural, is_namespaced = self._plurals[version, kind]
        scope = f"/namespaces/{found['metadata'].get('namespace', 'default')}" if is_namespaced else ""
        return f"{prefix}{scope}/{plural}/{found['metadata']['name']}"

    def apply_all(self, objects: Iterable[Object]) -> int:
        count = 0
        for found in objects:
            self.apply(found)
            count += 1
        return count

    def wait(self, path: str, accept: Callable[[Object], str], within_s: float) -> None:
        """Looks at a path until `accept` returns nothing; what it returned last is in the error after `within_s`."""
        deadline = time.monotonic() + within_s
        while True:
            try:
                found = self.get(path)
                missing = accept(found) if found else "is not there"
            except (OSError, ClusterError) as error:  # an API server that comes up says 500 for a moment
                missing = str(error)
            if not missing:
                return
            if time.monotonic() > deadline:
                raise ClusterError(f"{path} {missing} after {within_s:.0f} s")
            time.sleep(LOOK_EVERY_S)


def condition(found: Object, kind: str) -> str:
    """The status of a condition: True, False, Unknown, or empty when there is none."""
    conditions = found.get("status", {}).get("conditions", [])
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "")


def lacks(kind: str) -> Callable[[Object], str]:
    """For `wait`: the object must have this condition with status True, for its present generation."""

    def check(found: Object) -> str:
        seen = found.get("status", {}).get("observedGeneration", found["metadata"].get("generation"))
        if condition(found, kind) == "True" and seen == found["metadata"].get("generation", seen):
            return ""
        return f"is not {kind}: {json.dumps(found.get('status', {}).get('conditions', []))[:400]}"

    return check


def all_lack(kind: str) -> Callable[[Object], str]:
    """For `wait` on a list: every item must have the condition, and there must be items."""

    def check(found: Object) -> str:
        bad = [item["metadata"]["name"] for item in found["items"] if condition(item, kind) != "True"]
        return (
            f"has items that are not {kind}: {', '.join(bad)}"
            if bad
            else ""
            if found["items"]
            else "is empty"
        )

    return check


def context_of(kubeconfig: Object) -> ssl.SSLContext:
    user = kubeconfig["users"][0]["user"]
    authority = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.NamedTemporaryFile() as both:  # the ssl module reads client certificates from files only
        for part in ("client-certificate-data", "client-key-data"):
            both.write(base64.b64decode(user[part]))
        both.flush()
        context.load_cert_chain(both.name)
    return context
