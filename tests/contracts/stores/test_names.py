"""Objects whose names look like our own working files are files like any other."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage import initializer, settings
from storage.stores import table

NAMES = {
    "a part": ("m.bin", "m.bin.part", "m.bin.part.part"),
    "our folders": ("files/a", "parts/a", "unpacked/a", ".unpacked"),
    "a long name": ("n" * 255,),
}


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_every_name_is_its_own_file(tmp_path: Path, names: tuple[str, ...]) -> None:
    """``X`` on its way was written over an object really named ``X.part``."""
    source, target = tmp_path / "in", tmp_path / "out"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(f"this is {name}")
    options = settings.load({"STORAGE_LOCAL_ROOTS": str(tmp_path)})
    initializer.fetch(initializer.Pair(f"file://{source}", target), options, table.open_store)
    assert {name: (target / name).read_text() for name in names} == {
        name: f"this is {name}" for name in names
    }


def test_the_marks_of_an_earlier_download_are_no_part_of_a_model(tmp_path: Path) -> None:
    """A folder that was downloaded to once, copied elsewhere and served from there: the marks were taken for files."""
    source, target = tmp_path / "in", tmp_path / "out"
    for name in ("m.bin", ".wakeful-complete.json", ".wakeful-staging-0/m.bin"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("{}")
    options = settings.load({"STORAGE_LOCAL_ROOTS": str(tmp_path)})
    pair = initializer.Pair(f"file://{source}", target)
    initializer.fetch(pair, options, table.open_store)
    assert sorted(path.name for path in target.iterdir()) == [".wakeful-complete.json", "m.bin"]
    kept = (target / "m.bin").stat().st_ino
    initializer.fetch(pair, options, table.open_store)
    assert (target / "m.bin").stat().st_ino == kept, "it was complete: nothing is downloaded again"
