"""The `wakeful` command before a platform runs: what can be wrong is said in one sentence, and nothing is started."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from standalone import instance
from standalone.layout import SOCKET_PATH_LIMIT, Layout
from standalone.node.__main__ import parse as parse_node
from standalone.processes import Options, build_processes
from wakeful.cli.apply import ManifestError, read_documents


def run(*arguments: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "wakeful.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, **kwargs)  # type: ignore[call-overload,no-any-return]


def test_status_of_nothing(tmp_path: Path) -> None:
    done = run("status", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert "not running" in done.stdout


def test_down_of_nothing(tmp_path: Path) -> None:
    done = run("down", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "nothing is running here\n")


def test_logs_of_nothing(tmp_path: Path) -> None:
    done = run("logs", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("wakeful logs: there is not any log in")


def test_logs_show_the_tail_of_one_process(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.make()
    (layout.logs / "gateway.log").write_text("one\ntwo\nthree\n")
    done = run("logs", "gateway", "--tail", "2", "--data-dir", str(tmp_path))
    assert [line.split() for line in done.stdout.splitlines()] == [["gateway", "two"], ["gateway", "three"]]


def test_second_up_on_one_data_directory(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with instance.take_lock(layout):
        instance.write(layout, instance.Record(1, 2, instance.ProcessId.of(os.getpid())))
        done = run("up", "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        f"wakeful up: another `wakeful up` (process {os.getpid()}) is using {tmp_path}: "
        "stop it with `wakeful down`, or choose another --data-dir\n"
    )


@pytest.mark.parametrize("place", ["--images", "data directory"])
def test_up_with_an_image_table_that_cannot_be_used(tmp_path: Path, place: str) -> None:
    """The node would end again and again; the sentence names file, entry and field."""
    table = tmp_path / "images.yaml"
    table.write_text('images:\n  - pattern: "x:*"\n    argvv: [a]\n')
    home = tmp_path / "d" if place == "--images" else tmp_path
    more = ["--images", str(table)] if place == "--images" else []
    done = run("up", "--data-dir", str(home), *more)
    assert done.returncode == 1
    assert f"{table}: images[0]: unknown field 'argvv'" in done.stderr


@pytest.mark.parametrize("name", ["missing", "file", "a:b"])
def test_local_models_that_are_no_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "a:b").mkdir()
    done = run("up", "--data-dir", str(tmp_path / "d"), *free_ports(), "--local-models", str(tmp_path / name))
    assert done.returncode == 1
    assert done.stderr == (
        f"wakeful up: --local-models {tmp_path / name} is not a folder, or has ':' in its name\n"
    )


def test_local_models_reach_the_node(tmp_path: Path) -> None:
    options = Options(local_models=(tmp_path / "a", tmp_path / "b"))
    (node,) = [item for item in build_processes(Layout(tmp_path), options) if item.name == "node"]
    given = parse_node(list(node.argv[1:])).local_models
    assert given == [tmp_path / "a", tmp_path / "b"]


@pytest.mark.parametrize("flag", ["--port", "--api-port", "--webhook-port"])
def test_busy_port(tmp_path: Path, flag: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        done = run("up", "--data-dir", str(tmp_path), *free_ports(), flag, str(port))
    assert done.returncode == 1
    assert done.stderr.startswith(
        f"wakeful up: port {port} on 127.0.0.1 cannot be used (Address already in use)"
    )
    assert done.stderr.count("\n") == 1


def test_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("up", "--data-dir", str(tmp_path / "file" / "data"), *free_ports())
    assert done.returncode == 1
    assert done.stderr.startswith("wakeful up: cannot write in the data directory")
    assert done.stderr.count("\n") == 1


def test_port_that_is_no_port(tmp_path: Path) -> None:
    done = run("up", "--data-dir", str(tmp_path), "--port", "70000")
    assert done.returncode == 2
    assert "'70000' is not a port" in done.stderr


def test_recycled_process_id_is_not_alive() -> None:
    mine = instance.ProcessId.of(os.getpid())
    assert mine.is_alive
    assert not instance.ProcessId(mine.pid, mine.started + 1).is_alive


def test_record_survives_garbage(tmp_path: Path) -> None:
    (tmp_path / "instance.json").write_text("{")
    assert instance.read(Layout(tmp_path)) is None


def test_socket_paths_stay_short_enough(tmp_path: Path) -> None:
    deep = Layout(tmp_path / ("d" * 120))
    assert len(os.fsencode(deep.socket("eventing-admin"))) <= SOCKET_PATH_LIMIT + 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("just text", "is not a Kubernetes object: it needs apiVersion, kind and metadata"),
        ("apiVersion: v1\nkind: Pod", "is not a Kubernetes object"),
    ],
)
def test_bad_manifest(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message):
        list(read_documents(str(path)))


def test_folder_of_manifests_with_a_list(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text(
        "apiVersion: v1\nkind: List\nmetadata: {x: y}\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: p}}\n"
    )
    (tmp_path / "a.yaml").write_text("---\n---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n")
    (tmp_path / "c.txt").write_text("not read")
    assert [document["kind"] for _, document in read_documents(str(tmp_path))] == ["Namespace", "Pod"]


def free_ports() -> list[str]:
    flags = []
    for flag in ("--port", "--api-port", "--webhook-port"):
        with socket.create_server(("127.0.0.1", 0)) as free:
            flags += [flag, str(free.getsockname()[1])]
    return flags
