"""``wakeful up``: start the platform of a data directory, say when it is ready, stop it on Ctrl-C.

Calls ``standalone.supervisor``. Imports no client library, so that the first process starts at once. Everything that can be wrong beforehand (lock, folder,
ports, image table) is checked before a process is started, and answered by one sentence.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shutil
import socket
import sys
import time
from pathlib import Path

from standalone import instance
from standalone.layout import Layout
from standalone.node import images
from standalone.processes import Options, build_installer, build_processes
from standalone.supervisor import Supervisor
from wakeful.kit import lifecycle

READY_S = 60.0
LEAST_FREE_BYTES = 64 * 1024 * 1024


def run(options: argparse.Namespace) -> int:
    """Run until a signal. 0 after a clean end, 1 with one sentence when it cannot start."""
    layout = Layout(options.data_dir)
    folders = tuple(folder.absolute() for folder in options.local_models)
    chosen = Options(options.port, options.api_port, options.webhook_port, options.images, folders)
    try:
        with instance.take_lock(layout):
            instance.end_leftovers(layout)
            _check(layout, chosen)
            return lifecycle.run(_up(layout, chosen))
    except instance.InstanceError as error:
        print(f"wakeful up: {error}", file=sys.stderr)
        return 1


async def _up(layout: Layout, options: Options) -> int:
    stop = lifecycle.stop_event()
    record = instance.Record(options.port, options.api_port, instance.ProcessId.of(os.getpid()))
    supervisor = Supervisor(layout, record, build_processes(layout, options))
    layout.ready.unlink(missing_ok=True)
    supervisor.start()
    failure: instance.InstanceError | None = None
    ready = asyncio.create_task(_get_ready(layout, options, supervisor))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait((ready, stopped), return_when=asyncio.FIRST_COMPLETED)
    if ready.done():
        raised = ready.exception()
        if isinstance(raised, instance.InstanceError):
            failure = raised
        elif raised is not None:
            failure = instance.InstanceError(f"could not start: {raised!r}")
        else:
            with contextlib.suppress(OSError):  # a full disk: the fork servers start after a while anyway
                layout.ready.touch()
            _greet(layout, options, record.supervisor.age_s)
            await stopped
    ready.cancel()
    stopped.cancel()
    print("stopping ...", file=sys.stderr, flush=True)
    await supervisor.stop()
    if failure is not None:
        raise failure
    return 0


async def _get_ready(layout: Layout, options: Options, supervisor: Supervisor) -> None:
    deadline = time.monotonic() + READY_S
    installer = build_installer(layout, options)
    await asyncio.gather(supervisor.ready("apiserver", deadline), supervisor.run_once(installer))
    names = ("controller", "knative", "node", "gateway", "eventing")
    await asyncio.gather(*(supervisor.ready(name, deadline) for name in names))


def _check(layout: Layout, options: Options) -> None:
    try:
        free = shutil.disk_usage(layout.data_dir).free
        probe = layout.data_dir / ".probe"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise instance.InstanceError(f"cannot write in {layout.data_dir}: {error.strerror}") from error
    if free < LEAST_FREE_BYTES:
        raise instance.InstanceError(
            f"the disk of {layout.data_dir} has {free // 2**20} MiB free; {LEAST_FREE_BYTES // 2**20} MiB are needed"
        )
    if options.images is not None and not options.images.is_file():
        raise instance.InstanceError(f"--images {options.images} is not a file")
    for folder in options.local_models:
        if not folder.is_dir() or ":" in str(folder):
            raise instance.InstanceError(f"--local-models {folder} is not a folder, or has ':' in its name")
    for table in (options.images, layout.data_dir / "images.yaml"):
        if table is not None and table.exists():
            try:
                images.read(table)
            except images.ImageTableError as error:
                raise instance.InstanceError(str(error)) from error
    ports = (
        ("--port", options.port),
        ("--api-port", options.api_port),
        ("--webhook-port", options.webhook_port),
    )
    for flag, port in ports:
        _check_port(flag, port)


def _check_port(flag: str, port: int) -> None:
    with contextlib.closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise instance.InstanceError(
                f"port {port} on 127.0.0.1 cannot be used ({error.strerror}): choose another with {flag}"
            ) from error


def _greet(layout: Layout, options: Options, took_s: float) -> None:
    kubeconfig = layout.kubeconfig
    home = Path.home()
    with contextlib.suppress(ValueError):
        kubeconfig = "~" / kubeconfig.relative_to(home)
    print(
        f"Wakeful is ready after {took_s:.1f} s. Models answer at http://NAME.NAMESPACE.localhost:{options.port}\n"
        f"\n    export KUBECONFIG={kubeconfig}\n    kubectl get pods -A\n\nCtrl-C stops it.",
        flush=True,
    )
