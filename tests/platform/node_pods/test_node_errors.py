"""Bad input: images, configuration, volumes, programs, probes; each says what, where and what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

from node_machine import Machine, pod, python, server
from waiting_rig import until


async def waiting(machine: Machine, name: str, reason: str) -> str:
    await until(lambda: machine.state(name).get("state", {}).get("waiting", {}).get("reason") == reason)
    return machine.state(name)["state"]["waiting"]["message"]


async def test_unknown_image_says_what_to_add_and_starts_once_added(machine: Machine) -> None:
    worker = machine.start(pod("img", {"name": "main", "image": "example/nothing:v9"}))
    message = await waiting(machine, "img", "ImagePullBackOff")
    path = machine.layout.data_dir / "images.yaml"
    assert "example/nothing:v9" in message and str(path) in message and "pattern" in message
    assert "Failed" in machine.cluster.reasons()
    path.write_text('images:\n- pattern: "example/nothing:*"\n  argv: ["{python}", "-c", "print(5)"]\n')
    await machine.phase("img", "Succeeded")
    assert machine.log(worker).rstrip().endswith("F 5")


async def test_missing_secret_is_a_config_error_until_it_exists(machine: Machine) -> None:
    env = [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "later", "key": "k"}}}]
    machine.start(pod("cfg", python("pass", env=env)))
    assert await waiting(machine, "cfg", "CreateContainerConfigError") == 'secret "later" not found'
    machine.cluster.objects["Secret", "later"] = {"kind": "Secret", "data": {}}
    await until(lambda: "couldn't find key k" in machine.state("cfg")["state"]["waiting"]["message"])
    machine.cluster.objects["Secret", "later"] = {"kind": "Secret", "data": {"k": "dg=="}}
    await machine.phase("cfg", "Succeeded")


async def test_the_same_failure_is_told_at_doubling_tries(machine: Machine) -> None:
    env = [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "never", "key": "k"}}}]
    machine.start(pod("told", python("pass", env=env)))
    await until(lambda: machine.cluster.asked.count("never") >= 20)
    assert 4 <= machine.cluster.reasons().count("Failed") <= 5 + machine.cluster.asked.count("never") // 32


async def test_optional_references_are_left_out(machine: Machine) -> None:
    reference = {"name": "none", "key": "k", "optional": True}
    env = [{"name": "K", "valueFrom": {"configMapKeyRef": reference}}]
    machine.start(pod("opt", python("import os; assert 'K' not in os.environ", env=env)))
    await machine.phase("opt", "Succeeded")


async def test_host_path_is_refused(machine: Machine) -> None:
    machine.start(pod("host", python("pass"), volumes=[{"name": "h", "hostPath": {"path": "/etc"}}]))
    assert "hostPath volumes are refused" in await waiting(machine, "host", "ContainerCreating")
    assert "FailedMount" in machine.cluster.reasons()


async def test_sub_path_cannot_leave_its_volume(machine: Machine) -> None:
    mounts = [{"name": "v", "mountPath": "/data", "subPath": "../../.."}]
    machine.start(pod("sub", python("pass", volumeMounts=mounts), volumes=[{"name": "v", "emptyDir": {}}]))
    assert "must not contain '..'" in await waiting(machine, "sub", "CreateContainerConfigError")


async def test_a_misspelt_sub_path_of_a_read_only_mount_is_told(machine: Machine) -> None:
    """A folder of that name was made in the claim, and the model server said that it was empty."""
    machine.cluster.objects["PersistentVolumeClaim", "models"] = {"kind": "PersistentVolumeClaim"}
    claim = machine.layout.volumes / "ns" / "models"
    claim.mkdir(parents=True)
    (claim / "model.joblib").write_text("m")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "models"}}
    mount = {"name": "v", "mountPath": "/mnt/models", "subPath": "modle.joblib", "readOnly": True}
    machine.start(pod("sub", python("pass", volumeMounts=[mount]), volumes=[volume]))
    told = await waiting(machine, "sub", "CreateContainerConfigError")
    assert told.endswith(
        "there is no 'modle.joblib' in it, and the mount is read-only; it holds: model.joblib"
    )
    assert [path.name for path in claim.iterdir()] == ["model.joblib"]
    (claim / "modle.joblib").write_text("m")
    await machine.phase("sub", "Succeeded")


async def test_program_that_does_not_exist(machine: Machine) -> None:
    main = {"name": "main", "image": "python:3", "command": ["no-such-program"]}
    worker = machine.start(pod("exe", main))
    status = await machine.phase("exe", "Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 127
    assert "executable file not found" in machine.log(worker)


async def test_wrong_port_is_explained(machine: Machine) -> None:
    probe = {"httpGet": {"path": "/", "port": 9999}, "periodSeconds": 1}
    machine.start(pod("port", server(readinessProbe=probe)))
    await until(lambda: "Unhealthy" in machine.cluster.reasons())
    message = next(m for _, r, m in machine.cluster.events if r == "Unhealthy")
    assert "container port 9999" in message and "$PORT" in message
    assert machine.condition("port", "Ready") == "False"


async def test_readiness_follows_its_probe(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    env = [{"name": "GATE", "value": str(gate)}]
    probe = {"httpGet": {"path": "/", "port": "http1"}, "periodSeconds": 1, "failureThreshold": 1}
    machine.start(pod("gate", server(env=env, readinessProbe=probe)))
    await until(lambda: "running" in machine.state("gate").get("state", {}))
    await until(lambda: any("statuscode: 503" in m for _, _, m in machine.cluster.events))
    assert machine.condition("gate", "Ready") == "False"
    gate.touch()
    await machine.ready("gate")
    gate.unlink()
    await until(lambda: machine.condition("gate", "Ready") == "False")


async def test_liveness_failure_restarts(machine: Machine, tmp_path: Path) -> None:
    gate = tmp_path / "alive"
    gate.touch()
    probe = {"exec": {"command": ["test", "-e", str(gate)]}, "periodSeconds": 1, "failureThreshold": 1}
    worker = machine.start(pod("live", server(livenessProbe=probe), restartPolicy="Always"))
    await machine.ready("live")
    gate.unlink()
    await until(lambda: machine.state("live")["restartCount"] >= 1)
    assert any("failed liveness probe" in m for _, _, m in machine.cluster.events)
    gate.touch()
    await machine.delete(worker)


async def test_startup_probe_that_never_succeeds_kills(machine: Machine) -> None:
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    main = python("import time; time.sleep(60)", startupProbe=probe, ports=[{"containerPort": 8080}])
    machine.start(pod("slow", main))
    status = await machine.phase("slow", "Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] in (143, 137)
    assert any("failed startup probe" in m for _, _, m in machine.cluster.events)


async def test_memory_over_its_limit_is_oom_killed(machine: Machine) -> None:
    limits = {"resources": {"limits": {"memory": "100Mi"}}}
    machine.start(pod("fat", python("x = bytearray(200 << 20); import time; time.sleep(30)", **limits)))
    status = await machine.phase("fat", "Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


async def test_log_rotation_keeps_one_previous_file(machine: Machine) -> None:
    line = "x" * 20000
    code = f"for _ in range(700): print({line!r})"
    worker = machine.start(pod("chatty", python(code)))
    await machine.phase("chatty", "Succeeded")
    folder = machine.layout.pods / worker.uid / "logs"
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert set(sizes) == {"main.log", "main.previous.log"}
    assert max(sizes.values()) <= (10 << 20) + (1 << 20)
    assert " stdout P " in machine.log(worker)


async def test_secret_volume_is_refreshed_at_once_for_all_files(machine: Machine) -> None:
    machine.cluster.objects["ConfigMap", "c"] = {"kind": "ConfigMap", "data": {"k": "old"}}
    volume = {"name": "v", "configMap": {"name": "c"}}
    mounts = [{"name": "v", "mountPath": "/etc/conf"}]
    code = """
        import sys, time
        path = sys.argv[1]
        while open(path).read() != 'new': time.sleep(0.01)
    """
    main = python(code, volumeMounts=mounts)
    main["args"] = ["/etc/conf/k"]
    machine.start(pod("fresh", main, volumes=[volume]))
    await until(lambda: "running" in machine.state("fresh").get("state", {}))
    machine.cluster.objects["ConfigMap", "c"] = {"kind": "ConfigMap", "data": {"k": "new"}}
    await machine.phase("fresh", "Succeeded")


async def test_status_settles_and_is_not_written_again(machine: Machine) -> None:
    machine.start(pod("calm", server(readinessProbe={"httpGet": {"port": 8080}, "periodSeconds": 1})))
    await machine.ready("calm")
    worker = machine.workers[0][0]
    assert await worker._publisher.settled(2)
    before = len(machine.cluster.patches)
    await asyncio.sleep(1.5)
    assert len(machine.cluster.patches) == before
