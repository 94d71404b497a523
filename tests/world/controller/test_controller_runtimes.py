"""What the runtimes in config/runtimes ask for reaches the pod that runs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from controller_world import World, isvc

RUNTIMES = Path(__file__).resolve().parents[3] / "config" / "runtimes"


async def test_vllm_gets_more_shared_memory_than_a_container_has_by_itself() -> None:
    """400 MB, or it does not start: containers have 64 MB (found with the image, not with processes of one machine)."""
    obj = isvc()
    obj["spec"]["predictor"]["model"]["modelFormat"] = {"name": "vLLM"}
    runtime = yaml.safe_load((RUNTIMES / "kserve-vllmserver.yaml").read_text())
    runtime["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    state = World(isvc=obj, runtimes=[runtime])
    await state.reconcile()
    (pod,) = (item["spec"]["template"]["spec"] for key, item in state.objects.items() if key[0] == "ksvc")
    (container,) = pod["containers"]
    (mount,) = (mount for mount in container["volumeMounts"] if mount["mountPath"] == "/dev/shm")
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes[mount["name"]]["emptyDir"] == {"medium": "Memory"}


@pytest.mark.parametrize("version", [None, "3", "4"])
async def test_pmml_has_a_runtime_in_every_version_of_kserves(version: str | None) -> None:
    obj = isvc()
    obj["spec"]["predictor"]["model"]["modelFormat"] = {"name": "pmml"} | (
        {"version": version} if version else {}
    )
    runtimes = [yaml.safe_load(path.read_text()) for path in RUNTIMES.glob("*server.yaml")]
    for runtime in runtimes:
        runtime["metadata"]["creationTimestamp"] = "2025-01-01T00:00:00Z"
    state = World(isvc=obj, runtimes=runtimes)
    await state.reconcile()
    (pod,) = (item["spec"]["template"]["spec"] for key, item in state.objects.items() if key[0] == "ksvc")
    assert pod["containers"][0]["image"] == "wakeful/pmml:0.1.0"
