"""``python -m storage SRC DST [SRC DST ...]``: the storage initializer, with KServe's arguments. Composition only.

Exit 0 when everything is in place, 1 for a failed download, 2 for wrong arguments. The last line on stderr is the
reason in one sentence; a kubelet makes it the container's termination message, which users see in ``kubectl describe``.
After success that message names the files that run code when loaded (``wakeful.core.api.code_bearing``).
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType

from storage import initializer, mounted, settings
from storage.errors import StorageError
from storage.stores import table
from wakeful.core.api import code_bearing
from wakeful.kit import termination

SECRET_NAMES = ("SECRET", "TOKEN", "KEY", "PASSWORD", "-headers", "STORAGE_CONFIG")
SHORTEST_SECRET = 6


def main(argv: Sequence[str] | None = None) -> int:
    """Fetch the pairs in ``argv``; the exit status."""
    words = sys.argv[1:] if argv is None else list(argv)
    signal.signal(signal.SIGTERM, _on_term)
    if not words or len(words) % 2:
        return _fail("usage: python -m storage SRC DST [SRC DST ...]", 2)
    environ: Mapping[str, str] = os.environ
    try:
        environ = mounted.environment(os.environ)
        sources = [mounted.resolve(uri, environ) for uri in words[::2]]
        pairs = [
            initializer.Pair(uri, Path(folder)) for uri, folder in zip(sources, words[1::2], strict=True)
        ]
        initializer.fetch_all(pairs, settings.load(environ), table.open_store)
        termination.leave(code_bearing.render(code_bearing_files(pair.folder for pair in pairs)), environ)
    except StorageError as error:
        return _fail(redacted(_told(error, words, environ), environ), 1)
    except Exception as error:  # a defect of ours: still one sentence, and no traceback with addresses in it
        return _fail(redacted(f"internal error: {type(error).__name__}: {error} [internal]", environ), 1)
    except KeyboardInterrupt:
        return _fail("stopped by a signal; the next run goes on where this one ended", 1)
    return 0


def code_bearing_files(folders: Iterable[Path]) -> list[str]:
    """Names of files below ``folders`` that run code when loaded: the controller warns of them."""
    found: list[str] = []
    for folder in dict.fromkeys(folders):
        for parent, inside, files in os.walk(folder):
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            names = [str((Path(parent) / name).relative_to(folder)) for name in sorted(files)]
            found += [name for name in names if code_bearing.is_code_bearing(name)]
            if len(found) >= code_bearing.MOST_NAMES:
                return found
    return found


def redacted(text: str, environ: Mapping[str, str]) -> str:
    """``text`` without any value of a variable whose name sounds secret: the second lock on the door."""
    for name, value in environ.items():
        if len(value) >= SHORTEST_SECRET and any(part in name for part in SECRET_NAMES):
            text = text.replace(value, "***")
    return text


def _told(error: StorageError, words: Sequence[str], environ: Mapping[str, str]) -> str:
    is_s3 = any(uri.startswith(("s3://", mounted.SPEC_SCHEME)) for uri in words[::2])
    hint = mounted.hint(environ) if is_s3 else ""
    return f"{error} [{error.reason}]" + (f"; {hint}" if hint else "")


def _fail(sentence: str, status: int) -> int:
    return termination.fail(sentence, status, os.environ)


def _on_term(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # download threads may wait for a silent peer; there is nothing left to clean up
