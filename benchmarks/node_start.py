"""How long the node takes from a start order to the first line of a program: plain start and fork server.

    .venv/bin/python -m benchmarks.node_start [--runs 20] [--json]

For each way: milliseconds from the order (``runtime.run``) to the first line of the module's ``__main__``, with the
frameworks the fork server holds imported (``import sklearn.ensemble, wakeful.serving.server``), with and without
limits (cgroups). Prints median, p90 and the machine. Touches only a temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

from standalone.node.limits import Cgroups
from standalone.node.ports import Launch, Limits
from standalone.node.process_runtime import ProcessRuntime

MODULE = """\
import time
main = time.time()
import sklearn.ensemble, wakeful.serving.server
print(main, time.time())
"""


async def measure(
    runtime: ProcessRuntime, folder: Path, way: tuple[str | None, Limits], runs: int
) -> dict[str, list[float]]:
    preload, limits = way
    path = f"{folder}:{Path(__file__).parents[1]}"
    first, ready = [], []
    for number in range(runs):
        container_id = f"bench/{preload}-{limits.memory_bytes}/{number}"
        log = folder / "logs" / f"{container_id.replace('/', '-')}.log"
        argv = (sys.executable, "-m", "bench_main")
        launch = Launch(
            container_id, "bench", argv, {"PYTHONPATH": path}, folder, log, preload=preload, limits=limits
        )
        ordered = time.time()
        await runtime.run(launch)
        ended = await runtime.wait(container_id)
        await runtime.forget(container_id)
        text = log.read_text()
        if ended.code != 0:
            raise SystemExit(text)
        main, imported = map(float, text.split(" F ")[-1].split())
        first.append((main - ordered) * 1000)
        ready.append((imported - ordered) * 1000)
    return {"first_line_ms": first, "imported_ms": ready}


async def run(runs: int) -> dict[str, dict[str, float]]:
    limited = Limits(memory_bytes=1 << 30, cpu_cores=1.0)
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bench_main.py").write_text(MODULE)
        cgroups = Cgroups(name)
        runtime = ProcessRuntime(folder, folder, ("sklearn",), cgroups)
        await runtime.open()
        keeping = asyncio.create_task(runtime.keep())
        while not runtime.describe()["sklearn"]:  # noqa: ASYNC110  set-up
            await asyncio.sleep(0.05)
        ways = {
            "plain": (None, Limits()),
            "fork server": ("sklearn", Limits()),
            f"fork server, limits ({cgroups.describe()})": ("sklearn", limited),
        }
        for title, way in ways.items():
            taken = await measure(runtime, folder, way, runs if way[0] else max(3, runs // 4))
            results[title] = {
                f"{key}_{label}": round(value, 1)
                for key, values in taken.items()
                for label, value in (
                    ("p50", statistics.median(values)),
                    ("p90", sorted(values)[int(len(values) * 0.9)]),
                )
            }
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await runtime.close(is_ending=True)
        cgroups.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = asyncio.run(run(options.runs))
    if options.json:
        print(json.dumps(results))
        return
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {options.runs} runs"
    )
    for title, numbers in results.items():
        print(title)
        for key, value in numbers.items():
            print(f"  {key:<20} {value:8.1f} ms")


if __name__ == "__main__":
    main()
