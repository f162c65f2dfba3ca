"""Snapshots and the log behind them, as the disk has them."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from node.disk.snapshot_files import FOLDER, SnapshotFiles
from node.disk.storage import FILE, Storage, StorageError, Stored
from node.raft import Configuration, Entry, EntryKind, HardState, Snapshot, SnapshotMeta
from node.snapshots import SnapshotWritten, first_to_keep

CONFIGURATION = Configuration.first([("n1", "127.0.0.1:7001")])
DATA = b"state\n" * 1000
PIECE, PIECES = 100_000, 100


def entry(index: int, term: int = 1) -> Entry:
    if index == 1:
        return Entry(1, term, EntryKind.CONFIGURATION, CONFIGURATION.encode())
    return Entry(index, term, EntryKind.COMMAND, b"x" * 50)


def snapshot(index: int, term: int = 1, configuration: Configuration = CONFIGURATION) -> Snapshot:
    return Snapshot(SnapshotMeta(index, term, configuration, 1), DATA)


def opened(folder: Path, retention: int = 2) -> contextlib.closing[Storage]:
    return contextlib.closing(Storage(folder, "n1", retention=retention))


def loaded(folder: Path) -> Stored:
    with opened(folder) as storage:
        return storage.load()


def filled(folder: Path, *snapshots_at: int, retention: int = 2) -> None:
    """A log of 100 entries, with a snapshot taken and the log compacted at each of the indexes."""
    with opened(folder, retention) as storage:
        storage.save(HardState(1, "n1"), [entry(index) for index in range(1, 101)])
        for index in snapshots_at:
            take(storage, snapshot(index))


def take(storage: Storage, taken: Snapshot, trailing_logs: int = 5) -> None:
    first_kept = write_and_keep(storage, taken, trailing_logs)
    while storage.compact(first_kept, at_most=7):
        pass


def write_and_keep(storage: Storage, taken: Snapshot, trailing_logs: int) -> int:
    """The first entry that the log has to keep."""
    written = storage.write_snapshot(taken.meta, [taken.data])
    return first_to_keep(SnapshotWritten(written, storage.keep_snapshot(written)), trailing_logs)


def write(folder: Path, taken: Snapshot) -> None:
    """Put a file there behind the storage's back."""
    SnapshotFiles(folder, retention=2).write(taken.meta, [taken.data])


def file_of(folder: Path, index: int, term: int = 1) -> Path:
    return folder / FOLDER / f"{term}-{index}.snap"


def test_a_snapshot_and_the_log_behind_it_are_loaded_as_they_were(tmp_path: Path) -> None:
    filled(tmp_path, 40, 60)
    stored = loaded(tmp_path)
    assert stored.snapshot is not None
    assert (stored.snapshot.meta, bytes(stored.snapshot.data)) == (snapshot(60).meta, DATA)
    assert (stored.log.first_index, stored.log.last_index, stored.log.base_term) == (41, 100, 1)


def test_a_snapshot_is_never_in_memory_whole(tmp_path: Path) -> None:
    files = SnapshotFiles(tmp_path, retention=2)
    tracemalloc.start()
    written = files.write(snapshot(60).meta, (bytes([number]) * PIECE for number in range(PIECES)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(written.data) == PIECE * PIECES
    assert peak < PIECE * PIECES / 4


def test_a_snapshot_is_synced_before_it_gets_its_name_and_its_folder_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, path = SnapshotFiles(tmp_path, retention=2), file_of(tmp_path, 60)
    fsync, synced = os.fsync, list[tuple[int, bool, bytes]]()

    def noted(handle: int) -> None:
        fsync(handle)
        (file,) = path.parent.iterdir()
        synced.append((os.fstat(handle).st_ino, file == path, file.read_bytes()))

    monkeypatch.setattr("node.disk.snapshot_files.os.fsync", noted)
    files.write(snapshot(60).meta, [DATA])
    whole = path.read_bytes()
    assert synced == [(path.stat().st_ino, False, whole), (path.parent.stat().st_ino, True, whole)]


def test_no_more_snapshots_are_kept_than_retention_says(tmp_path: Path) -> None:
    filled(tmp_path, 20, 40, 60, 80)
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"1-60.snap", "1-80.snap"}


@pytest.mark.parametrize(("retention", "kept"), [(1, ["1-100.snap"]), (3, ["1-100.snap", "1-40.snap", "1-60.snap"])])
def test_as_many_are_kept_as_the_node_is_told_to_keep(tmp_path: Path, retention: int, kept: list[str]) -> None:
    """Those that were there when it started among them."""
    filled(tmp_path, retention=retention)
    for index in (20, 40, 60, 100):
        with opened(tmp_path, retention) as storage:
            storage.load()
            write_and_keep(storage, snapshot(index), trailing_logs=5)
    assert sorted(path.name for path in (tmp_path / FOLDER).iterdir()) == kept
    stored = loaded(tmp_path).snapshot
    assert stored is not None
    assert stored.meta.index == 100, "the newest, whatever its name sorts before"


def test_a_snapshot_that_is_taken_again_makes_none_superfluous(tmp_path: Path) -> None:
    """It is one, however often: the one before it has to stay."""
    filled(tmp_path)
    with opened(tmp_path) as storage:
        kept = [write_and_keep(storage, snapshot(index), trailing_logs=0) for index in (40, 60, 60)]
    assert kept == [1, 41, 41]
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"1-40.snap", "1-60.snap"}


def test_a_snapshot_that_somebody_has_deleted_is_not_missed(tmp_path: Path) -> None:
    filled(tmp_path, 40, 60)
    with opened(tmp_path) as storage:
        storage.load()
        file_of(tmp_path, 40).unlink()
        for index in (70, 80):
            take(storage, snapshot(index))
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"1-70.snap", "1-80.snap"}


def test_the_log_is_compacted_no_further_than_the_oldest_snapshot_and_the_trailing_logs(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        storage.save(HardState(1), [entry(index) for index in range(1, 101)])
        kept = [write_and_keep(storage, snapshot(index), trailing_logs=5) for index in (20, 40, 43)]
    assert kept == [1, 21, 39], "the whole log stands in for the snapshot before the first"


def test_where_a_log_has_lost_its_beginning_nothing_before_that_can_be_kept(tmp_path: Path) -> None:
    """There are fewer snapshots than are to be kept, and no whole log to stand in for the others."""
    with opened(tmp_path, retention=3) as storage:
        storage.install(HardState(3), snapshot(150, term=3), [entry(index, 3) for index in range(151, 201)])
        written = storage.write_snapshot(snapshot(180, term=3).meta, [DATA])
        assert storage.keep_snapshot(written) == 150


def test_each_round_of_compaction_is_bounded(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as storage:
        more = [storage.compact(51, at_most=30) for _ in range(3)]
        take(storage, snapshot(60))
    assert more == [True, False, False]
    log = loaded(tmp_path).log
    assert (log.base_index, log.first_index, log.last_index) == (50, 51, 100)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def one_bit_flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def of_another_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2', 1))


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def headless(path: Path) -> None:
    path.write_bytes(b"\x00" + path.read_bytes()[1:])


@pytest.mark.parametrize("damage", [emptied, truncated, longer, one_bit_flipped, headless, of_another_format])
def test_a_damaged_snapshot_gives_way_to_the_one_before(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, 40, 60)
    damage(file_of(tmp_path, 60))
    with caplog.at_level(logging.WARNING):
        stored = loaded(tmp_path)
    assert stored.snapshot is not None
    assert stored.snapshot.meta.index == 40
    assert stored.log.first_index == 41, "every entry since is there"
    assert str(file_of(tmp_path, 60)) in caplog.text
    aside = {path.name for path in (tmp_path / FOLDER).iterdir()}
    assert aside == {"1-40.snap", "1-60.damaged"}, "for somebody to look at, and not to be found again"


def test_the_only_snapshot_damaged_gives_way_to_the_whole_log(tmp_path: Path) -> None:
    filled(tmp_path, 60)
    emptied(file_of(tmp_path, 60))
    stored = loaded(tmp_path)
    assert stored.snapshot is None
    assert (stored.log.first_index, stored.log.last_index) == (1, 100)


def test_a_log_without_its_beginning_and_without_a_whole_snapshot_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, 40, 60)
    for index in (40, 60):
        emptied(file_of(tmp_path, index))
    with pytest.raises(StorageError, match=r"begins after entry 40 and no whole snapshot reaches it: .*1-40\.damaged"):
        loaded(tmp_path)


def test_a_snapshot_from_before_the_log_begins_is_refused(tmp_path: Path) -> None:
    """Restored from it, the node would lack every entry between the two."""
    filled(tmp_path, 40, 60)
    for index in (40, 60):
        file_of(tmp_path, index).unlink()
    write(tmp_path, snapshot(20))
    with pytest.raises(StorageError, match="begins after entry 40 and no whole snapshot reaches it"):
        loaded(tmp_path)


def test_a_snapshot_of_another_cluster_is_refused(tmp_path: Path) -> None:
    filled(tmp_path, 40, 60)
    other = Configuration.first([("n1", "127.0.0.1:9999")])
    write(tmp_path, snapshot(70, configuration=other))
    with pytest.raises(StorageError, match=f"of cluster {other.cluster_id}"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DELETE FROM entries WHERE idx = 41", "hole"),
        ("UPDATE base SET idx = 39", "hole"),
        ("UPDATE base SET term = 9", "never go back"),
        ("UPDATE hard_state SET current_term = 0", "current term is 0"),
    ],
)
def test_a_log_that_cannot_follow_its_base_is_refused(tmp_path: Path, statement: str, reason: str) -> None:
    filled(tmp_path, 40, 60)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute(statement)
    with pytest.raises(StorageError, match=reason):
        loaded(tmp_path)


def test_a_snapshot_that_disagrees_with_the_log_behind_it_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        storage.install(HardState(3), snapshot(150, term=3), ())
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("UPDATE base SET term = 2")
    with pytest.raises(StorageError, match="entry 150 has term 2, but 3 in its snapshot"):
        loaded(tmp_path)


def test_a_snapshot_of_a_later_term_than_the_nodes_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    write(tmp_path, snapshot(150, term=7))
    with pytest.raises(StorageError, match="snapshot of term 7 where the current term is 1"):
        loaded(tmp_path)


def test_an_installed_snapshot_is_handed_back_as_it_is_in_the_file(tmp_path: Path) -> None:
    """What was received need not stay in memory."""
    with opened(tmp_path) as storage:
        stored = storage.install(HardState(3), snapshot(150, term=3), ())
    assert isinstance(stored.data, memoryview)
    assert (stored.meta, bytes(stored.data)) == (snapshot(150, term=3).meta, DATA)


def test_entries_behind_an_installed_snapshot_are_the_whole_log(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as storage:
        storage.install(HardState(3), snapshot(50, term=3), [entry(51, 3), entry(52, 3)])
    log = loaded(tmp_path).log
    assert log.between(51, log.last_index) == (entry(51, 3), entry(52, 3))


def test_installed_snapshots_count_among_those_that_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as storage:
        for index in (150, 160, 170):
            storage.install(HardState(3), snapshot(index, term=3), ())
    assert {path.name for path in (tmp_path / FOLDER).iterdir()} == {"3-160.snap", "3-170.snap"}


@pytest.mark.parametrize(("syncs", "snapshot_index", "last_index"), [(0, 0, 100), (1, 150, 150)])
def test_an_installation_that_is_cut_short_anywhere_leaves_what_a_node_can_start_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syncs: int, snapshot_index: int, last_index: int
) -> None:
    """Term and vote are there first, then the file, and nothing of the log is gone before that."""
    filled(tmp_path)
    fsync, left = os.fsync, iter(range(syncs))

    def cut_short(handle: int) -> None:
        if next(left, None) is None:
            raise OSError("the power is gone")
        fsync(handle)

    with opened(tmp_path) as storage, monkeypatch.context() as patch:
        patch.setattr("node.disk.snapshot_files.os.fsync", cut_short)
        with pytest.raises(OSError, match="power"):
            storage.install(HardState(3, "n2"), snapshot(150, term=3), ())
    stored = loaded(tmp_path)
    assert stored.hard_state == HardState(3, "n2")
    assert stored.snapshot is None or stored.snapshot.meta.index == snapshot_index
    assert stored.log.last_index == last_index


@pytest.mark.parametrize("suffix", [(), (entry(151, 3), entry(152, 3))])
def test_an_installed_snapshot_replaces_the_log(tmp_path: Path, suffix: tuple[Entry, ...]) -> None:
    filled(tmp_path)
    with opened(tmp_path) as storage:
        storage.install(HardState(3), snapshot(150, term=3), suffix)
        storage.save(None, [entry(151, 3)])
    stored = loaded(tmp_path)
    assert stored.hard_state == HardState(3)
    assert stored.snapshot is not None
    assert stored.snapshot.meta.index == 150
    assert (stored.log.base_index, stored.log.base_term, stored.log.last_index) == (150, 3, 151)


@pytest.mark.parametrize("term_in_log", [1, 2])
def test_an_installation_cut_short_between_file_and_log_is_finished(tmp_path: Path, term_in_log: int) -> None:
    """The log does not reach the snapshot, or another entry stands at its index: it is of no use any more."""
    with opened(tmp_path) as storage:
        storage.save(HardState(3), [entry(index, term_in_log) for index in range(1, 101)])
    index = 150 if term_in_log == 1 else 80
    write(tmp_path, snapshot(index, term=3))
    with opened(tmp_path) as storage:
        stored = storage.load()
        assert (stored.log.base_index, stored.log.base_term, stored.log.last_index) == (index, 3, index)
        storage.save(None, [entry(index + 1, 3)])
    assert loaded(tmp_path).log.last_index == index + 1


def test_an_installation_cut_short_keeps_the_log_that_agrees_with_the_snapshot(tmp_path: Path) -> None:
    filled(tmp_path)
    write(tmp_path, snapshot(80))
    stored = loaded(tmp_path)
    assert stored.snapshot is not None
    assert (stored.log.first_index, stored.log.last_index) == (1, 100)


def test_a_draft_that_a_crash_left_is_removed_and_never_loaded(tmp_path: Path) -> None:
    filled(tmp_path, 40)
    draft = tmp_path / FOLDER / "1-60.00.draft"
    draft.write_bytes(file_of(tmp_path, 40).read_bytes())
    stored = loaded(tmp_path)
    assert stored.snapshot is not None
    assert stored.snapshot.meta.index == 40
    assert not draft.exists()
