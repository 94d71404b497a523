"""A pod from start to end with real processes: order, environment, exit codes, messages, restarts, deletion."""

from __future__ import annotations

import base64
import json
import time

import aiohttp
from node_machine import Machine, pod, python, server
from waiting_rig import until


async def test_runs_to_success_with_logs_and_status(machine: Machine) -> None:
    worker = machine.start(pod("ok", python("import sys; print('hello'); print('bad', file=sys.stderr)")))
    status = await machine.phase("ok", "Succeeded")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    lines = machine.log(worker).splitlines()
    assert {line.split(" ", 1)[1] for line in lines} == {"stdout F hello", "stderr F bad"}
    assert all(line[:4].isdigit() and "T" in line.split()[0] for line in lines)
    assert {"Pulled", "Created", "Started"} <= set(machine.cluster.reasons())


async def test_failure_has_exit_code_and_message_from_log(machine: Machine) -> None:
    main = python(
        "print('why it broke'); raise SystemExit(7)", terminationMessagePolicy="FallbackToLogsOnError"
    )
    machine.start(pod("bad", main))
    status = await machine.phase("bad", "Failed")
    ended = status["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (7, "Error", "why it broke\n")


async def test_termination_message_path_is_mapped(machine: Machine) -> None:
    main = {
        "name": "main",
        "image": "python:3",
        "command": ["sh", "-c", "echo -n said > /dev/termination-log"],
    }
    machine.start(pod("said", main))
    status = await machine.phase("said", "Succeeded")
    assert status["containerStatuses"][0]["state"]["terminated"]["message"] == "said"


async def test_signal_is_128_plus_number(machine: Machine) -> None:
    machine.start(pod("sig", python("import os; os.kill(os.getpid(), 9)")))
    status = await machine.phase("sig", "Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


async def test_environment_is_clean_and_complete(machine: Machine) -> None:
    secret = {"kind": "Secret", "data": {"key": base64.b64encode(b"s3cret").decode()}}
    machine.cluster.objects["Secret", "creds"] = secret
    machine.cluster.objects["ConfigMap", "conf"] = {"kind": "ConfigMap", "data": {"FROM_MAP": "yes"}}
    env = [
        {"name": "A", "value": "one"},
        {"name": "B", "value": "$(A)-$$(A)-$(NOPE)"},
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "key"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "PORT", "value": "8080"},
    ]
    main = python(
        "import json, os; print(json.dumps(dict(os.environ)))",
        env=env,
        envFrom=[{"configMapRef": {"name": "conf"}}],
    )
    worker = machine.start(pod("env", main))
    await machine.phase("env", "Succeeded")
    seen = json.loads(machine.log(worker).split(" F ", 1)[1])
    port = json.loads(machine.cluster.annotations["env"]["node.wakeful.dev/ports"])["8080"]
    assert seen["B"] == "one-$(A)-$(NOPE)"
    assert (seen["POD"], seen["KEY"], seen["CPU"], seen["FROM_MAP"]) == ("b", "s3cret", "2", "yes")
    assert seen["PORT"] == str(port)
    assert abs(float(seen["WAKEFUL_STARTED_AT"]) - time.time()) < 10
    own = {"A", "B", "POD", "KEY", "CPU", "PORT", "FROM_MAP"}
    given = {"PATH", "HOME", "LANG", "TMPDIR", "HOSTNAME", "http_proxy", "https_proxy", "no_proxy"}
    assert set(seen) - own - given == {
        "WAKEFUL_HTTP_ADDRESS",
        "WAKEFUL_STARTED_AT",
        "WAKEFUL_TERMINATION_LOG",
    }


async def test_init_containers_run_in_order_before_main(machine: Machine) -> None:
    mount = {"volumeMounts": [{"name": "v", "mountPath": "/mnt/models"}]}
    add = "import sys; open('/mnt/models/f', 'a').write('{}')"
    show = {"name": "main", "image": "python:3", "command": ["cat", "/mnt/models/f"], **mount}
    spec = pod(
        "inits",
        show,
        initContainers=[python(add.format(1), "one", **mount), python(add.format(2), "two", **mount)],
        volumes=[{"name": "v", "emptyDir": {}}],
    )
    worker = machine.start(spec)
    await machine.phase("inits", "Succeeded")
    assert machine.log(worker).rstrip().endswith("F 12")
    assert machine.state("inits", 1, inits=True)["ready"] is True


async def test_failing_init_container_keeps_main_from_starting(machine: Machine) -> None:
    spec = pod("noinit", python("print(1)"), initContainers=[python("raise SystemExit(3)", "one")])
    worker = machine.start(spec)
    status = await machine.phase("noinit", "Failed")
    assert machine.log(worker) == ""
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 3


async def test_sidecar_starts_first_and_ends_last(machine: Machine) -> None:
    side = server("side", restartPolicy="Always", startupProbe={"httpGet": {"path": "/", "port": 8080}})
    main = python("import time; time.sleep(0.1)")
    machine.start(pod("side", main, initContainers=[side]))
    status = await machine.phase("side", "Succeeded")
    assert "terminated" in status["initContainerStatuses"][0]["state"]


async def test_crash_loop_backs_off_and_counts(machine: Machine) -> None:
    main = python("print('why'); raise SystemExit(1)", terminationMessagePolicy="FallbackToLogsOnError")
    worker = machine.start(pod("loop", main, restartPolicy="Always"))
    waiting = await until(lambda: machine.state("loop").get("state", {}).get("waiting"))
    await until(lambda: machine.state("loop")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff")
    waiting = machine.state("loop")["state"]["waiting"]
    assert "back-off" in waiting["message"] and "container=main" in waiting["message"]
    await until(lambda: machine.state("loop")["restartCount"] >= 2)
    ended = machine.state("loop")["lastState"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (1, "why\n")  # of the last run, not of all
    assert machine.cluster.status["loop"]["phase"] == "Running"
    await machine.delete(worker)


async def test_ready_server_answers_on_its_port_and_is_deleted_cleanly(machine: Machine) -> None:
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 0}
    worker = machine.start(pod("web", server(readinessProbe=probe), restartPolicy="Always"))
    await machine.ready("web")
    annotations = machine.cluster.annotations["web"]
    port = json.loads(annotations["node.wakeful.dev/ports"])["8080"]
    timeline = json.loads(annotations["node.wakeful.dev/timeline"])
    assert timeline["admitted"] <= timeline["started"] <= timeline["ready"]
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 200
    await machine.delete(worker)
    assert not worker.folder.exists()
    assert machine.condition("web", "Ready") == "False"
    assert machine.state("web")["state"]["terminated"]["exitCode"] == 0


async def test_process_that_ignores_sigterm_is_killed_after_its_grace(machine: Machine) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    worker = machine.start(pod("deaf", python(code), restartPolicy="Always"))
    await until(lambda: "up" in machine.log(worker))
    began = time.monotonic()
    await machine.delete(worker, grace_s=0.5)
    assert 0.4 < time.monotonic() - began < 4
    assert machine.state("deaf")["state"]["terminated"]["exitCode"] == 137


async def test_prestop_runs_before_sigterm(machine: Machine, tmp_path: object) -> None:
    mark = f"{tmp_path}/mark"
    hook = {"preStop": {"exec": {"command": ["touch", mark]}}}
    code = f"""
        import os, signal, sys, time
        signal.signal(15, lambda *_: sys.exit(5 if os.path.exists({mark!r}) else 6))
        print('up', flush=True); time.sleep(60)
    """
    worker = machine.start(pod("hook", python(code, lifecycle=hook)))
    await until(lambda: "up" in machine.log(worker))
    await machine.delete(worker)
    assert machine.state("hook")["state"]["terminated"]["exitCode"] == 5


async def test_active_deadline_fails_the_pod(machine: Machine) -> None:
    machine.start(pod("late", python("import time; time.sleep(60)"), activeDeadlineSeconds=1))
    status = await machine.phase("late", "Failed")
    assert status["reason"] == "DeadlineExceeded"


async def test_grandchildren_end_with_the_container(machine: Machine) -> None:
    code = """
        import subprocess
        print(subprocess.Popen(['sleep', '60']).pid, flush=True)
    """
    worker = machine.start(pod("family", python(code)))
    await machine.phase("family", "Succeeded")
    pid = int(machine.log(worker).split()[-1])
    import pathlib

    def is_gone() -> bool:
        stat = pathlib.Path(f"/proc/{pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"

    await until(is_gone)


async def test_a_quick_start_is_told_in_one_patch(machine: Machine) -> None:
    """Who waits for the pod sees ports, start and running state together; every patch more would make it wait longer."""
    machine.table.load()  # as the node does before the first pod
    machine.start(pod("one-patch", server()))
    await until(lambda: machine.cluster.patches)
    first = machine.cluster.patches[0]
    assert "started" in json.loads(first["metadata"]["annotations"]["node.wakeful.dev/timeline"])
    assert "running" in first["status"]["containerStatuses"][0]["state"]


async def test_main_containers_are_initializing_while_inits_run(machine: Machine) -> None:
    first = python("import time; time.sleep(30)", "first")
    machine.start(pod("slow-init", server(), initContainers=[first]))
    await until(lambda: machine.state("slow-init", inits=True).get("state", {}).get("running"))
    assert machine.state("slow-init")["state"] == {"waiting": {"reason": "PodInitializing"}}
