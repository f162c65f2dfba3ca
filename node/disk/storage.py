"""Durable term, vote, log and snapshots: one sqlite3 file, one transaction and one fsync for each batch, and beside it
the files of `node.disk.snapshot_files`.

The rules: the journal is a write-ahead log with synchronous=FULL, so a batch that `save` returned from is on the disk.
What it holds is copied into the database after every `CHECKPOINT_BYTES`, outside of any transaction: a checkpoint that
SQLite makes on its own, within a commit, passes over the error when the database cannot be written or synced.
The file is created under another name and renamed when complete: an empty or truncated file is therefore never ours
half made, but damage, and a node that would start empty over it could vote twice in one term. It is refused, by name.
The lock is exclusive: two nodes cannot share a folder.

The log on the disk may begin anywhere at or before the newest snapshot; `base` says where, and in which cluster. A
snapshot from the leader is installed in three steps, each of which leaves what `load` makes the right thing of: the
hard state, so that no snapshot is of a later term than the node; the file; the log that remains. Dead between the last
two, the node finds a snapshot that its log does not reach, and finishes.
"""

from __future__ import annotations

import logging
import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from node.disk.snapshot_files import SnapshotFiles, sync_folder
from node.raft import Configuration, Entry, EntryKind, HardState, Log, Snapshot, SnapshotMeta
from node.raft.snapshot import Data

FILE = "raft.db"
APPLICATION_ID = 0x52414654
SCHEMA = 2
INSERT = "INSERT INTO entries VALUES (?, ?, ?, ?)"
ROWS_AT_ONCE = 64
"""With each statement sqlite3 gives up the interpreter's lock, and on a busy node gets it back late: a follower that
catches up saves thousands of entries."""
INSERT_MANY = INSERT + ", (?, ?, ?, ?)" * (ROWS_AT_ONCE - 1)
PAGE_BYTES = 4096
"""The least that a transaction writes: SQLite's default."""
CHECKPOINT_BYTES = 1000 * PAGE_BYTES
"""What the write-ahead file may grow to, give or take a transaction."""

log = logging.getLogger(__name__)


class StorageError(Exception):
    """The data folder cannot be used; the text names the file and says what to do."""


class Stored(NamedTuple):
    """What a node knows when it starts."""

    hard_state: HardState
    snapshot: Snapshot | None
    log: Log


class _Base(NamedTuple):
    """Where the stored log begins: behind this entry, in this cluster."""

    after: int
    term: int
    cluster_id: str


class Storage:
    """The open database of one node. Raises StorageError when it cannot be what it has to be.

    After any other error (sqlite3.Error, OSError) what is on the disk is not known, and the caller must stop.
    """

    def __init__(self, folder: Path, node_id: str, *, retention: int = 2) -> None:
        self.file = folder / FILE
        self._bytes_since_checkpoint = 0
        self._prepare_folder(folder)
        try:
            if not self.file.exists():
                self._create(node_id)
            self._connection = self._open(self.file)
            self._check(node_id)
            self._snapshots = SnapshotFiles(folder, retention=retention)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StorageError(f"{self.file} is in use by another process; is the node running already?") from error
            raise self._damaged(str(error)) from error
        except (sqlite3.Error, ValueError) as error:
            raise self._damaged(str(error)) from error
        except OSError as error:
            raise StorageError(f"{self.file} cannot be used: {error}") from error

    def load(self) -> Stored:
        """What was saved. Raises StorageError for a log with a hole or a term that goes backwards, and for snapshots
        that are another cluster's, or are all damaged while the log does not begin with the first entry."""
        hard_state = HardState(*self._connection.execute("SELECT current_term, voted_for FROM hard_state").fetchone())
        base = self._base()
        stored_log = self._load_log(base)
        if stored_log.last_term > hard_state.current_term:
            raise self._damaged(
                f"an entry of term {stored_log.last_term} in a log whose current term is {hard_state.current_term}"
            )
        snapshot = self._load_snapshot(base, hard_state)
        if snapshot is not None and not stored_log.has(snapshot.meta.index, snapshot.meta.term):
            log.info("finishing the installation of the snapshot at %d", snapshot.meta.index)
            self._replace_log(snapshot, ())
            stored_log = Log(base_index=snapshot.meta.index, base_term=snapshot.meta.term)
        return Stored(hard_state, snapshot, stored_log)

    def save(self, hard_state: HardState | None, entries: Sequence[Entry]) -> None:
        """Make these durable, `entries` in the place of all from the first of them on. On return they are on the disk.

        Raises sqlite3.Error when they are not; the caller must then stop, for what is on the disk is not known.
        """
        with self._transaction(_size_of(entries)):
            if hard_state is not None:
                self._connection.execute(
                    "UPDATE hard_state SET current_term = ?, voted_for = ?",
                    (hard_state.current_term, hard_state.voted_for),
                )
            if entries:
                self._connection.execute("DELETE FROM entries WHERE idx >= ?", (entries[0].index,))
                self._insert(entries)

    def install(self, hard_state: HardState | None, snapshot: Snapshot, entries: Sequence[Entry]) -> Snapshot:
        """Make a snapshot from the leader durable, with `entries` as the whole log behind it; returns it with its data
        in the file."""
        if hard_state is not None:
            self.save(hard_state, ())
        stored = self._snapshots.write(snapshot.meta, [snapshot.data])
        self._replace_log(snapshot, entries)
        self._snapshots.keep(snapshot.meta)
        return stored

    def write_snapshot(self, meta: SnapshotMeta, data: Iterable[Data]) -> Snapshot:
        """Make a snapshot of our own durable, from any thread; returns it with its data in the file.

        `keep_snapshot` has to follow, on the thread that owns the rest.
        """
        return self._snapshots.write(meta, data)

    def keep_snapshot(self, snapshot: Snapshot) -> int:
        """Delete the snapshots that this one makes superfluous; returns the last entry that the oldest kept stands for,
        or the last that the stored log lacks, as long as fewer than are to be kept are there."""
        self._snapshots.keep(snapshot.meta)
        fallback = self._snapshots.fallback_index
        return self._base().after if fallback is None else fallback

    def compact(self, first_kept: int, *, at_most: int) -> bool:
        """Forget stored entries before `first_kept`, up to `at_most` of them; whether there are more to forget."""
        base = self._base()
        last_forgotten = min(first_kept - 1, base.after + at_most)
        if last_forgotten <= base.after:
            return False
        cluster_id = base.cluster_id or self._cluster_id_in_log()
        (term,) = self._connection.execute("SELECT term FROM entries WHERE idx = ?", (last_forgotten,)).fetchone()
        with self._transaction(self._stored_bytes(last_forgotten)):
            self._connection.execute("DELETE FROM entries WHERE idx <= ?", (last_forgotten,))
            self._set_base(_Base(last_forgotten, term, cluster_id))
        return last_forgotten < first_kept - 1

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _transaction(self, data_bytes: int) -> Iterator[None]:
        """All or nothing, and durable; then a checkpoint, if one is due. `data_bytes` of data come and go."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            yield
        self._bytes_since_checkpoint += PAGE_BYTES + data_bytes
        if self._bytes_since_checkpoint >= CHECKPOINT_BYTES:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            self._bytes_since_checkpoint = 0

    def _stored_bytes(self, up_to: float = math.inf) -> int:
        """How much data the stored entries up to this one have."""
        query = "SELECT TOTAL(LENGTH(data)) FROM entries WHERE idx <= ?"
        (total,) = self._connection.execute(query, (up_to,)).fetchone()
        return int(total)

    def _base(self) -> _Base:
        return _Base(*self._connection.execute("SELECT idx, term, cluster_id FROM base").fetchone())

    def _set_base(self, base: _Base) -> None:
        self._connection.execute("UPDATE base SET idx = ?, term = ?, cluster_id = ?", base)

    def _insert(self, entries: Sequence[Entry]) -> None:
        rows = [(entry.index, entry.term, entry.kind.value, entry.data) for entry in entries]
        grouped = len(rows) - len(rows) % ROWS_AT_ONCE
        groups = (rows[first : first + ROWS_AT_ONCE] for first in range(0, grouped, ROWS_AT_ONCE))
        self._connection.executemany(INSERT_MANY, (tuple(chain.from_iterable(group)) for group in groups))
        self._connection.executemany(INSERT, rows[grouped:])

    def _load_log(self, base: _Base) -> Log:
        rows = self._connection.execute("SELECT idx, term, kind, data FROM entries ORDER BY idx")
        try:
            entries = (Entry(index, term, EntryKind(kind), data) for index, term, kind, data in rows)
            return Log(entries, base_index=base.after, base_term=base.term)
        except (AssertionError, ValueError) as error:
            raise self._damaged(str(error)) from error

    def _load_snapshot(self, base: _Base, hard_state: HardState) -> Snapshot | None:
        """The newest that is whole, and fits what else is stored."""
        found = self._snapshots.load()
        snapshot = found[-1] if found else None
        if snapshot is None or snapshot.meta.index < base.after:
            if base.after:
                lost = ", ".join(str(path) for path in self._snapshots.damaged) or str(self._snapshots.folder)
                raise self._damaged(f"the log begins after entry {base.after} and no whole snapshot reaches it: {lost}")
            return snapshot
        meta, cluster_id = snapshot.meta, base.cluster_id or self._cluster_id_in_log()
        if cluster_id and meta.configuration.cluster_id != cluster_id:
            raise self._damaged(
                f"the snapshot at {meta.index} in {self._snapshots.folder} is of cluster "
                f"{meta.configuration.cluster_id}, the log of {cluster_id}"
            )
        if meta.term > hard_state.current_term:
            raise self._damaged(f"a snapshot of term {meta.term} where the current term is {hard_state.current_term}")
        if meta.index == base.after and meta.term != base.term:
            raise self._damaged(f"entry {base.after} has term {base.term}, but {meta.term} in its snapshot")
        return snapshot

    def _cluster_id_in_log(self) -> str:
        """By the first configuration that stands in the stored log; empty if there is none."""
        row = self._connection.execute(
            "SELECT data FROM entries WHERE kind = ? ORDER BY idx LIMIT 1", (EntryKind.CONFIGURATION.value,)
        ).fetchone()
        try:
            return Configuration.decode(row[0]).cluster_id if row else ""
        except msgspec.MsgspecError as error:
            raise self._damaged(f"no configuration where one should be: {error}") from error

    def _replace_log(self, snapshot: Snapshot, entries: Sequence[Entry]) -> None:
        meta = snapshot.meta
        with self._transaction(self._stored_bytes() + _size_of(entries)):
            self._connection.execute("DELETE FROM entries")
            self._set_base(_Base(meta.index, meta.term, meta.configuration.cluster_id))
            self._insert(entries)

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
            CREATE TABLE base (idx INTEGER NOT NULL, term INTEGER NOT NULL, cluster_id TEXT NOT NULL);
            INSERT INTO hard_state VALUES (0, NULL);
            INSERT INTO base VALUES (0, 0, '');
            """
        )
        connection.execute("INSERT INTO node VALUES (?)", (node_id,))
        connection.close()
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.rename(self.file)
        sync_folder(self.file.parent)

    def _open(self, file: Path) -> sqlite3.Connection:
        # The driver's thread saves, the main thread loads; never both at once.
        connection = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=2, check_same_thread=False
        )
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
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
        ((_, _, _),) = self._connection.execute("SELECT idx, term, cluster_id FROM base").fetchall()
        if owner != node_id:
            raise StorageError(
                f"{self.file} belongs to node {owner}, not {node_id}; set KONSUL_RAFT_DATA_DIR to a folder of its own"
            )

    def _damaged(self, reason: str) -> StorageError:
        return StorageError(
            f"{self.file} is damaged ({' '.join(reason.split())}); the node will not start over it. "
            "Restore it, or move it away and let the node join again under a new id"
        )


def _size_of(entries: Sequence[Entry]) -> int:
    return sum(len(entry.data) for entry in entries)
