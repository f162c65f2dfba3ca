"""Durable term, vote and log: one sqlite3 file, one transaction and one fsync for each batch.

The rules: the journal is a write-ahead log with synchronous=FULL, so a batch that `save` returned from is on the disk.
The file is created under another name and renamed when complete: an empty or truncated file is therefore never ours
half made, but damage, and a node that would start empty over it could vote twice in one term. It is refused, by name.
The lock is exclusive: two nodes cannot share a folder.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

from node.raft import Entry, EntryKind, HardState, Log

FILE = "raft.db"
APPLICATION_ID = 0x52414654
SCHEMA = 1


class StorageError(Exception):
    """The data folder cannot be used; the text names the file and says what to do."""


class Storage:
    """The open database of one node. Raises StorageError when it cannot be what it has to be."""

    def __init__(self, folder: Path, node_id: str) -> None:
        self.file = folder / FILE
        self._prepare_folder(folder)
        try:
            if not self.file.exists():
                self._create(node_id)
            self._connection = self._open(self.file)
            self._check(node_id)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StorageError(f"{self.file} is in use by another process; is the node running already?") from error
            raise self._damaged(str(error)) from error
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise StorageError(f"{self.file} cannot be used: {error}") from error

    def load(self) -> tuple[HardState, Log]:
        """What was saved. Raises StorageError for a log with a hole or a term that goes backwards."""
        term, vote = self._connection.execute("SELECT current_term, voted_for FROM hard_state").fetchone()
        rows = self._connection.execute("SELECT idx, term, kind, data FROM entries ORDER BY idx")
        try:
            log = Log(Entry(index, entry_term, EntryKind(kind), data) for index, entry_term, kind, data in rows)
        except (AssertionError, ValueError) as error:
            raise self._damaged(str(error)) from error
        if log.last_term > term:
            raise self._damaged(f"an entry of term {log.last_term} in a log whose current term is {term}")
        return HardState(term, vote), log

    def save(self, hard_state: HardState | None, entries: Iterable[Entry]) -> None:
        """Make these durable, `entries` in the place of all from the first of them on. On return they are on the disk.

        Raises sqlite3.Error when they are not; the caller must then stop, for what is on the disk is not known.
        """
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            if hard_state is not None:
                self._connection.execute(
                    "UPDATE hard_state SET current_term = ?, voted_for = ?",
                    (hard_state.current_term, hard_state.voted_for),
                )
            rows = [(entry.index, entry.term, entry.kind.value, entry.data) for entry in entries]
            if rows:
                self._connection.execute("DELETE FROM entries WHERE idx >= ?", (rows[0][0],))
                self._connection.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        self._connection.close()

    def _prepare_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe = folder / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StorageError(
                f"the data folder {folder} cannot be written ({error.strerror}); "
                "set KONSUL_RAFT_DATA_DIR to one that can"
            ) from error

    def _create(self, node_id: str) -> None:
        draft = self.file.with_suffix(f".new-{os.getpid()}")
        connection = sqlite3.connect(draft, isolation_level=None)
        connection.executescript(
            f"""
            PRAGMA application_id = {APPLICATION_ID};
            PRAGMA user_version = {SCHEMA};
            CREATE TABLE node (id TEXT NOT NULL);
            CREATE TABLE hard_state (current_term INTEGER NOT NULL, voted_for TEXT);
            CREATE TABLE entries (
                idx INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind TEXT NOT NULL, data BLOB NOT NULL
            );
            INSERT INTO hard_state VALUES (0, NULL);
            """
        )
        connection.execute("INSERT INTO node VALUES (?)", (node_id,))
        connection.close()
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.rename(self.file)
        folder = os.open(self.file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _open(self, file: Path) -> sqlite3.Connection:
        # The driver's thread saves, the main thread loads; never both at once.
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=2, check_same_thread=False
        )
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        return connection

    def _check(self, node_id: str) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (schema,) = self._connection.execute("PRAGMA user_version").fetchone()
        if (application, schema) != (APPLICATION_ID, SCHEMA):
            raise ValueError("it is not a database of this version of the node")
        (report,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if report != "ok":
            raise ValueError(report)
        ((owner,),) = self._connection.execute("SELECT id FROM node").fetchall()
        ((_, _),) = self._connection.execute("SELECT current_term, voted_for FROM hard_state").fetchall()
        if owner != node_id:
            raise StorageError(
                f"{self.file} belongs to node {owner}, not {node_id}; set KONSUL_RAFT_DATA_DIR to a folder of its own"
            )

    def _damaged(self, reason: str) -> StorageError:
        return StorageError(
            f"{self.file} is damaged ({' '.join(reason.split())}); the node will not start over it. "
            "Restore it, or move it away and let the node join again under a new id"
        )
