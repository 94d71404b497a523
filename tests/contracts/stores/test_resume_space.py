"""A download that was interrupted needs room for its rest only."""

from __future__ import annotations

import shutil
from pathlib import Path

from storage import initializer, settings, uri
from storage.place import Place
from storage.stores import table

REST_BYTES = 1024


def sparse(path: Path, size: int) -> None:
    """A file that looks large and takes no space."""
    with path.open("wb") as file:
        file.truncate(size)


def test_an_interrupted_download_needs_room_for_its_rest_only(tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    options = settings.load({"STORAGE_LOCAL_ROOTS": str(tmp_path), "STORAGE_MAX_BYTES": str(2**50)})
    size = shutil.disk_usage(tmp_path).free + 2**30
    sparse(source / "m.bin", size)
    pair = initializer.Pair(f"file://{source}", target)
    found = uri.parse(pair.uri)
    objects = list(table.open_store(found, options).list(found.key))
    place = Place(target)
    with place.locked():
        staging = place.staging(initializer._fingerprint(pair.uri, objects, options))
    (staging / initializer.PARTS).mkdir()
    sparse(staging / initializer.PARTS / "m.bin", size - REST_BYTES)
    initializer.fetch(pair, options, table.open_store)
    assert (target / "m.bin").stat().st_size == size
