"""The checks of ``wakeful doctor`` that only one machine has: its processes, its disk, its port.

Called by ``doctor``. Invariant: nothing is changed, and a platform that hangs is told within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil

from standalone import health, instance
from standalone.layout import Layout
from standalone.processes import Options, build_processes
from wakeful.cli.doctor_report import Check, warning, well, wrong

LOW_BYTES = 1 << 30
RESTARTS_SHOWN = 3
CONNECT_S = 2.0


async def look(layout: Layout, record: instance.Record) -> list[Check]:
    """All checks of the machine."""
    return [*await _processes(layout, record), await _gateway(record), _disk(layout)]


async def _processes(layout: Layout, record: instance.Record) -> list[Check]:
    checks = []
    for process in build_processes(layout, Options(record.port, record.api_port)):
        state = await health.ask(process.admin)
        restarts = record.restarts.get(process.name, 0)
        logs = f"wakeful logs {process.name} --data-dir {layout.data_dir}"
        name = f"process {process.name}"
        if state != health.OK:
            checks.append(wrong(name, state, f"its log says why: {logs}"))
        elif restarts > RESTARTS_SHOWN:
            checks.append(
                warning(name, f"ok, but started again {restarts} times", f"its log says why: {logs}")
            )
        else:
            checks.append(well(name, "ok"))
    return checks


async def _gateway(record: instance.Record) -> Check:
    address = f"127.0.0.1:{record.port}"
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", record.port)
            writer.write(b"GET / HTTP/1.0\r\nHost: wakeful-doctor.invalid\r\n\r\n")
            answer = await reader.readline()
            writer.close()
            if answer.startswith(b"HTTP/"):
                return well("gateway", f"answers on {address}")
    todo = "look at `wakeful logs gateway`; does another program use the port?"
    return wrong("gateway", f"does not answer on {address}", todo)


def _disk(layout: Layout) -> Check:
    free = shutil.disk_usage(layout.data_dir).free
    found = f"{free / (1 << 30):.1f} GiB free for {layout.data_dir}"
    if free < LOW_BYTES:
        return warning("disk", found, "free some space: models, objects and events are written there")
    return well("disk", found)
