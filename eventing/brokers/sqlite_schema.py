"""The SQLite file of the broker: its tables, how it is opened, and that only one process has it.

Called by ``sqlite.SqliteBroker``. ``events`` holds each event once with the number of its deliveries; ``deliveries`` has
a row for each consumer of it. A lease is a ``token`` other than 0 and a ``due_at`` in the future, so that an expired
lease needs no clean-up. The file gives pages back to the disk (``auto_vacuum``), a bit at a time.
Invariant: at open every lease of an earlier process is void (``epoch`` grows, so its tokens never match again).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

VERSION = 1
SCHEMA = f"""
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, broker TEXT NOT NULL, attributes BLOB NOT NULL, data BLOB,
    headers BLOB NOT NULL, size INTEGER NOT NULL, refs INTEGER NOT NULL);
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event INTEGER NOT NULL, consumer TEXT NOT NULL, stage INTEGER NOT NULL,
    attempts INTEGER NOT NULL, due_at REAL NOT NULL, token INTEGER NOT NULL, marks BLOB NOT NULL);
CREATE INDEX due ON deliveries(consumer, due_at, id);
CREATE TABLE meta (epoch INTEGER NOT NULL);
INSERT INTO meta VALUES (0);
PRAGMA user_version={VERSION};
"""


class OpenError(Exception):
    """The file cannot be used; one sentence for the user."""


def lock(path: Path) -> int:
    """Take the file for this process; the descriptor to close when done. Raises ``OpenError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
    except OSError as error:
        raise OpenError(f"cannot open the event database {path}: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise OpenError(f"the event database {path} is in use by another process") from None
    return descriptor


def open_database(path: Path, now: float) -> tuple[sqlite3.Connection, int]:
    """The connection and this process's epoch; leases of earlier processes are void. Raises ``OpenError``."""
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # takes effect in a new file only
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA journal_size_limit=67108864")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            connection.executescript("BEGIN IMMEDIATE;" + SCHEMA + "COMMIT;")
        elif version != VERSION:
            raise OpenError(
                f"{path} was written by another version (schema {version}, this one reads {VERSION})"
            )
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE meta SET epoch = epoch + 1")
        connection.execute("UPDATE deliveries SET token = 0, due_at = ? WHERE token != 0", (now,))
        epoch = int(connection.execute("SELECT epoch FROM meta").fetchone()[0])
        connection.execute("COMMIT")
    except (sqlite3.Error, OSError) as error:
        raise OpenError(f"cannot open the event database {path}: {error}") from error
    return connection, epoch
