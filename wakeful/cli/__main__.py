"""The ``wakeful`` command: parses arguments and hands over to one module a verb. Composition root of the command line.

Exit status: 0 done, 1 failed with one sentence on stderr, 2 wrong usage. Verbs import lazily, so that
``wakeful status`` does not pay for ``wakeful up``.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from wakeful import __version__

DEFAULT_DATA_DIR = "~/.local/share/wakeful"


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the return value is the exit status."""
    options = _parser().parse_args(argv)
    options.data_dir = Path(options.data_dir).expanduser().absolute()
    verb = importlib.import_module(f"wakeful.cli.{options.verb}")
    try:
        status: int = verb.run(options)
    except BrokenPipeError:  # `wakeful logs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wakeful", description="Event-driven, serverless inference on one machine."
    )
    parser.add_argument("--version", action="version", version=f"wakeful {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    shared = argparse.ArgumentParser(add_help=False)
    data_dir = os.environ.get("WAKEFUL_DATA_DIR", DEFAULT_DATA_DIR)
    shared.add_argument(
        "--data-dir",
        default=data_dir,
        help="where everything is kept (default %(default)s, or $WAKEFUL_DATA_DIR)",
    )
    _add_up(verbs.add_parser("up", parents=[shared], help="start the platform and stay in the foreground"))
    verbs.add_parser("down", parents=[shared], help="stop the platform of this data directory")
    verbs.add_parser("status", parents=[shared], help="show the processes, the addresses and what is served")
    doctor = verbs.add_parser(
        "doctor", parents=[shared], help="what is wrong, and what to do; also for clusters"
    )
    doctor.add_argument("--kubeconfig", type=Path, metavar="FILE", help="look at this cluster instead")
    logs = verbs.add_parser("logs", parents=[shared], help="show the platform's own logs")
    logs.add_argument("process", nargs="?", help="one of: apiserver controller knative node gateway eventing")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as lines come")
    logs.add_argument("--tail", type=int, default=50, metavar="N", help="last N lines of each (default 50)")
    apply = verbs.add_parser("apply", parents=[shared], help="apply manifests, for machines without kubectl")
    apply.add_argument(
        "-f", "--filename", action="append", required=True, help="file, folder or - for standard input"
    )
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--port", type=_port, default=8080, help="the gateway's port (default 8080)")
    up.add_argument("--api-port", type=_port, default=6443, help="the Kubernetes API's port (default 6443)")
    up.add_argument(
        "--webhook-port", type=_port, default=9443, help="the controller's webhook port (default 9443)"
    )
    up.add_argument("--images", type=Path, default=None, metavar="FILE", help="a table of images of your own")
    up.add_argument(
        "--local-models",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="a folder that storageUri: file:///... may read, beside /mnt; may be given several times",
    )


def _port(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: give a number from 1 to 65535")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
