from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from node.raft import Entry, EntryKind, HardState
from node.storage import FILE, ROWS_AT_ONCE, Storage, StorageError


def entry(index: int, term: int = 1) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"x" * 100)


def opened(folder: Path, node_id: str = "n1") -> contextlib.closing[Storage]:
    return contextlib.closing(Storage(folder, node_id))


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


def test_two_nodes_cannot_share_a_folder(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        storage.save(HardState(1), [entry(1)])
        with pytest.raises(StorageError, match="in use"):
            Storage(tmp_path, "n1")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        Storage(tmp_path / "file" / "data", "n1")
