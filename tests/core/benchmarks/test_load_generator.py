"""The load generator of hack/bench serving counts every request that was due, the last ones too."""

from __future__ import annotations

import socket
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # benchmarks is no installed package

from benchmarks import _serving_load  # noqa: E402

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
MESSAGE = b"GET / HTTP/1.1\r\n\r\n"


def slow(listener: socket.socket, takes_s: float) -> None:
    """One connection, one answer after the other."""
    connection, _ = listener.accept()
    with connection:
        left = 0
        while data := connection.recv(4096):
            left += len(data)
            while left >= len(MESSAGE):
                left -= len(MESSAGE)
                time.sleep(takes_s)
                connection.sendall(ANSWER)


def test_answers_that_come_after_the_last_question_are_counted() -> None:
    """Ten requests in 0.1 s to a server that takes 20 ms each: half of them wait for those before."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=slow, args=(listener, 0.02))
        server.start()
        found = _serving_load.pace(listener.getsockname()[1], MESSAGE, 1, 0.1, 100.0)
        server.join(10)
    assert len(found.latencies_s) == 10
    assert max(found.latencies_s) > 0.1
