"""What outlives a node: adoption after kill -9, a lost shim, the fork server, ends of the node."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from node_machine import Machine, pod, python, server
from waiting_rig import until

PROBE = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}


def pid_of(machine: Machine) -> int:
    (started,) = machine.processes._shims[""].started.values()
    return started.pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_next_node_adopts_a_running_pod(tmp_path: Path) -> None:
    first = Machine(tmp_path / "d")
    await first.open()
    spec = pod("kept", server(**PROBE), restartPolicy="Always")
    first.start(spec)
    await first.ready("kept")
    pid, ports = pid_of(first), first.cluster.annotations["kept"]["node.wakeful.dev/ports"]
    await first.close(is_ending=False)
    assert is_alive(pid)

    second = Machine(tmp_path / "d")
    await second.open()
    worker = second.start(spec)
    await second.ready("kept")
    assert pid_of(second) == pid
    assert second.cluster.annotations["kept"]["node.wakeful.dev/ports"] == ports
    assert second.state("kept")["restartCount"] == 0
    await second.delete(worker)
    assert not is_alive(pid)
    await second.close()


async def test_exit_while_no_node_ran_is_learned(tmp_path: Path) -> None:
    first = Machine(tmp_path / "d")
    await first.open()
    gate = tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\nraise SystemExit(9)"
    spec = pod("ended", python(code))
    first.start(spec)
    await until(lambda: "running" in first.state("ended").get("state", {}))
    pid = pid_of(first)
    await first.close(is_ending=False)
    gate.touch()
    await until(lambda: not is_alive(pid))

    second = Machine(tmp_path / "d")
    await second.open()
    second.start(spec)
    status = await second.phase("ended", "Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 9
    await second.close()


async def test_pod_starts_again_after_everything_was_lost(tmp_path: Path) -> None:
    first = Machine(tmp_path / "d")
    await first.open()
    spec = pod("again", server(**PROBE), restartPolicy="Always")
    first.start(spec)
    await first.ready("again")
    await first.close(is_ending=True)

    second = Machine(tmp_path / "d")
    await second.open()
    second.start(spec)
    await second.ready("again")
    assert second.state("again")["restartCount"] == 1
    assert second.state("again")["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    await second.close()


async def test_lost_shim_restarts_its_containers(machine: Machine) -> None:
    worker = machine.start(pod("orphan", server(**PROBE), restartPolicy="Always"))
    await machine.ready("orphan")
    shim, pid = machine.processes._shims[""], pid_of(machine)
    os.kill((await shim.call("hello"))["pid"], signal.SIGKILL)
    await until(lambda: machine.state("orphan").get("restartCount", 0) >= 1)
    await machine.ready("orphan")
    assert not is_alive(pid)
    await machine.delete(worker)


async def test_end_of_the_node_ends_pods(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "d")
    await machine.open()
    worker = machine.start(pod("down", server(**PROBE), restartPolicy="Always"))
    await machine.ready("down")
    pid = pid_of(machine)
    await worker.shutdown()
    assert not is_alive(pid)
    assert machine.condition("down", "Ready") == "False"
    await machine.close()


async def test_fork_server_runs_modules_with_everything_reset(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "d", ("python",))
    await machine.open()
    await until(lambda: machine.processes.describe()["python"])
    module = tmp_path / "showme.py"
    module.write_text(
        "import json, os, random, signal, sys, time\n"
        "late = time.time() - float(os.environ['WAKEFUL_STARTED_AT'])\n"
        "print(json.dumps(dict(argv=sys.argv[1:], name=__name__, cwd=os.getcwd(), env=sorted(os.environ),\n"
        "  fds=len(os.listdir('/proc/self/fd')), aio='aiohttp' in sys.modules, late=late, r=random.random(),\n"
        "  term=signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, session=os.getsid(0) == os.getpid())))\n"
    )
    (machine.layout.data_dir / "images.yaml").write_text(
        'images:\n- pattern: "mine:*"\n  argv: ["{python}", "-m", "showme"]\n  append: ["--port={port:8080}"]\n'
        f"  env: {{PYTHONPATH: {tmp_path}}}\n  preload: python\n"
    )
    main = {"name": "main", "image": "mine:1", "args": ["--x"]}
    workers = [machine.start(pod(f"fork{i}", main)) for i in range(2)]
    seen = []
    for i, worker in enumerate(workers):
        await machine.phase(f"fork{i}", "Succeeded")
        seen.append(json.loads(machine.log(worker).split(" F ", 1)[1]))
        port = json.loads(machine.cluster.annotations[f"fork{i}"]["node.wakeful.dev/ports"])["8080"]
        assert seen[i]["argv"] == ["--x", f"--port={port}"]
        assert machine.state(f"fork{i}")["imageID"].startswith("fork-server-python:")
    one, other = seen
    assert one["name"] == "__main__" and one["aio"] and one["term"] and one["session"]
    assert one["fds"] == 4 and one["r"] != other["r"] and "VIRTUAL_ENV" not in one["env"]
    assert other["late"] < 0.5
    await machine.close()


async def test_fork_server_that_dies_is_started_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "d", ("python",))
    await machine.open()
    await until(lambda: machine.processes.describe()["python"])
    shim = machine.processes._shims["python"]
    os.kill((await shim.call("hello"))["pid"], signal.SIGKILL)
    await until(lambda: not shim.is_ready)
    await until(lambda: machine.processes.describe()["python"])
    await machine.close()


async def test_node_process_waits_for_its_kubeconfig_and_ends_on_sigterm(tmp_path: Path) -> None:
    command = [
        "-m",
        "standalone.node",
        "--data-dir",
        str(tmp_path / "d"),
        "--gateway-port",
        "8080",
        "--no-preload",
    ]
    node = await asyncio.create_subprocess_exec(
        sys.executable, *command, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    shim = tmp_path / "d" / "run" / "shim.sock"
    await until(lambda: list(tmp_path.glob("d/run/shim.sock")) or shim.exists())
    node.send_signal(signal.SIGTERM)
    async with asyncio.timeout(10):
        _, _ = await node.communicate()
    assert node.returncode == 0
    assert not shim.exists()


async def test_bad_image_table_is_one_sentence(tmp_path: Path) -> None:
    table = tmp_path / "t.yaml"
    table.write_text("images:\n- pattern: x\n  comand: [a]\n")
    node = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "standalone.node", "--data-dir", str(tmp_path / "d"), "--images", str(table)),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20):
        _, err = await node.communicate()
    assert node.returncode == 1
    assert "images[0]: unknown field 'comand'" in json.loads(err.splitlines()[-1])["error"]


async def test_ports_come_from_the_running_process_where_nothing_was_saved(tmp_path: Path) -> None:
    """A node killed between the start of a process and the save must not give its pod other ports."""
    first = Machine(tmp_path / "d")
    await first.open()
    wanted = pod("p", server(), restartPolicy="Always")
    worker = first.start(wanted)
    await first.ready("p")
    ports = first.cluster.annotations["p"]["node.wakeful.dev/ports"]
    await first.close(is_ending=False)
    (first.layout.pods / worker.uid / "state.json").unlink()
    second = Machine(tmp_path / "d")
    await second.open()
    second.start(wanted)
    await second.ready("p")
    assert second.cluster.annotations["p"]["node.wakeful.dev/ports"] == ports
    await second.close()
