"""A look at a PMML document before Java sees it: what must not be in it, told with the line it stands on.

Called by ``model`` with the file, before a Java machine is started. PMML is data, with two ways out of it: XML can name
other files (DOCTYPE), and JPMML takes a function's name with dots in it for a Java class and loads that. Both are refused.
Also found out here: what is no PMML at all, and how deep it nests. Left out: what the elements mean (JPMML checks that).

Invariant: a document that passes has no DOCTYPE, names no function with a dot that it does not define itself, and nests
no deeper than ``MAX_DEPTH``.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from wakeful.core.protocol.problem import shown
from wakeful.serving.model import LoadError

MAX_DEPTH = 500
"""Elements in one another. A tree of 480 levels passes; Java's own default since 24 is 100."""


class _Scan:
    """One document's handlers for expat."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.StartElementHandler = self._on_start
        self._parser.EndElementHandler = self._on_end
        self._parser.StartDoctypeDeclHandler = self._on_doctype
        self._depth = 0
        self._in_extension = 0
        self._defined: set[str] = set()
        self._used: dict[str, int] = {}

    def read(self, file: BinaryIO) -> dict[str, int]:
        """The functions that the document calls and does not define, with lines. Raises ``LoadError``."""
        try:
            self._parser.ParseFile(file)
        except (
            expat.ExpatError,
            LookupError,
            ValueError,
        ) as error:  # the last two: an encoding that there is not
            raise LoadError(f"{self._path.name} is no well-formed XML: {error}") from error
        called = {name: line for name, line in self._used.items() if name not in self._defined}
        for name, line in called.items():
            if "." in name:
                raise LoadError(
                    f"{self._path.name}, line {line}, calls the function {shown(name)}, which the document does not define and "
                    "PMML does not have: a name with dots means a Java class, and a model file runs no code here; write "
                    "it as a DefineFunction"
                )
        return called

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        self._depth += 1
        if self._depth == 1 and local != "PMML":
            raise LoadError(f"{self._path.name} is no PMML: its outermost element is {shown(local)}")
        if self._depth > MAX_DEPTH:
            line = self._parser.CurrentLineNumber
            raise LoadError(
                f"{self._path.name}, line {line}, has more than {MAX_DEPTH} elements in one another"
            )
        if (
            self._in_extension or local == "Extension"
        ):  # what others wrote for themselves: nothing of it is computed
            self._in_extension += 1
        elif local == "Apply" and "function" in attributes:
            self._used.setdefault(attributes["function"], self._parser.CurrentLineNumber)
        elif local == "DefineFunction" and "name" in attributes:
            self._defined.add(attributes["name"])

    def _on_end(self, name: str) -> None:
        self._depth -= 1
        self._in_extension -= bool(self._in_extension)

    def _on_doctype(self, *_: object) -> None:
        raise LoadError(
            f"{self._path.name}, line {self._parser.CurrentLineNumber}, has a DOCTYPE, which can name other files: take the line out"
        )


def check(path: Path) -> dict[str, int]:
    """Read the whole document once: the functions that it calls and does not define, and the lines where.

    Raises ``LoadError`` for what must not be in it, ``OSError`` where it cannot be read.
    """
    with path.open("rb") as file:
        return _Scan(path).read(file)
