"""The last words of a process that cannot start: one sentence, on stderr and as the container's termination message.

Called by the ``__main__`` of model servers and of the storage initializer. A kubelet shows the termination file in
``kubectl describe``, KServe's controller in ``lastFailureInfo``; without the file they take the end of the log, where
the sentence stands among log lines. The node of one machine names the file in ``WAKEFUL_TERMINATION_LOG``, a kubelet
mounts ``/dev/termination-log``.

Invariant: failing to write the file never hides the sentence from stderr.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

KUBELET_FILE = "/dev/termination-log"
MAX_BYTES = 4096
"""What a kubelet keeps."""


def fail(sentence: str, status: int, environ: Mapping[str, str]) -> int:
    """Leave ``sentence`` (made one line) behind; returns ``status`` for the caller to exit with."""
    line = " ".join(sentence.split())
    leave(line, environ)
    sys.stdout.flush()
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
    return status


@contextlib.contextmanager
def standing(sentence: str, environ: Mapping[str, str]) -> Iterator[None]:
    """Have ``sentence`` as termination message inside the block: for work whose failure may end the process at once."""
    leave(sentence, environ)
    try:
        yield
    finally:
        leave("", environ)


def leave(line: str, environ: Mapping[str, str]) -> None:
    """Make ``line`` the termination message so far."""
    file = Path(environ.get("WAKEFUL_TERMINATION_LOG") or KUBELET_FILE)
    with contextlib.suppress(OSError):
        if file.exists() or "WAKEFUL_TERMINATION_LOG" in environ:
            file.write_bytes(line.encode(errors="replace")[:MAX_BYTES])
