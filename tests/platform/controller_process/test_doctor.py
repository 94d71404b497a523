"""``wakeful doctor`` on a cluster: a table, what to do, and an exit status, for each thing that can be wrong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from controller_rig import ROOT, SYSTEM, Rig

from controller.leader import LEASES
from controller.platform_watch import VALIDATING
from wakeful.cli import doctor_report
from wakeful.cli.doctor_report import warning, well, wrong
from wakeful.kit.kube import CONFIGMAPS, CRDS, DEPLOYMENTS

pytestmark = [pytest.mark.platform, pytest.mark.timeout(120)]


async def doctor(*arguments: str, **environment: str) -> tuple[int, str]:
    """Exit status and output, lines joined."""
    argv = [sys.executable, "-m", "wakeful.cli", "doctor", *arguments]
    env = {**os.environ, "COLUMNS": "2000", **environment}
    done = await asyncio.to_thread(
        subprocess.run, argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout + done.stderr


async def test_a_cluster_that_is_well_and_what_can_be_wrong_with_it(rig: Rig, tmp_path: Path) -> None:
    here = ("--kubeconfig", str(rig.kubeconfig), "--data-dir", str(tmp_path))
    one = rig.start("one", "--leader-elect")
    await rig.until(one.is_ready, "not ready")
    ready = {"status": {"readyReplicas": 2}}
    await rig.client.patch(DEPLOYMENTS, SYSTEM, "wakeful-controller", ready, subresource="status")
    status, text = await doctor(*here)
    assert status == 0, text
    assert "0 failed" in text
    assert "ok    admission" in text
    assert "ok    leader            one" in text

    body = {"data": {"ingress": "{"}}
    await rig.client.patch(CONFIGMAPS, SYSTEM, "inferenceservice-config", body)
    kserve = {"metadata": {"name": "inferenceservice.serving.kserve.io"}, "webhooks": []}
    await rig.client.create(VALIDATING, None, kserve)
    status, text = await doctor(*here)
    assert status == 1
    assert "FAIL  configuration" in text
    assert "key ingress: not JSON" in text
    assert "FAIL  other KServe" in text
    assert "kubectl delete -k config/without-crds" in text
    await rig.client.delete(VALIDATING, None, kserve["metadata"]["name"])
    await rig.client.patch(CONFIGMAPS, SYSTEM, "inferenceservice-config", {"data": {"ingress": "{}"}})

    async def is_binding() -> bool:
        found = await rig.client.get(VALIDATING, None, "wakeful")
        return {hook["failurePolicy"] for hook in found["webhooks"]} == {"Fail"}

    await rig.until(is_binding, "its webhooks do not refuse again")
    one.end()
    await rig.client.delete(LEASES, SYSTEM, "wakeful-controller")
    status, text = await doctor(*here)
    assert status == 1
    assert "FAIL  leader" in text
    assert "FAIL  admission" in text
    await rig.client.delete(CRDS, None, "services.serving.knative.dev")
    await rig.client.delete(DEPLOYMENTS, SYSTEM, "wakeful-controller")
    status, text = await doctor(*here)
    assert "KnativeNotInstalled" in text
    assert (
        "no Deployment wakeful-controller in wakeful-system -> kubectl apply -k config/default"
        in " ".join(text.split())
    )


async def test_no_cluster(tmp_path: Path) -> None:
    nothing = ("--data-dir", str(tmp_path))
    status, text = await doctor(*nothing, HOME=str(tmp_path), KUBECONFIG="")
    assert status == 1
    assert "start the platform with `wakeful up`" in text
    status, text = await doctor(*nothing, "--kubeconfig", str(tmp_path / "none"))
    assert (status, "does not exist" in text) == (1, True)
    (tmp_path / "away").write_text(
        """{"current-context": "c", "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}]}"""
    )
    status, text = await doctor(*nothing, "--kubeconfig", str(tmp_path / "away"))
    assert status == 1
    assert "FAIL  Kubernetes API" in text
    assert "1 checks, 1 failed" in text


def test_the_table() -> None:
    rows = [
        well("one", "fine"),
        warning("another", "so so", "do this"),
        wrong("third", "bad " * 30, "do that"),
    ]
    text = doctor_report.render(rows, columns=60)
    assert text.splitlines()[0] == "ok    one      fine"
    assert "               -> do this" in text.splitlines()
    assert all(len(line) <= 60 for line in text.splitlines())
    assert text.endswith("3 checks, 1 failed, 1 warnings")
    assert [doctor_report.status_of(rows[:count]) for count in (1, 2, 3)] == [0, 0, 1]
