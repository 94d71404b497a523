"""The command line of hack/cluster: a real one-node Kubernetes with Knative Serving, Kourier and Knative Eventing.

Reads the arguments, calls one function of lifecycle.py, report.py or smoke.py, and turns a ClusterError into one line
on standard error and exit status 1. Standard output of `kubeconfig`, `env` and `status --json` is for programs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from realnode import components, lifecycle, needs, report, smoke
from realnode.node import ClusterError, Node, cache_folder, parse_index
from realnode.progress import Progress


def main(arguments: Sequence[str]) -> int:
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        node = Node(options.index, cache_folder())
        status = act(options, node, Progress())
        sys.stdout.flush()
        return status
    except ClusterError as error:
        print(f"hack/cluster: {error}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"hack/cluster: {error}; are you root, and may this machine make namespaces?", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `hack/cluster status | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        print(f"hack/cluster: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("hack/cluster: interrupted; run the same command again, or hack/cluster down", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    names = f"{', '.join(components.COMPONENTS)}"
    index = argparse.ArgumentParser(add_help=False)
    index.add_argument(
        "--index",
        type=parse_index,
        default=os.environ.get("WAKEFUL_CLUSTER_INDEX") or "0",
        metavar="N",
        help="which node, 0 to 15 (default: WAKEFUL_CLUSTER_INDEX, else 0)",
    )
    top = argparse.ArgumentParser(prog="hack/cluster", description=(__doc__ or "").partition("\n")[0])
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, parents=[index])

    add("up", "build what is not built, start the node, wait until it is ready; safe to repeat")
    add("build", "only build (needs Go, not root)")
    down = add("down", "end and remove everything that up made; safe to repeat")
    down.add_argument("--purge", action="store_true", help="also remove all that was built")
    add("status", "components, memory, readiness").add_argument("--json", action="store_true")
    logs = add("logs", "the log of a component")
    logs.add_argument("name", help=f"one of {names} or box")
    logs.add_argument("-f", "--follow", action="store_true")
    logs.add_argument("-n", "--lines", type=int, default=100)
    load = add("load", "import image archives (docker or OCI, tar) into the node")
    load.add_argument("archives", nargs="+", type=Path)
    restart = add("restart", "end a component and start it again; `node` is a power cut of the whole node")
    restart.add_argument("name", help=f"one of {names}, node")
    add("kill", "SIGKILL to a component; it stays dead").add_argument("name", help=f"one of {names}")
    add("start", "start a killed component").add_argument("name", help=f"one of {names}")
    add("smoke", "prove the node with a Knative Service and an event")
    add("kubeconfig", "print the path of the kubeconfig")
    add("env", "print lines for the shell: KUBECONFIG, WAKEFUL_CLUSTER_INGRESS, WAKEFUL_CLUSTER_HOST")
    return top


def act(options: argparse.Namespace, node: Node, progress: Progress) -> int:
    match options.command:
        case "up":
            lifecycle.up(node, progress)
            print(environment(node))
        case "build":
            needs.check(node.cache, to_run=False, to_build=True, progress=progress)
            lifecycle.prepare(node.cache, progress)
        case "status":
            return show_status(node, as_json=options.json)
        case "logs":
            follow(node, options)
        case "kubeconfig":
            lifecycle.programs_of(node)
            print(node.kubeconfig())
        case "env":
            lifecycle.programs_of(node)
            print(environment(node))
        case _:
            act_as_root(options, node, progress)
    return 0


def act_as_root(options: argparse.Namespace, node: Node, progress: Progress) -> None:
    if os.geteuid() != 0:
        raise ClusterError(
            f"hack/cluster {options.command} needs root (processes and namespaces of the node are root's)"
        )
    match options.command:
        case "down":
            lifecycle.down(node, progress)
            if options.purge:
                lifecycle.purge(node.cache, progress)
        case "load":
            lifecycle.load(node, options.archives, progress)
        case "restart":
            lifecycle.restart(node, options.name, progress)
        case "kill":
            lifecycle.kill(node, options.name, progress)
        case "start":
            lifecycle.start_again(node, options.name, progress)
        case "smoke":
            smoke.check(node, progress)


def environment(node: Node) -> str:
    """What a shell or a test needs to use the node; hack/e2e reads these names."""
    found = {
        "KUBECONFIG": node.kubeconfig(),
        "WAKEFUL_CLUSTER_INGRESS": node.ingress_url,
        "WAKEFUL_CLUSTER_HOST": node.host_ip,
    }
    return "\n".join(f"export {name}={value}" for name, value in found.items())


def show_status(node: Node, *, as_json: bool) -> int:
    found = report.gather(node)
    print(report.as_json(found) if as_json else report.render(found))
    return 1 if found["problems"] else 0


def follow(node: Node, options: argparse.Namespace) -> None:
    path = node.logs / f"{options.name}.log"
    if not path.is_file():
        known = sorted(found.stem for found in node.logs.glob("*.log")) if node.logs.is_dir() else []
        raise ClusterError(
            f"node {node.index} has no log {options.name}; it has {', '.join(known) or 'none'}"
        )
    more = ["-F"] if options.follow else []
    os.execvp("tail", ["tail", "-n", str(options.lines), *more, str(path)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
