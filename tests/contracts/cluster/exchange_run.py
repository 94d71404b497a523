"""Sends the steps of a family to an API server and gives their answers, normalised.

Used by ``test_exchanges`` and ``hack/api-diff``. Everything that a family makes is in its namespace or has the word
``{group}`` in its name and is removed at the end. Invariant: every step ends within its deadline.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from cluster_api import Answer, Api, eventually
from exchange_compare import MISSING, normalise, pick
from exchange_steps import Family, Step

Obj = dict[str, Any]
AGENT = {"User-Agent": "contract/1"}
WATCH_S = 10.0
COMMAND_S = 10
_HEADERS = ("content-type", "warning", "retry-after", "location")
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Run:
    """One run of a family."""

    def __init__(self, api: Api, kubeconfig: Path) -> None:
        self._api = api
        self._kubeconfig = kubeconfig
        mark = secrets.token_hex(4)
        self.words = {"ns": f"exchange-{mark}", "group": f"x{mark}.example.com"}
        self._folder = tempfile.TemporaryDirectory()

    def answers(self, family: Family) -> dict[str, Obj]:
        """All answers, by step."""
        namespace = self.words["ns"]
        self._api.post("/api/v1/namespaces", {"metadata": {"name": namespace}}).ok()
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"
        eventually(lambda: self._api.get(account).status == 200, "no default ServiceAccount")
        authority = f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt"
        eventually(lambda: self._api.get(authority).status == 200, "no kube-root-ca.crt")
        try:
            return {step.id: self._told(family, step) for step in family.steps}
        finally:
            self._remove()

    def _remove(self) -> None:
        self._api.delete(f"/api/v1/namespaces/{self.words['ns']}", {"propagationPolicy": "Background"})
        for item in self._api.get(DEFINITIONS).ok()["items"]:
            if item["spec"]["group"] == self.words["group"]:
                self._api.delete(f"{DEFINITIONS}/{item['metadata']['name']}")
        self._folder.cleanup()

    def _told(self, family: Family, step: Step) -> Obj:
        try:
            return self._answer(step)
        except BaseException as error:
            error.add_note(f"in {family.name}/{step.id}")
            raise

    def _answer(self, step: Step) -> Obj:
        method, _, rest = self._fill(step.do).partition(" ")
        if method == "kubectl":
            found = self._command(rest, step)
        elif method == "ANONYMOUS":
            found = self._as_nobody(rest, step)
        elif method == "WATCH":
            found = self._watch(rest, step)
        else:
            found = self._request(method, rest, step)
        for word, path in step.save.items():
            value = pick(found, path)
            assert value != MISSING, f"{step.id}: no {path} in {json.dumps(found)[:1000]}"
            self.words[word] = str(value)
        if step.silent:
            return {}
        if step.keep:
            found = {path: pick(found, path) for path in step.keep}
        shown: Obj = normalise(found, self._names(), step.scrub)
        return shown

    def _names(self) -> dict[str, str]:
        return {name: self.words[name] for name in ("ns", "group")}

    def _fill(self, text: str) -> str:
        for word, value in self.words.items():
            text = text.replace(f"{{{word}}}", value)
        return text

    def _request(self, method: str, path: str, step: Step) -> Obj:
        body: Any = json.loads(self._fill(json.dumps(step.body))) if step.body is not None else None
        if step.raw is not None:
            body = self._fill(step.raw).encode()
        headers = {**AGENT, **{key: self._fill(str(value)) for key, value in step.headers.items()}}
        query = {key: self._fill(value) for key, value in step.query.items()}

        answer = self._api.call(method, path, body, media=step.media, headers=headers, **query)

        path_of, _, wanted = step.until.partition("=")

        def arrived() -> bool:
            nonlocal answer
            seen = pick(_shown(answer), path_of)
            if seen not in (MISSING, "", None) and (not wanted or seen == wanted):
                return True
            answer = self._api.call(method, path, body, media=step.media, headers=headers, **query)
            return False

        if step.until:
            eventually(arrived, f"{step.id}: no {step.until}")
        return _shown(answer)

    def _as_nobody(self, path: str, step: Step) -> Obj:
        api = self._api.without_identity()
        try:
            return _shown(api.get(path, headers={**AGENT, **step.headers}))
        finally:
            api.close()

    def _watch(self, path: str, step: Step) -> Obj:
        query = {key: self._fill(value) for key, value in step.query.items()}
        headers = {**AGENT, **step.headers}
        with self._api.watch(path, within_s=WATCH_S, headers=headers, **query) as watch:
            if watch.status != 200:
                return {"status": watch.status, "body": json.loads(watch.response.read())}
            events: list[Obj | str] = []
            with contextlib.suppress(TimeoutError):
                try:
                    while len(events) < step.events:
                        events.append(watch.next())
                except EOFError:
                    events.append("end")
        return {"status": watch.status, "events": events}

    def _command(self, text: str, step: Step) -> Obj:
        folder = Path(self._folder.name)
        line = f"kubectl --kubeconfig {self._kubeconfig} --namespace {self.words['ns']} {text}"
        if step.body is not None:
            (folder / "body.json").write_text(self._fill(json.dumps(step.body)))
        done = subprocess.run(
            ["timeout", str(COMMAND_S), "bash", "-c", line],
            cwd=folder,
            input=self._fill(step.stdin),
            capture_output=True,
            text=True,
            env={**os.environ, "HOME": str(folder), "KUBECACHEDIR": str(folder / "cache")},
        )
        out, err = (_columns(text.splitlines()) for text in (done.stdout, done.stderr))
        return {"exit": done.returncode, "out": out, "err": err}


def _columns(lines: list[str]) -> list[str]:
    """A command's lines without ages and without the width of its columns."""
    aged = (re.sub(r"(?<=\s)(\d+[dhm])?\d+[smhd](?=\s|$)", "<age>", line) for line in lines)
    return [re.sub(r"(?<=\S) {2,}", "  ", line) for line in aged]


def _shown(answer: Answer) -> Obj:
    found: Obj = {"status": answer.status}
    headers = {name: answer.header(name) for name in _HEADERS if answer.header(name)}
    found["headers"] = headers
    try:
        found["body"] = json.loads(answer.raw)
    except ValueError:
        found["body"] = answer.raw.decode("utf-8", "replace")
    return found
