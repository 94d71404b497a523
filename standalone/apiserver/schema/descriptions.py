"""Descriptions of built-in types for ``kubectl explain``, read from the installed ``kubernetes`` package's sources.

Called by ``openapi_types`` when an OpenAPI document is built. The package is not imported: that would cost the API
server a second and a hundred megabytes. Invariant: without the package, or with another layout of it, there are no
descriptions, and everything else works.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_FIELD = re.compile(
    r'^    (\w+): .*?Field\(.*?(?:serialization_alias="([^"]+)".*?)?description=("(?:[^"\\]|\\.)*")',
    re.MULTILINE,
)
_CLASS = re.compile(r'^class \w+\(BaseModel\):\n    """\n(.*?)\n    """', re.MULTILINE | re.DOTALL)


@cache
def _folder() -> Path | None:
    spec = find_spec("kubernetes")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    folder = Path(places[0]) / "client" / "models" if places else None
    return folder if folder is not None and folder.is_dir() else None


@cache
def _files() -> dict[str, Path]:
    """Files by name without underscores, which spares guessing where ``CSIPersistentVolume`` has them."""
    folder = _folder()
    return {path.stem.replace("_", ""): path for path in folder.glob("*.py")} if folder is not None else {}


@cache
def of_type(name: str) -> tuple[str, dict[str, str]]:
    """The description of a type such as ``V1PodSpec`` and of its fields by JSON name; empty where there is none."""
    path = _files().get(name.lower())
    if path is None:
        return "", {}
    try:
        source = path.read_text()
    except OSError:
        return "", {}
    fields = {}
    for attribute, alias, literal in _FIELD.findall(source):
        try:
            fields[alias or attribute] = str(ast.literal_eval(literal))
        except (ValueError, SyntaxError):
            continue
    match = _CLASS.search(source)
    return " ".join(match.group(1).partition("Attributes:")[0].split()) if match else "", fields
