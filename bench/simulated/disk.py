"""A node's disk: what is written, what of it is synced, and what a crash leaves.

It keeps what `node.disk` keeps and promises what that promises: a save is one transaction, there whole or not at
all. When the machine dies while a save is under way, the transaction may have been completed although nobody was told,
or not. What can go wrong beyond that is asked for: a slow disk, a full one, one whose fsync lies (what was written is
lost in a crash until an honest save follows), and one that is no transaction's and tears the last write.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import NamedTuple

from node.raft import Entry, HardState, Snapshot

FASTEST_S, USUAL_SPREAD_S, RARE_S = 0.0003, 0.002, 0.02
"""An fsync on a solid state disk, and the one in fifty that finds it busy."""

NO_SPACE = "no space left on device"


class DiskFullError(Exception):
    """Nothing of this save or snapshot is on the disk; the node must stop."""


class Save(NamedTuple):
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None = None


@dataclass(slots=True)
class Content:
    """What a node would find: entries from `first_index` on, behind the snapshot if there is one."""

    hard_state: HardState = field(default_factory=HardState)
    entries: list[Entry] = field(default_factory=list)
    snapshot: Snapshot | None = None
    base_index: int = 0
    base_term: int = 0

    def take(self, write: Save) -> None:
        if write.hard_state is not None:
            self.hard_state = write.hard_state
        if write.snapshot is not None:
            self.snapshot = write.snapshot
            self.base_index, self.base_term = write.snapshot.meta.index, write.snapshot.meta.term
            self.entries = list(write.entries)
        elif write.entries:
            del self.entries[write.entries[0].index - self.base_index - 1 :]
            self.entries += write.entries

    def keep(self, snapshot: Snapshot) -> None:
        """Go by this snapshot, unless a newer one came from the leader meanwhile."""
        if self.snapshot is None or self.snapshot.meta.index <= snapshot.meta.index:
            self.snapshot = snapshot

    def forget(self, first_kept: int) -> None:
        """Drop the entries before this one, as far as the snapshot stands for them."""
        dropped = min(first_kept - 1, self.snapshot.meta.index if self.snapshot else 0) - self.base_index
        if dropped > 0:
            self.base_term = self.entries[dropped - 1].term
            self.base_index += dropped
            del self.entries[:dropped]


class SimulatedDisk:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._synced = Content()
        self._unsynced: list[Save] = []
        self._under_way: Save | None = None
        self.extra_s = 0.0
        """Every save takes this much longer."""
        self.full = False
        self.honest = True
        """Whether a sync that returned has happened."""
        self.transactional = True
        """Whether a save that a crash cuts short is there whole or not at all, as `node.disk` sees to. If not, some
        of its entries are left, and not its hard state; a snapshot is there whole or not at all on any disk."""

    def begin(self, write: Save) -> float:
        """Start a save; returns how long it takes, in seconds. Raises DiskFullError."""
        if self.full:
            raise DiskFullError(NO_SPACE)
        assert self._under_way is None, "one save at a time"
        self._under_way = write
        chance = self._rng.random()
        usual_s = FASTEST_S + USUAL_SPREAD_S * chance * chance
        return self.extra_s + (usual_s if chance < 0.98 else usual_s + RARE_S * self._rng.random())

    def sync(self) -> list[Save]:
        """The save under way returns. What has become durable by it: itself, unless the disk lies."""
        assert self._under_way is not None
        self._unsynced.append(self._under_way)
        self._under_way = None
        if not self.honest:
            return []
        writes, self._unsynced = self._unsynced, []
        for write in writes:
            self._synced.take(write)
        return writes

    def keep(self, snapshot: Snapshot) -> int:
        """A snapshot is made durable in the background; returns its index, for it alone is kept. Raises
        DiskFullError."""
        if self.full:
            raise DiskFullError(NO_SPACE)
        if not self._unsynced:
            self._synced.keep(snapshot)
        return snapshot.meta.index

    def forget(self, first_kept: int) -> None:
        """The entries before this one are deleted."""
        if not self._unsynced:
            self._synced.forget(first_kept)

    def crash(self, *, torn: bool = False) -> Save | None:
        """The machine dies. Returns what became durable although nobody was told: the save under way, in half the
        cases, unless the crash has `torn` it.
        """
        write, self._under_way = self._under_way, None
        self._unsynced.clear()
        if write is None or (self._rng.random() < 0.5 and not torn):
            return None
        if torn:
            if self.transactional or write.snapshot is not None:
                return None
            write = Save(None, write.entries[: self._rng.randint(0, len(write.entries))])
        self._synced.take(write)
        return write

    def load(self) -> Content:
        """What is found after a start."""
        return self._synced
