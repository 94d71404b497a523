"""A deferred module is made when it is imported and runs when it is used, once, and is then what it always was."""

from __future__ import annotations

import copy
import importlib
import pickle
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from wakeful.kit import deferred

TREE = {
    "dl_tools/__init__.py": "import dl_log; dl_log.ran.append('tools')\nfrom dl_tools.part import CLOSE\n"
    "__all__ = ['add', 'Base', 'limit', 'is_frame']\nlimit = 3\n"
    "def __getattr__(name):\n    if name == 'later':\n        return 'found late'\n    raise AttributeError(name)\n"
    "def add(a, b=1):\n    'Adds.'\n    return a + b\n"
    "class Base:\n    kind = 'base'\n"
    "def is_frame(x):\n    dl_log.ran.append('asked')\n    return getattr(x, 'is_frame', False)\n",
    "dl_tools/part.py": "import dl_log; dl_log.ran.append('part')\nCLOSE = 0.5\n",
    "dl_tools/broken.py": "import dl_log; dl_log.ran.append('broken')\nraise ValueError('bad day')\n",
    "dl_open/__init__.py": "import dl_log; dl_log.ran.append('open')\nfrom dl_open._one import One, first  # plain\n"
    "from ._two import (\n    Two,\n)\nfrom dl_open import plain\nExtra = One\n",
    "dl_open/_one.py": "import dl_log; dl_log.ran.append('one')\nfrom dl_open import _two\n"
    "class One:\n    pass\ndef first():\n    return 1\n",
    "dl_open/_two.py": "import dl_log; dl_log.ran.append('two')\nclass Two:\n    pass\n",
    "dl_open/plain.py": "import dl_log; dl_log.ran.append('plain')\n",
    "dl_open/_circle.py": "from dl_open.circled import A\nB = 2\n",
    "dl_tools/small.py": "import dl_log; dl_log.ran.append('small')\nWIDTH = 4\n",
    "dl_user/__init__.py": "from dl_tools import add, Base\nimport dl_tools\nsame = add\n"
    "def limit():\n    return dl_tools.limit\ndef frame(x):\n    return dl_tools.is_frame(x)\n",
    "dl_user/child.py": "from dl_tools import Base\nclass Child(Base):\n    pass\n",
    "dl_log.py": "ran = []\n",
}
TABLE = deferred.Table(
    modules={"dl_tools": frozenset({"add", "Base"}), "dl_tools.broken": frozenset()},
    packages=frozenset({"dl_open"}),
    free=frozenset({"dl_tools.small"}),
    homes={"dl_tools": {"WIDTH": "small"}},
    predicates={"dl_tools": frozenset({"is_frame"})},
    plain_types_of=frozenset({"builtins"}),
    importers=frozenset({"dl_user"}),
)


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What has run, in order, with ``TABLE`` installed over the packages of ``TREE``."""
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert deferred.install(TABLE, {})
    yield importlib.import_module("dl_log").ran
    sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder) is not deferred._Finder]
    for name in [name for name in sys.modules if name.startswith("dl_")]:
        del sys.modules[name]


def test_an_import_runs_nothing_and_the_first_use_runs_all(ran: list[str]) -> None:
    module = importlib.import_module("dl_tools")
    assert ran == []
    assert deferred.pending() == ["dl_tools"]
    assert module.limit == 3
    assert ran == ["tools", "part"]
    assert deferred.pending() == []
    assert type(module) is types.ModuleType
    assert module.later == "found late"
    assert module.__spec__.loader is module.__loader__


def test_a_submodule_runs_its_package_first_and_once(ran: list[str]) -> None:
    part = importlib.import_module("dl_tools.part")
    assert (ran, part.CLOSE) == (["tools", "part"], 0.5)
    assert importlib.import_module("dl_tools").part is part
    assert part.__spec__.loader is part.__loader__


def test_a_free_submodule_and_what_is_at_home_there_do_without_the_package(ran: list[str]) -> None:
    assert importlib.import_module("dl_tools").WIDTH == 4
    assert importlib.import_module("dl_tools.small").WIDTH == 4
    assert ran == ["small"]


def test_a_stand_in_is_the_real_object_in_all_but_cost(ran: list[str]) -> None:
    user = importlib.import_module("dl_user")
    assert ran == []
    assert user.add(2, b=3) == 5
    real = importlib.import_module("dl_tools")
    assert user.add == user.same == real.add
    assert user.add != len
    assert hash(user.add) == hash(real.add)
    assert user.add.__doc__ == "Adds."
    assert repr(user.add) == repr(real.add)
    assert copy.deepcopy(user.add) is real.add
    assert pickle.loads(pickle.dumps(user.Base)) is real.Base
    assert isinstance(real.Base(), user.Base)
    assert issubclass(real.Base, user.Base)
    assert isinstance(user.Base, type)
    assert isinstance(user.add, types.FunctionType)
    assert copy.copy(user.Base) is real.Base
    assert user.Base.kind == "base"


def test_a_class_whose_base_is_a_stand_in_has_the_real_base(ran: list[str]) -> None:
    child = importlib.import_module("dl_user.child").Child
    assert child.__mro__[1] is importlib.import_module("dl_tools").Base


def test_others_than_the_importers_get_the_real_thing(ran: list[str]) -> None:
    from dl_tools import add  # type: ignore[import-not-found]

    assert type(add) is types.FunctionType
    assert type(pickle.loads(b"cdl_tools\nBase\n.")) is type


def test_a_function_of_an_importer_gets_the_real_thing(ran: list[str]) -> None:
    assert importlib.import_module("dl_user").limit() == 3
    assert ran == ["tools", "part"]


def test_a_narrow_predicate_runs_nothing_for_plain_types(ran: list[str]) -> None:
    user = importlib.import_module("dl_user")
    assert [user.frame(value) for value in ([1], {}, "x", None)] == [False] * 4
    assert ran == []
    assert user.frame(types.SimpleNamespace(is_frame=True)) is True
    assert ran == ["tools", "part", "asked"]


def test_an_open_package_gives_what_it_takes_from_submodules_without_running(ran: list[str]) -> None:
    package = importlib.import_module("dl_open")
    assert package.One.__module__ == "dl_open._one"
    assert package.first() == 1
    assert package.Two.__name__ == "Two"
    assert package.plain.__name__ == "dl_open.plain"
    assert ran == ["one", "two", "plain"]
    assert package.Extra is package.One
    assert ran == ["one", "two", "plain", "open"]
    assert not hasattr(package, "_absent")


def test_star_dir_and_vars_see_the_whole_module(ran: list[str]) -> None:
    space: dict[str, object] = {}
    exec("from dl_tools import *", space)
    assert {"add", "Base", "limit"} <= set(space)
    assert "Extra" in dir(importlib.import_module("dl_open"))


def test_an_assignment_outlives_the_run(ran: list[str]) -> None:
    module = importlib.import_module("dl_tools")
    module.limit = 7
    assert module.limit == 7
    assert ran == ["tools", "part"]
    del module.limit
    assert not hasattr(module, "limit")


def test_a_module_that_fails_says_why_each_time(ran: list[str]) -> None:
    broken = importlib.import_module("dl_tools.broken")
    for _ in range(2):
        with pytest.raises(ValueError, match="bad day"):
            _ = broken.anything
    assert ran == ["tools", "part", "broken", "broken"]


def test_stop_runs_what_waits_and_defers_no_more(ran: list[str]) -> None:
    importlib.import_module("dl_tools.broken")
    importlib.import_module("dl_tools")
    assert deferred.stop()
    assert "tools" in ran
    assert deferred.pending() == ["dl_tools.broken"]
    importlib.import_module("dl_open")
    assert "open" in ran


def test_the_environment_switches_it_off() -> None:
    before = list(sys.meta_path)
    assert not deferred.install(TABLE, {deferred.OFF: "true"})
    assert sys.meta_path == before


def test_a_compiled_module_and_an_absent_one_are_imported_as_always(ran: list[str]) -> None:
    table = deferred.Table(modules={"_heapq": frozenset(), "dl_absent": frozenset()})
    deferred.install(table, {})
    was = sys.modules.pop("_heapq")
    try:
        assert importlib.import_module("_heapq").heappush
    finally:
        sys.modules["_heapq"] = was
    with pytest.raises(ModuleNotFoundError, match="dl_absent"):
        importlib.import_module("dl_absent")


def test_threads_that_use_a_module_at_once_see_it_whole_and_run_it_once(
    ran: list[str], tmp_path: Path
) -> None:
    (tmp_path / "dl_tools" / "part.py").write_text(
        "import dl_log, threading; dl_log.ran.append('part')\n"
        "dl_log.inside.set()\nassert dl_log.go_on.wait(20)\nCLOSE = 0.5\n"
    )
    importlib.invalidate_caches()
    log = importlib.import_module("dl_log")
    log.inside, log.go_on = threading.Event(), threading.Event()
    user, seen = importlib.import_module("dl_user"), []
    threads = [threading.Thread(target=lambda: seen.append(user.limit())) for _ in range(4)]
    threads.append(threading.Thread(target=lambda: seen.append(user.add(2))))
    for thread in threads:
        thread.start()
    assert log.inside.wait(20)
    assert seen == []
    log.go_on.set()
    for thread in threads:
        thread.join(20)
    assert seen == [3] * 5
    assert ran == ["tools", "part"]
