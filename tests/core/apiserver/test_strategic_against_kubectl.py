"""Strategic merge against Go's own library, which kubectl runs without a server (``kubectl patch --local``).

Random Deployments and patches with directives; the seeds are fixed. Left out, because Go differs from itself or from
sense there: an empty list with an empty ``$setElementOrder`` (Go: an error), ``$patch: replace`` of a map that is not
there (Go: nothing), directives and nulls that Go leaves in new items until it decodes the result.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from standalone.apiserver.patching import strategic
from standalone.apiserver.schema import core

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
NAMES = "abcd"
SCHEMA = core.core_schema("apps", "v1", "Deployment")
Obj = dict[str, Any]


class Maker:
    """Random documents and patches."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def some(self, items: Any, at_least: int = 0) -> list[Any]:
        return self.random.sample(list(items), self.random.randint(at_least, len(items)))

    def container(self, name: str) -> Obj:
        made: Obj = {"name": name, "image": f"i:{self.random.randint(0, 3)}"}
        if self.chance(0.6):
            made["env"] = [
                {"name": one, "value": str(self.random.randint(0, 9))} for one in self.some(NAMES, 1)
            ]
        if self.chance(0.5):
            made["ports"] = [{"containerPort": one} for one in self.some((80, 81, 82), 1)]
        if self.chance(0.4):
            made["args"] = self.some(NAMES)
        if self.chance(0.3):
            made["resources"] = {"limits": dict.fromkeys(self.some(("cpu", "memory")), "1")}
        return made

    def volume(self, name: str) -> Obj:
        sources: list[Obj] = [{"emptyDir": {}}, {"secret": {"secretName": "s"}}, {"configMap": {"name": "c"}}]
        return {"name": name, **self.random.choice(sources)}

    def document(self) -> Obj:
        pod: Obj = {"containers": [self.container(one) for one in self.some(NAMES, 1)]}
        metadata: Obj = {"name": "w", "labels": dict.fromkeys(self.some(NAMES), "1")}
        spec: Obj = {"template": {"spec": pod}}
        if self.chance(0.5):
            pod["volumes"] = [self.volume(one) for one in self.some(NAMES, 1)]
        if self.chance(0.3):
            pod["tolerations"] = [{"key": one} for one in self.some(NAMES)]
        if self.chance(0.5):
            metadata["finalizers"] = [f"x/{one}" for one in self.some(NAMES, 1)]
        if self.chance(0.5):
            rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}
            spec["strategy"] = self.random.choice([{"type": "Recreate"}, rolling])
        return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}

    def directed(self, items: list[Obj], key: str) -> list[Obj]:
        """Some items are deletions, sometimes the whole list replaces."""
        made = [{"$patch": "delete", key: one[key]} if self.chance(0.2) else one for one in items]
        return [{"$patch": "replace"}, *made] if self.chance(0.08) else made

    def patch(self) -> Obj:
        made = self.document()
        metadata, spec = made["metadata"], made["spec"]
        pod = spec["template"]["spec"]
        del made["apiVersion"], made["kind"], metadata["name"]
        for container in pod["containers"]:
            for field, key in (("env", "name"), ("ports", "containerPort")):
                if field in container:
                    container[field] = self.directed(container[field], key)
            if self.chance(0.1):
                container["image"] = None
        if self.chance(0.5):
            order = [one["name"] for one in pod["containers"]]
            for name in self.some([one for one in NAMES if one not in order]):
                order.insert(self.random.randint(0, len(order)), name)
            pod["$setElementOrder/containers"] = [{"name": one} for one in order]
        pod["containers"] = self.directed(pod["containers"], "name")
        for volume in pod.get("volumes", ()):
            volume["$retainKeys"] = list(volume)
        if "strategy" in spec:
            spec["strategy"]["$retainKeys"] = list(spec["strategy"])
        if "finalizers" in metadata:
            gone = [f"x/{one}" for one in NAMES if f"x/{one}" not in metadata["finalizers"]]
            metadata["$deleteFromPrimitiveList/finalizers"] = self.some(gone)
        for name in list(metadata["labels"]):
            metadata["labels"][name] = self.random.choice(["2", None])
        return made


def decoded(value: Any) -> Any:
    """Without what Go drops only when it decodes."""
    if isinstance(value, dict):
        return {key: decoded(one) for key, one in value.items() if one is not None and key[0] != "$"}
    if isinstance(value, list):
        return [decoded(one) for one in value if not (isinstance(one, dict) and "$patch" in one)]
    return value


@pytest.mark.parametrize("seed", range(25))
def test_the_result_is_gos(seed: int, tmp_path: Path) -> None:
    maker = Maker(seed)
    document, patch = maker.document(), maker.patch()
    file = tmp_path / "document.json"
    file.write_text(json.dumps(document))
    command = ["kubectl", "patch", "--local", "-f", str(file), "--type", "strategic", "-o", "json"]
    environment = {**os.environ, "KUBECONFIG": os.devnull}
    done = subprocess.run(
        [*command, "-p", json.dumps(patch)], capture_output=True, text=True, timeout=30, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert strategic.apply(document, patch, SCHEMA) == decoded(json.loads(done.stdout))
