"""The SQLite file under the store: one table of objects, one number, written in groups.

Called by ``store`` only: ``load`` once at start, ``commit`` from one worker thread. WAL with ``synchronous=FULL``:
when ``commit`` returns, the group is on the disk. One process at a time holds the lock file.
Left out: names, versions, kinds. A row is (identity, resource, namespace, name, bytes).

Invariant: a group is stored whole or not at all, together with the highest resourceVersion it used.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
create table if not exists objects (
    id integer primary key, resource text not null, namespace text not null, name text not null, raw blob not null
);
create table if not exists numbers (name text primary key, value integer not null) without rowid;
"""
FORMAT = 1
CHECKPOINT_PAGES = 4000
"""WAL pages (4 KiB) after which SQLite moves them into the main file: 16 MiB."""


class DatabaseError(Exception):
    """The database cannot be used; the text is one sentence for the user."""


class CommitError(Exception):
    """A group was not stored. ``is_full`` tells a full disk from other failures."""

    def __init__(self, message: str, is_full: bool) -> None:
        super().__init__(message)
        self.is_full = is_full


@dataclass(frozen=True, slots=True)
class Row:
    """One stored object; ``raw`` None removes the row ``id``."""

    id: int
    resource: str
    namespace: str
    name: str
    raw: bytes | None


class Database:
    """The open file. ``close`` it; a killed process needs no repair."""

    def __init__(self, path: Path) -> None:
        """Open or create. Raises ``DatabaseError``: in use, not writable, damaged, or of a newer version."""
        self._path = path
        self._lock = _lock(path.with_suffix(".lock"))
        try:
            self._sql = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._prepare()
        except sqlite3.Error as error:
            os.close(self._lock)
            raise DatabaseError(f"cannot use the database {path}: {error}") from error

    def _prepare(self) -> None:
        self._sql.execute("pragma journal_mode=wal")
        self._sql.execute("pragma synchronous=full")
        self._sql.execute(f"pragma wal_autocheckpoint={CHECKPOINT_PAGES}")
        self._sql.execute("pragma journal_size_limit=67108864")
        (version,) = self._sql.execute("pragma user_version").fetchone()
        if version > FORMAT:
            raise sqlite3.DatabaseError(f"its format {version} is newer than this program ({FORMAT})")
        self._sql.executescript(SCHEMA)
        self._sql.execute(f"pragma user_version={FORMAT}")

    def load(self) -> tuple[int, Iterator[Row]]:
        """The highest resourceVersion ever committed (0 in a new file) and all rows."""
        found = self._sql.execute("select value from numbers where name='resourceVersion'").fetchone()
        return (found[0] if found else 0), self._rows()

    def _rows(self) -> Iterator[Row]:
        query = "select id, resource, namespace, name, raw from objects order by id"
        try:
            for row in self._sql.execute(query):
                yield Row(*row)
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot read the database {self._path}: {error}") from error

    def commit(self, rows: list[Row], version: int) -> None:
        """Store the group durably. Raises ``CommitError``; then nothing of the group is stored."""
        try:
            self._sql.execute("begin immediate")
            self._write(rows)
            self._sql.execute("insert or replace into numbers values ('resourceVersion', ?)", (version,))
            self._sql.execute("commit")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._sql.execute("rollback")
            raise _explain(self._path, error) from error

    def _write(self, rows: list[Row]) -> None:
        last = {row.id: row for row in rows}
        puts = [
            (row.id, row.resource, row.namespace, row.name, row.raw)
            for row in last.values()
            if row.raw is not None
        ]
        gone = [(row.id,) for row in last.values() if row.raw is None]
        if puts:
            self._sql.executemany("insert or replace into objects values (?, ?, ?, ?, ?)", puts)
        if gone:
            self._sql.executemany("delete from objects where id = ?", gone)

    def close(self) -> None:
        """Fold the WAL into the file and give the lock back."""
        with contextlib.suppress(sqlite3.Error):
            self._sql.execute("pragma wal_checkpoint(truncate)")
        self._sql.close()
        os.close(self._lock)


def _lock(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DatabaseError(f"cannot write in {path.parent}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        folder = path.parent.parent
        raise DatabaseError(
            f"another API server uses the data directory {folder}: stop it or use another"
        ) from error
    return descriptor


def _explain(path: Path, error: sqlite3.Error) -> CommitError:
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return CommitError(f"the disk that holds {path} is full: free space and try again", True)
    if name.startswith("SQLITE_READONLY"):
        return CommitError(f"{path} cannot be written: it or its file system is read-only", False)
    return CommitError(f"writing {path} failed: {error} ({name or 'SQLite'})", False)
