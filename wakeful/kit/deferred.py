"""Deferred imports: a library's big modules are made when they are imported, and run when something of them is used.

A program calls ``install`` with a ``Table`` before it imports the library. From then on ``import scipy.stats`` costs a
look at the file system; the first use of an attribute runs the module as if it had been imported there. Four means:

- a deferred module runs at the first attribute that is asked of it, or when a submodule of it is imported;
- an open package, too, but its submodules may be imported without it, and a name that is a submodule's, or that its
  source takes from one by a plain ``from`` line, is taken from there (for packages whose ``__init__`` only re-exports);
- a stand-in is what ``from module import name`` gets at the top of the importers' modules, and nobody else: it resolves
  to the real object when it is called, subclassed, compared by isinstance, or asked for anything;
- a narrow predicate is a function that says False of every value of the plain types, so that it is not asked about them.

Left out: compiled modules (they cannot be made without running them), and which modules are worth it (the caller's table).

Invariant: a module runs once, in one thread, with the interpreter's own lock for that module held; another thread that
wants something of it meanwhile waits. A module that fails to run stays deferred and fails again, with its own error.
"""

from __future__ import annotations

import contextlib
import importlib._bootstrap
import importlib._bootstrap_external
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader, SourcelessFileLoader
from threading import get_ident
from types import ModuleType
from typing import Any, SupportsIndex, cast

_IMPORT_ITSELF = frozenset((importlib._bootstrap.__name__, importlib._bootstrap_external.__name__))
_bootstrap: Any = importlib._bootstrap  # for the locks that `import` itself takes

OFF = "WAKEFUL_EAGER_IMPORTS"
"""Environment: ``true`` imports everything at once, as without this module."""

# What `import` itself, tracebacks and warnings ask of a module that nobody uses yet.
_PASSIVE = frozenset(
    ("__name__", "__path__", "__spec__", "__loader__", "__package__", "__file__", "__cached__", "__class__")
)
_FROM_LINES = re.compile(r"^from ([\w.]+) import (?:\(([^)]*)\)|(.+))$", re.MULTILINE)
_plain = ModuleType.__getattribute__


@dataclass(frozen=True, slots=True)
class Table:
    """What is deferred."""

    modules: Mapping[str, frozenset[str]]
    """Deferred modules, each with the names that have stand-ins."""
    packages: frozenset[str] = frozenset()
    """Open packages; the names of those that are in ``modules`` too have stand-ins."""
    free: frozenset[str] = frozenset()
    """Submodules of deferred modules that may be imported without them."""
    homes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Deferred modules and open packages, each with names that are taken from a submodule, which is named after them."""
    predicates: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Deferred modules, each with its narrow predicates of one argument."""
    plain_types_of: frozenset[str] = frozenset()
    """Top-level packages whose types are plain."""
    importers: frozenset[str] = frozenset()
    """Top-level packages whose code gets stand-ins and narrow predicates; all other code gets the real object."""

    def __contains__(self, name: str) -> bool:
        return name in self.modules or name in self.packages or name in self.predicates


def install(table: Table, environ: Mapping[str, str]) -> bool:
    """Defer what ``table`` names and is not imported yet. False, where ``WAKEFUL_EAGER_IMPORTS`` says not to."""
    if environ.get(OFF, "").lower() == "true":
        return False
    sys.meta_path.insert(0, _Finder(table))
    return True


def stop() -> bool:
    """Defer nothing more and run what was deferred. False, where nothing was.

    For a program whose library failed to import: a table may be wrong about another version of it, and then the same
    import works once every package has run in full. What fails to run here says so where it is asked for.
    """
    finders = [finder for finder in sys.meta_path if isinstance(finder, _Finder)]
    for finder in finders:
        sys.meta_path.remove(finder)
    waiting = pending()
    for name in waiting:
        with contextlib.suppress(Exception):
            run(sys.modules[name])
    return bool(finders or waiting)


def pending() -> list[str]:
    """The deferred modules that were imported and have not run, sorted."""
    return sorted(name for name, module in sys.modules.items() if type(module) is _Deferred)


def run(module: ModuleType) -> None:
    """Run ``module`` if it is deferred and has not run. Raises what its code raises."""
    loader = _plain(module, "__loader__")
    if isinstance(loader, _Loader):
        loader.run(module)


class _Finder:
    """Comes before the interpreter's own finders: gives deferred modules a loader that does not run them."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self._table:
            spec = PathFinder.find_spec(name, path, target)
            if spec is not None and isinstance(spec.loader, SourceFileLoader | SourcelessFileLoader):
                spec.loader = _Loader(spec.loader, self._table)  # type: ignore[assignment]
            return spec
        parent = name.rpartition(".")[0]
        if parent not in self._table or parent in self._table.packages or name in self._table.free:
            return None
        loader = _plain(sys.modules[parent], "__loader__")
        if isinstance(loader, _Loader) and loader.runner is None:
            loader.run(sys.modules[parent])
            if name in sys.modules:  # the package imports this submodule itself
                return _present(name, sys.modules[name])
        return None


class _Loader:
    """Makes a module; ``inner`` runs it when it is used."""

    def __init__(self, inner: SourceFileLoader | SourcelessFileLoader, table: Table) -> None:
        self._inner = inner
        self._table = table
        self._given: dict[str, _StandIn] = {}
        self._exports: dict[str, tuple[str, str]] | None = None
        self.runner: int | None = None
        """The thread that runs the module now."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Deferred

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._inner, name)  # get_source, get_resource_reader, ...

    def run(self, module: ModuleType) -> None:
        """Run the module, unless that was done or this thread is doing it."""
        name = str(_plain(module, "__name__"))
        parent = name.rpartition(".")[0]
        if parent in self._table and parent not in self._table.packages and name not in self._table.free:
            run(sys.modules[parent])
        lock = _bootstrap._ModuleLockManager(name)
        try:
            lock.__enter__()
        except _bootstrap._DeadlockError:
            return  # as `import` does it: two modules that wait for each other see each other half run
        try:
            if self.runner is None and type(module) is _Deferred:
                self._run_locked(module)
        finally:
            lock.__exit__(None, None, None)

    def _run_locked(self, module: ModuleType) -> None:
        spec = _plain(module, "__spec__")
        self.runner = get_ident()
        spec._initializing = True  # others that import the module now wait for it
        try:
            self._inner.exec_module(module)
        finally:
            spec._initializing = False
            self.runner = None
        spec.loader = self._inner
        ModuleType.__setattr__(module, "__loader__", self._inner)
        module.__class__ = ModuleType

    def shortcut(self, module: ModuleType, name: str) -> Any:
        """What ``name`` of the module is without running it; ``_NONE`` where that cannot be said."""
        mine, table = str(_plain(module, "__name__")), self._table
        path = f"{mine}.{name}"
        if path in table or path in table.free:
            return import_module(path)
        if name in table.homes.get(mine, ()):
            return getattr(import_module(f"{mine}.{table.homes[mine][name]}"), name)
        is_predicate = name in table.predicates.get(mine, ())
        if is_predicate or name in table.modules.get(mine, ()):
            caller, is_import = _caller()
            if caller in table.importers and (is_import or is_predicate):
                return self._stand_in(mine, name, is_predicate)
        if mine in table.packages and not name.startswith("__"):
            return self._of_package(module, path, name)
        return _NONE

    def _stand_in(self, module: str, name: str, is_predicate: bool) -> _StandIn:
        if name not in self._given:
            types_of = self._table.plain_types_of
            given = _NarrowPredicate(module, name, types_of) if is_predicate else _StandIn(module, name)
            self._given[name] = given
        return self._given[name]

    def _of_package(self, package: ModuleType, path: str, name: str) -> Any:
        if self._exports is None:
            mine = package.__name__
            self._exports = _exports(mine, self._inner.get_source(mine) or "")
        source, its_name = self._exports.get(name, ("", ""))
        if source:
            module = import_module(source)
            return getattr(module, its_name) if its_name else module
        return import_module(path) if PathFinder.find_spec(path, package.__path__) is not None else _NONE


def _present(name: str, module: ModuleType) -> ModuleSpec:
    """A specification for a module that was imported while it was looked for: gives that module and runs nothing."""
    loader = _PresentLoader(module, module.__spec__)
    module.__spec__ = None  # or `import` takes the module's own, which would run it again
    return ModuleSpec(name, loader)  # type: ignore[arg-type]


class _PresentLoader:
    def __init__(self, module: ModuleType, spec: ModuleSpec | None) -> None:
        self._module = module
        self._spec = spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Deferred(ModuleType):
    """A module that has not run."""

    def __getattribute__(self, name: str) -> Any:
        if name in _PASSIVE:
            return _plain(self, name)
        loader = _plain(self, "__loader__")
        if not isinstance(loader, _Loader) or loader.runner == get_ident():
            return _plain(self, name)
        found = loader.shortcut(self, name)
        if found is not _NONE:
            return found
        loader.run(self)
        return _plain(self, name) if type(self) is _Deferred else getattr(self, name)

    def __setattr__(self, name: str, value: object) -> None:
        loader = _plain(self, "__loader__")
        is_import = name in _PASSIVE or value is sys.modules.get(f"{_plain(self, '__name__')}.{name}")
        if not is_import and isinstance(loader, _Loader) and loader.runner != get_ident():
            loader.run(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        run(self)
        ModuleType.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        run(self)
        return list(ModuleType.__dir__(self))


class _StandIn:
    """Stands for one object of a deferred module."""

    __slots__ = ("_module", "_name")

    def __init__(self, module: str, name: str) -> None:
        self._module = module
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _real(self._module, self._name)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(_real(self._module, self._name), name)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, _real(self._module, self._name))

    def __subclasscheck__(self, subclass: type) -> bool:
        return issubclass(subclass, _real(self._module, self._name))

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (_real(self._module, self._name),)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, _StandIn):
            other = _real(other._module, other._name)
        return bool(_real(self._module, self._name) == other)

    def __hash__(self) -> int:
        return hash(_real(self._module, self._name))

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return cast("str | None", _real(self._module, self._name).__doc__)

    @property  # type: ignore[misc]
    def __class__(
        self,
    ) -> Any:  # a stand-in for a class is an instance of type, for whoever asks by isinstance
        return _real(self._module, self._name).__class__

    def __copy__(self) -> Any:
        return _real(self._module, self._name)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _real(self._module, self._name)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return _real, (self._module, self._name)

    def __repr__(self) -> str:
        return repr(_real(self._module, self._name))


class _NarrowPredicate(_StandIn):
    """Stands for a function that is False of the plain types."""

    __slots__ = ("_types_of",)

    def __init__(self, module: str, name: str, types_of: frozenset[str]) -> None:
        super().__init__(module, name)
        self._types_of = types_of

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and type(args[0]).__module__.partition(".")[0] in self._types_of:
            return False
        return super().__call__(*args, **kwargs)


_NONE = object()


def _exports(package: str, source: str) -> dict[str, tuple[str, str]]:
    """By name, the submodule that the package's source takes it from, and its name there ('' for the submodule itself)."""
    found = {}
    for module, many, few in _FROM_LINES.findall(source):
        place = package + module.rstrip(".") if module.startswith(".") else module
        listed = re.sub(r"#.*", "", many or few).replace(",", "\n")
        for name in re.findall(r"^\s*(\w+)\s*$", listed, re.MULTILINE):
            if place == package:
                found[name] = (f"{package}.{name}", "")
            elif place.startswith(package + "."):
                found[name] = (place, name)
    return found


def _caller() -> tuple[str, bool]:
    """The top-level package of the code that asks a deferred module for a name, and whether it is a module's own level."""
    frame = sys._getframe(3)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _IMPORT_ITSELF:
        frame = frame.f_back
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return package, frame.f_code.co_name == "<module>"


def _real(module: str, name: str) -> Any:
    found = sys.modules[module]
    run(found)
    return getattr(found, name)
