"""What a crash leaves of what was saved."""

from __future__ import annotations

import random

import pytest

from bench.simulated.disk import Content, DiskError, Save, SimulatedDisk
from node.raft import Configuration, Entry, EntryKind, HardState, Snapshot
from node.raft.snapshot import SnapshotMeta

SEEDS = range(40)


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(index, term, EntryKind.COMMAND, b"x") for index in range(first, last + 1))


def saved(disk: SimulatedDisk, *writes: Save) -> None:
    for write in writes:
        disk.begin(write)
        disk.sync()


def snapshot(index: int) -> Snapshot:
    return Snapshot(SnapshotMeta(index, 1, Configuration(), 0), b"state")


def test_what_was_synced_survives_and_entries_replace_all_from_their_first_on() -> None:
    disk = SimulatedDisk(random.Random(1))
    saved(disk, Save(HardState(1, "a"), entries(1, 5)), Save(HardState(2, None), entries(3, 4, term=2)))
    disk.crash()
    found = disk.load()
    assert found.hard_state == HardState(2, None)
    assert [(entry.index, entry.term) for entry in found.entries] == [(1, 1), (2, 1), (3, 2), (4, 2)]


def test_a_save_cut_short_by_a_crash_is_there_whole_or_not_at_all_and_both_happen() -> None:
    left = set()
    for seed in SEEDS:
        disk = SimulatedDisk(random.Random(seed))
        saved(disk, Save(HardState(1, "a"), entries(1, 2)))
        disk.begin(Save(HardState(2, "b"), entries(3, 9, term=2)))
        disk.crash()
        left.add((disk.load().hard_state, len(disk.load().entries)))
    assert left == {(HardState(1, "a"), 2), (HardState(2, "b"), 9)}


def test_a_disk_is_fresh_until_anything_is_on_it() -> None:
    for write in (Save(HardState(1, None), ()), Save(None, entries(1, 1)), Save(None, (), snapshot(3))):
        disk = SimulatedDisk(random.Random(1))
        assert disk.load() == Content()
        saved(disk, write)
        assert disk.load() != Content()


def test_a_torn_save_is_rolled_back_by_the_transaction() -> None:
    for seed in SEEDS:
        disk = SimulatedDisk(random.Random(seed))
        disk.begin(Save(HardState(2, "b"), entries(1, 9)))
        assert disk.crash(torn=True) is None
        assert (disk.load().hard_state, disk.load().entries) == (HardState(), [])


def test_without_a_transaction_a_torn_save_leaves_a_part() -> None:
    parts = set()
    for seed in SEEDS:
        disk = SimulatedDisk(random.Random(seed))
        disk.transactional = False
        disk.begin(Save(HardState(2, "b"), entries(1, 9)))
        disk.crash(torn=True)
        assert disk.load().hard_state == HardState()
        parts.add(len(disk.load().entries))
    assert parts == set(range(10)), "from nothing to everything but the hard state"


def test_a_torn_snapshot_is_not_there_on_any_disk() -> None:
    for seed in SEEDS:
        disk = SimulatedDisk(random.Random(seed))
        disk.transactional = False
        saved(disk, Save(HardState(1, "a"), entries(1, 3)))
        disk.begin(Save(None, entries(8, 9), snapshot(7)))
        assert disk.crash(torn=True) is None
        assert [entry.index for entry in disk.load().entries] == [1, 2, 3]


def test_a_disk_that_lies_loses_what_was_never_synced() -> None:
    disk = SimulatedDisk(random.Random(1))
    saved(disk, Save(HardState(1, "a"), entries(1, 2)))
    disk.honest = False
    saved(disk, Save(HardState(2, "b"), entries(3, 4)))
    disk.crash()
    assert (disk.load().hard_state, len(disk.load().entries)) == (HardState(1, "a"), 2)


def test_an_honest_save_makes_durable_what_was_written_before_it() -> None:
    disk = SimulatedDisk(random.Random(1))
    disk.honest = False
    saved(disk, Save(HardState(1, "a"), entries(1, 2)))
    disk.honest = True
    disk.begin(Save(None, entries(3, 3)))
    assert len(disk.sync()) == 2
    disk.crash()
    assert (disk.load().hard_state, len(disk.load().entries)) == (HardState(1, "a"), 3)


def test_a_full_disk_refuses_a_save_and_keeps_what_it_has() -> None:
    disk = SimulatedDisk(random.Random(1))
    saved(disk, Save(HardState(1, "a"), entries(1, 2)))
    disk.full = True
    with pytest.raises(DiskError):
        disk.begin(Save(HardState(2, "b"), ()))
    with pytest.raises(DiskError):
        disk.keep(snapshot(2))
    assert (disk.load().hard_state, disk.load().snapshot) == (HardState(1, "a"), None)


def test_a_slow_disk_takes_longer_by_what_was_asked() -> None:
    usual, slow = SimulatedDisk(random.Random(1)), SimulatedDisk(random.Random(1))
    slow.extra_s = 0.5
    assert slow.begin(Save(HardState(1, None), ())) == pytest.approx(usual.begin(Save(HardState(1, None), ())) + 0.5)


def test_compaction_drops_what_the_snapshot_stands_for_and_keeps_a_tail() -> None:
    disk = SimulatedDisk(random.Random(1))
    saved(disk, Save(HardState(1, "a"), entries(1, 9)))
    assert disk.keep(snapshot(7)) == 7
    disk.forget(5)
    found = disk.load()
    assert (found.base_index, found.base_term, [entry.index for entry in found.entries]) == (4, 1, [5, 6, 7, 8, 9])
    saved(disk, Save(None, entries(9, 10, term=2)))
    assert [entry.index for entry in disk.load().entries] == [5, 6, 7, 8, 9, 10]


def test_a_snapshot_from_the_leader_replaces_everything() -> None:
    disk = SimulatedDisk(random.Random(1))
    saved(disk, Save(HardState(1, "a"), entries(1, 3)), Save(None, entries(8, 9), snapshot(7)))
    found = disk.load()
    assert (found.base_index, [entry.index for entry in found.entries]) == (7, [8, 9])
    assert found.snapshot == snapshot(7)
