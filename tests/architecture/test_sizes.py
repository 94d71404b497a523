"""The house's sizes: files, functions, parameters, public methods (house.md section 6)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("wakeful", "controller", "activator_hooks", "runtimes", "eventing", "storage", "standalone")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "e2e").rglob("*.py")])

FILE_LINES = 400
FUNCTION_LINES = 50
PARAMETERS = 7
PUBLIC_METHODS = 12
BANNED_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager"}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=relative)
def test_file_is_at_most_400_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= FILE_LINES


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_functions_and_classes_are_small(path: Path) -> None:
    assert list(findings(path)) == []


def findings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name}: {lines} lines"
            parameters = parameter_count(node)
            if parameters > PARAMETERS:
                yield f"{node.name}: {parameters} parameters"
        if isinstance(node, ast.ClassDef):
            public = [
                item.name
                for item in node.body
                if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
                and not item.name.startswith("_")
                and not is_property(item)
            ]
            if len(public) > PUBLIC_METHODS:
                yield f"{node.name}: {len(public)} public methods"


def parameter_count(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [arg.arg for arg in node.args.posonlyargs + node.args.args + node.args.kwonlyargs]
    return len([name for name in names if name not in ("self", "cls")])


def is_property(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(item, ast.Name) and item.id == "property" for item in node.decorator_list)


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert [relative(path) for path in SOURCES if path.stem in BANNED_NAMES] == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        relative(path)
        for path in SOURCES
        if path.name != "__init__.py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_nothing_is_imported_from_a_conftest_by_that_name() -> None:
    """Each folder has one: which of them ``conftest`` is depends on what else pytest was asked for. Use ``*_rig``."""
    named = "conftest"
    found = [relative(path) for path in TESTS if f"\nfrom {named} import" in path.read_text()]
    assert found == []
