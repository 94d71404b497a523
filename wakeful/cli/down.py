"""``wakeful down``: ask the running platform of a data directory to stop, and wait until it has.

SIGTERM to the supervisor only; the supervisor stops its processes in order. Leaves nothing half-stopped: if the
supervisor is gone already, the processes it left behind are ended.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time

from standalone import instance
from standalone.layout import Layout

WAIT_S = 60.0


def run(options: argparse.Namespace) -> int:
    """0 when nothing runs any more (also when nothing ran), 1 when it did not end in a minute."""
    layout = Layout(options.data_dir)
    record = instance.read(layout)
    if record is None or not instance.is_locked(layout):
        ended = instance.end_leftovers(layout)
        print(
            f"ended what a killed `wakeful up` left: {', '.join(ended)}"
            if ended
            else "nothing is running here"
        )
        return 0
    record.supervisor.send(signal.SIGTERM)
    deadline = time.monotonic() + WAIT_S
    while instance.is_locked(layout):
        if time.monotonic() > deadline:
            print(
                f"wakeful down: process {record.supervisor.pid} has not ended in {WAIT_S:.0f} s",
                file=sys.stderr,
            )
            return 1
        time.sleep(0.05)
    print("stopped")
    return 0
