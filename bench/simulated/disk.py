"""A node's disk: what is written, what is synced, and what a crash leaves.

It keeps what `node.disk` keeps and promises what that promises: a save is one transaction, there whole or not at all.
When the machine dies during a save, the transaction may have been completed although nobody was told, or not. Anything
worse happens only on request: a slow disk, a full one, one whose fsync lies (a crash loses what was written since the
last honest save), and one without transactions, which tears the last write.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from node.raft import Entry, HardState, Snapshot

FASTEST_S, USUAL_SPREAD_S, RARE_S = 0.0003, 0.002, 0.02
"""An fsync on a solid state disk, and the one in fifty that finds it busy."""

NO_SPACE = "no space left on device"
FAILED = "input/output error"


class DiskError(Exception):
    """Nothing of this save or snapshot is on the disk; the node must stop."""


class Save(NamedTuple):
    hard_state: HardState | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None = None


@dataclass(slots=True)
class Content:
    """What a node would find: the entries after `base_index`, and the snapshot, if there is one."""

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
        """Use this snapshot, unless a newer one came from the leader meanwhile."""
        if self.snapshot is None or self.snapshot.meta.index <= snapshot.meta.index:
            self.snapshot = snapshot

    def forget(self, first_kept: int) -> None:
        """Drop the entries before this one, as far as the snapshot includes them."""
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
        self.fails_next = False
        """The next save fails, and those after it succeed."""
        self.honest = True
        """Whether a sync that returned has really happened."""
        self.transactional = True
        """Whether a save cut short by a crash is there whole or not at all, as on `node.disk`. Otherwise some of its
        entries remain, without its hard state. A snapshot is there whole or not at all on any disk."""

    def begin(self, write: Save) -> float:
        """Start a save; returns how long it takes, in seconds. Raises DiskError."""
        if self.full:
            raise DiskError(NO_SPACE)
        if self.fails_next:
            self.fails_next = False
            raise DiskError(FAILED)
        assert self._under_way is None, "one save at a time"
        self._under_way = write
        chance = self._rng.random()
        usual_s = FASTEST_S + USUAL_SPREAD_S * chance * chance
        return self.extra_s + (usual_s if chance < 0.98 else usual_s + RARE_S * self._rng.random())

    def sync(self) -> list[Save]:
        """The save under way returns. Returns what is now durable: nothing if the disk lies, else this save and all
        before it."""
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
        """Make a snapshot durable in the background. Returns its index, since no older one is kept to fall back on.
        Raises DiskError."""
        if self.full:
            raise DiskError(NO_SPACE)
        if not self._unsynced:
            self._synced.keep(snapshot)
        return snapshot.meta.index

    def forget(self, first_kept: int) -> None:
        """Delete the entries before this one."""
        if not self._unsynced:
            self._synced.forget(first_kept)

    def crash(self, *, torn: bool = False) -> Save | None:
        """The machine dies. Returns what became durable although nobody was told: in half the cases the save under way,
        or the part of it that is left if the crash has `torn` it."""
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

    def copied(self) -> Content:
        """What is on it now, to be brought back later."""
        return replace(self._synced, entries=list(self._synced.entries))

    def bring_back(self, former: Content) -> None:
        """Be as it was then."""
        self._synced = replace(former, entries=list(former.entries))

    def load(self) -> Content:
        """What a start finds."""
        return self._synced
