"""From a source URI to files in a folder: list, plan, fetch in parallel, unpack, commit.

Called by ``__main__`` for each (source, destination) pair. The fingerprint of a source is the digest of its URI and
of every object's path, size and version: if the destination's marker has it, nothing is downloaded; what an
interrupted run left in staging under the same fingerprint is used. Left out: protocols (stores) and names of
environment variables (settings).

Invariant: at any kill the destination holds either no marker for the source, or its complete files.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from storage import archive, uri
from storage.errors import Reason, StorageError
from storage.place import Place, Staged, is_reserved, source_key, writing
from storage.ports import ObjectInfo, ObjectStore
from storage.progress import Progress
from storage.settings import Settings
from storage.transfer import Transfer
from wakeful.kit import logs

OpenStore = Callable[[uri.Source, Settings], ObjectStore]

FILES, PARTS, UNPACKED = "files", "parts", "unpacked"
"""The folders of a staging folder: what is complete, what is on its way, and the contents of an archive."""

log = logs.get("storage")


@dataclass(frozen=True, slots=True)
class Pair:
    """One download: a URI and the folder it goes to."""

    uri: str
    folder: Path


def fetch_all(pairs: Sequence[Pair], settings: Settings, open_store: OpenStore) -> None:
    """Fetch every pair in order, then remove what earlier, different sources left. Raises ``StorageError``."""
    for pair in pairs:
        fetch(pair, settings, open_store)
    for folder in {pair.folder for pair in pairs}:
        Place(folder).prune({source_key(pair.uri) for pair in pairs if pair.folder == folder})


def fetch(pair: Pair, settings: Settings, open_store: OpenStore) -> None:
    """Bring one source into place. Raises ``StorageError``; its text begins with the source."""
    source = uri.parse(pair.uri)
    store = open_store(source, settings)
    place = Place(pair.folder)
    with place.locked():
        objects = _objects(store, source, settings)
        fingerprint = _fingerprint(pair.uri, objects, settings)
        key = source_key(pair.uri)
        is_known = all(info.version for info in objects)
        if is_known and place.is_current(key, fingerprint):
            log.info("already complete", source=source.shown, folder=str(pair.folder), files=len(objects))
            return
        staging = place.staging(fingerprint)
        room = place.free_bytes() + _staged_bytes(objects, staging)
        _check_space(objects, place, room, settings)
        progress = Progress(source.shown, objects, min(settings.max_bytes, room))
        _download(store, objects, staging, settings, progress)
        staged = _unpacked(objects, staging, place, settings)
        place.commit(key, fingerprint, staged)
        progress.done(len(staged))


def _objects(store: ObjectStore, source: uri.Source, settings: Settings) -> list[ObjectInfo]:
    """The exact key, else everything below it, filtered by the globs. Raises when nothing is left."""
    objects: list[ObjectInfo] = []
    if source.key.strip("/") and not (source.scheme == "s3" and source.key.endswith("/")):
        try:
            objects = [store.stat(source.key)]
        except StorageError as error:
            if error.reason is not Reason.NOT_FOUND or source.scheme in ("http", "https"):
                raise
    if not objects:
        for info in store.list(source.key):
            if info.size_bytes == 0 and source.scheme == "s3":
                continue  # consoles make empty objects to stand for folders
            if _is_wanted(info.path, settings):
                objects.append(info)
            if len(objects) > settings.max_files:
                raise StorageError(
                    Reason.TOO_LARGE, f"{source.shown} has more than {settings.max_files} files"
                )
    if not objects:
        raise StorageError(
            Reason.NOT_FOUND, f"no model found in {source.shown}: nothing is there under that path"
        )
    return sorted(objects, key=lambda info: info.path)


def _is_wanted(path: str, settings: Settings) -> bool:
    def matches(globs: Sequence[str]) -> bool:
        return any(fnmatch.fnmatch(path, glob) for glob in globs)

    return (not settings.allow_patterns or matches(settings.allow_patterns)) and not matches(
        settings.ignore_patterns
    )


def _fingerprint(source: str, objects: Sequence[ObjectInfo], settings: Settings) -> str:
    parts = [source, *settings.allow_patterns, "", *settings.ignore_patterns]
    parts += [json.dumps([info.path, info.size_bytes, info.version]) for info in objects]
    return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()


def _limit(place: Place, settings: Settings) -> int:
    return min(settings.max_bytes, place.free_bytes())


def _staged_bytes(objects: Sequence[ObjectInfo], staging: Path) -> int:
    """What an interrupted run left of these objects: it takes its space already."""
    files = (staging / kind / info.path for info in objects for kind in (FILES, PARTS))
    return sum(file.stat().st_size for file in files if file.is_file())


def _check_space(objects: Sequence[ObjectInfo], place: Place, room: int, settings: Settings) -> None:
    total = sum(info.size_bytes or 0 for info in objects)
    if total > settings.max_bytes:
        raise StorageError(
            Reason.TOO_LARGE, f"the files hold {total} bytes, the limit is {settings.max_bytes}"
        )
    if total > room:
        raise StorageError(
            Reason.NO_SPACE, f"no space left in {place.folder}: {total} bytes are needed, {room} are free"
        )


def _download(
    store: ObjectStore, objects: Sequence[ObjectInfo], staging: Path, settings: Settings, progress: Progress
) -> None:
    """Fetch all objects, at most ``concurrency`` at once; the first failure stops the others at their next chunk."""
    stop = threading.Event()

    def on_bytes(count: int) -> None:
        if stop.is_set():
            raise StorageError(Reason.LOCAL, "stopped because another file failed")
        progress.add(count)

    def one(info: ObjectInfo) -> None:
        file, part = staging / FILES / info.path, staging / PARTS / info.path
        with writing(staging):
            file.parent.mkdir(parents=True, exist_ok=True)
            part.parent.mkdir(parents=True, exist_ok=True)
        Transfer(store, info, file, part, settings, on_bytes).run()

    threads = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="fetch")
    try:
        waiting = {threads.submit(one, info) for info in objects}
        done, _ = wait(waiting, return_when=FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        stop.set()
        threads.shutdown(wait=False, cancel_futures=True)  # a thread may wait for a silent peer for 30 s


def _unpacked(objects: Sequence[ObjectInfo], staging: Path, place: Place, settings: Settings) -> list[Staged]:
    """What goes into place: the files, or the contents of the one archive; not the marks of an earlier download."""
    staged = [item for item in _contents(objects, staging, place, settings) if not is_reserved(item.path)]
    if not staged:
        raise StorageError(Reason.NOT_FOUND, f"no model found: {objects[0].path} holds no files of a model")
    return staged


def _contents(objects: Sequence[ObjectInfo], staging: Path, place: Place, settings: Settings) -> list[Staged]:
    if len(objects) != 1 or not archive.is_archive(objects[0].path):
        return [Staged(staging / FILES / info.path, info.path) for info in objects]
    file = staging / FILES / objects[0].path
    folder = staging / UNPACKED
    with writing(place.folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        limits = archive.Limits(_limit(place, settings), settings.max_files)
        paths = archive.extract(file, folder, limits)
    return [Staged(folder / path, path) for path in paths]
