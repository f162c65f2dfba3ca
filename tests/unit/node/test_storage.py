from __future__ import annotations

import contextlib
import itertools
import os
import resource
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from node.disk.storage import FILE, PAGE_BYTES, ROWS_AT_ONCE, Storage, StorageError, Stored
from node.raft import Configuration, Entry, EntryKind, HardState, Snapshot, SnapshotMeta

WRITE_AHEAD = f"{FILE}-wal"
PORTION_BYTES = 1024 * 1024
CONFIGURATION = Configuration.first([("n1", "127.0.0.1:7001")])


def entry(index: int, term: int = 1) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"x" * 100)


def opened(folder: Path, node_id: str = "n1") -> contextlib.closing[Storage]:
    return contextlib.closing(Storage(folder, node_id))


def loaded(folder: Path) -> Stored:
    with opened(folder) as storage:
        return storage.load()


def filled(folder: Path) -> None:
    with opened(folder) as storage:
        storage.save(HardState(2, "n2"), [entry(index) for index in range(1, 200)])


def test_what_was_saved_is_loaded_and_a_conflict_replaces_all_behind_it(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        storage.save(HardState(3, "n2"), [entry(1), entry(2), entry(3)])
        storage.save(None, [entry(2, 3)])
    with opened(tmp_path) as storage:
        hard_state, _, log = storage.load()
    assert hard_state == HardState(3, "n2")
    assert log.between(1, log.last_index) == (entry(1), entry(2, 3))


@pytest.mark.parametrize("replacing", [[entry(2, 3)], [entry(3, 3), entry(4, 3)], [entry(4, 3)]])
def test_whatever_stood_from_the_first_entry_saved_on_is_replaced_and_nothing_before_it(
    tmp_path: Path, replacing: list[Entry]
) -> None:
    with opened(tmp_path) as storage:
        storage.save(HardState(3), [entry(index) for index in range(1, 4)])
        storage.save(None, replacing)
    kept = [entry(index) for index in range(1, replacing[0].index)]
    log = loaded(tmp_path).log
    assert log.between(1, log.last_index) == (*kept, *replacing)


@pytest.mark.parametrize("later", [HardState(3, "n2"), HardState(4), HardState(4, "n1")])
def test_a_vote_in_a_term_that_was_saved_before_is_saved_as_a_new_term_is(tmp_path: Path, later: HardState) -> None:
    with opened(tmp_path) as storage:
        storage.save(HardState(3), ())
        storage.save(later, ())
    assert loaded(tmp_path).hard_state == later


def test_of_a_save_that_fails_nothing_is_there_afterwards(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as storage, pytest.raises(sqlite3.Error):
        storage.save(HardState(9), [entry(150, 2), entry(150, 2)])
    stored = loaded(tmp_path)
    assert stored.hard_state == HardState(2, "n2")
    assert stored.log.last_index == 199


@pytest.mark.parametrize("count", [1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 2 * ROWS_AT_ONCE + 1])
def test_however_many_entries_are_saved_at_once_they_are_all_loaded_in_order(tmp_path: Path, count: int) -> None:
    saved = tuple(Entry(index, 1, EntryKind.COMMAND, b"%d" % index) for index in range(1, count + 1))
    with opened(tmp_path) as storage:
        storage.save(HardState(1), saved)
    with opened(tmp_path) as storage:
        log = storage.load().log
    assert log.between(1, log.last_index) == saved


def truncated(file: Path) -> None:
    with file.open("r+b") as stream:
        stream.truncate(file.stat().st_size // 2)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def garbled(file: Path) -> None:
    file.write_bytes(b"\x5a" * file.stat().st_size)


def foreign(file: Path) -> None:
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE something (else_ TEXT)")


@pytest.mark.parametrize("damage", [truncated, emptied, garbled, foreign])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    filled(tmp_path)
    damage(tmp_path / FILE)
    with pytest.raises(StorageError, match=str(tmp_path / FILE)):
        Storage(tmp_path, "n1")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM entries WHERE idx = 7", "hole"),
        ("UPDATE entries SET term = 2 WHERE idx = 7", "never go back"),
        ("UPDATE hard_state SET current_term = 0", "current term is 0"),
    ],
)
def test_a_log_that_cannot_be_is_refused(tmp_path: Path, statement: str, reason: str) -> None:
    filled(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute(statement)
    with opened(tmp_path) as storage, pytest.raises(StorageError, match=reason):
        storage.load()


def test_a_folder_of_another_node_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(StorageError, match="belongs to node n1, not n2"):
        Storage(tmp_path, "n2")


def test_two_nodes_cannot_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def impatient(*args: Any, **options: Any) -> sqlite3.Connection:
        found: sqlite3.Connection = connect(*args, **{**options, "timeout": 0})
        return found

    monkeypatch.setattr("node.disk.storage.sqlite3.connect", impatient)
    with opened(tmp_path) as storage:
        storage.save(HardState(1), [entry(1)])
        with pytest.raises(StorageError, match="in use"):
            Storage(tmp_path, "n1")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        Storage(tmp_path / "file" / "data", "n1")


def portions() -> Iterator[list[Entry]]:
    """A log of ever more large entries, a mebibyte at a time; the first is its configuration."""
    yield [Entry(1, 1, EntryKind.CONFIGURATION, CONFIGURATION.encode())]
    for index in itertools.count(2, 8):
        yield [Entry(index + number, 1, EntryKind.COMMAND, bytes(PORTION_BYTES // 8)) for number in range(8)]


def save_all(storage: Storage, log: Iterable[list[Entry]]) -> None:
    for portion in log:
        storage.save(None, portion)


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """A write beyond it fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_database_that_cannot_be_written_fails_a_save_though_the_write_ahead_file_can(tmp_path: Path) -> None:
    """A checkpoint that SQLite makes within a commit passes over its failure, and is tried again at the next one."""
    log, (database, write_ahead) = portions(), (tmp_path / FILE, tmp_path / WRITE_AHEAD)
    with opened(tmp_path) as storage:
        save_all(storage, itertools.islice(log, 20))
        limit = database.stat().st_size
        assert limit > 2 * write_ahead.stat().st_size
        with no_file_larger_than(limit), pytest.raises(sqlite3.Error):
            save_all(storage, itertools.islice(log, 40))
        assert write_ahead.stat().st_size < limit - PORTION_BYTES


def save_one(storage: Storage, index: int) -> None:
    storage.save(None, [entry(index)])


def save_a_large_one(storage: Storage, index: int) -> None:
    storage.save(None, [Entry(index, 1, EntryKind.COMMAND, bytes(50_000))])


def forget_one(storage: Storage, index: int) -> None:
    storage.compact(index, at_most=1)


def replace_all(storage: Storage, index: int) -> None:
    storage.install(None, Snapshot(SnapshotMeta(index, 1, CONFIGURATION, 1), b"state"), ())


@pytest.mark.parametrize("write", [save_one, save_a_large_one, forget_one, replace_all])
def test_the_write_ahead_file_stays_bounded_whatever_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Storage, int], None]
) -> None:
    bound = 10 * PAGE_BYTES
    monkeypatch.setattr("node.disk.storage.CHECKPOINT_BYTES", bound)
    with opened(tmp_path) as storage:
        storage.save(HardState(1), [next(portions())[0], *(entry(index) for index in range(2, 61))])
        for index in range(2, 61):
            write(storage, index)
        assert (tmp_path / WRITE_AHEAD).stat().st_size < 3 * bound


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """All that are made from now on."""
    made: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def caught(*args: Any, **options: Any) -> sqlite3.Connection:
        made.append(connect(*args, **options))
        return made[-1]

    monkeypatch.setattr("node.disk.storage.sqlite3.connect", caught)
    return made


def test_a_commit_is_synced_and_makes_no_checkpoint(tmp_path: Path, connections: list[sqlite3.Connection]) -> None:
    """Whatever the defaults of the SQLite at hand, and of a system whose fsync does not reach the disk."""
    expected = {
        "journal_mode": "wal",
        "locking_mode": "exclusive",
        "synchronous": 2,
        "fullfsync": 1,
        "wal_autocheckpoint": 0,
    }
    with opened(tmp_path):
        for pragma, value in expected.items():
            assert connections[-1].execute(f"PRAGMA {pragma}").fetchone() == (value,), pragma


def save_both(storage: Storage, index: int) -> None:
    storage.save(HardState(2, "n1"), [entry(index, 2), entry(index + 1, 2)])


@pytest.mark.parametrize("write", [save_both, save_one, forget_one, replace_all])
def test_what_belongs_together_is_one_transaction_and_a_checkpoint_comes_after_it(
    tmp_path: Path,
    connections: list[sqlite3.Connection],
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Storage, int], None],
) -> None:
    monkeypatch.setattr("node.disk.storage.CHECKPOINT_BYTES", 1)
    statements: list[str] = []
    with opened(tmp_path) as storage:
        storage.save(HardState(1), [next(portions())[0], entry(2), entry(3)])
        connections[-1].set_trace_callback(statements.append)
        write(storage, 2)
    changes = [statement.split()[0] for statement in statements if not statement.startswith("SELECT")]
    assert (changes[0], *changes[-2:]) == ("BEGIN", "COMMIT", "PRAGMA")
    assert set(changes[1:-2]) <= {"UPDATE", "DELETE", "INSERT"}


def test_a_new_database_is_synced_before_it_gets_its_name_and_its_folder_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half made under its name it would be taken for damage, and the node would never start."""
    file, fsync, synced = tmp_path / FILE, os.fsync, list[tuple[int, bool]]()

    def noted(handle: int) -> None:
        fsync(handle)
        synced.append((os.fstat(handle).st_ino, file.exists()))

    monkeypatch.setattr("node.disk.storage.os.fsync", noted)
    with opened(tmp_path):
        assert synced == [(file.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


@pytest.mark.parametrize("pragma", ["application_id = 7", "user_version = 7"])
def test_a_database_of_another_program_or_version_is_refused(tmp_path: Path, pragma: str) -> None:
    filled(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.execute(f"PRAGMA {pragma}")
    with pytest.raises(StorageError, match="not a database of this version of the node"):
        Storage(tmp_path, "n1")


def test_a_page_that_is_damaged_though_the_file_is_a_database_is_refused(tmp_path: Path) -> None:
    """One that no read would have touched until the entries on it are asked for."""
    filled(tmp_path)
    database = tmp_path / FILE
    data = bytearray(database.read_bytes())
    page = len(data) // PAGE_BYTES // 2 * PAGE_BYTES
    data[page : page + PAGE_BYTES] = bytes(PAGE_BYTES)
    database.write_bytes(data)
    with pytest.raises(StorageError, match="is damaged"):
        Storage(tmp_path, "n1")
