"""What follows from a step, as one value: see rule 1 of the package."""

from __future__ import annotations

import msgspec

from node.raft.messages import AnyMessage, Entry, HardState
from node.raft.snapshot import Snapshot
from node.raft.transitions import Transition


class LogPosition(msgspec.Struct, frozen=True):
    index: int
    term: int


class ReadReady(msgspec.Struct, frozen=True):
    """The read with this ticket may be answered once the entry at `index` has been applied (thesis 6.4).

    `index` is None when leadership was lost first; then the read must not be answered.
    """

    ticket: int
    index: int | None


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from everything the core was told since the last time, in the order in which to carry it out."""

    hard_state: HardState | None = None
    snapshot: Snapshot | None = None
    """Received from the leader. Store it, and restore the state machine from it before anything is applied."""
    entries: tuple[Entry, ...] = ()
    """To be stored, in place of every entry from `entries[0].index` on; with a snapshot, in place of the whole log."""
    messages: tuple[AnyMessage, ...] = ()
    committed: tuple[Entry, ...] = ()
    """To be applied, in order. Entries beyond `FlowLimits.entries_applied_at_once` come next time."""
    reads: tuple[ReadReady, ...] = ()
    transitions: tuple[Transition, ...] = ()
    news: bool = False
    """Whether there may be anything besides messages."""

    @property
    def must_save(self) -> bool:
        return self.hard_state is not None or self.snapshot is not None or bool(self.entries)


NOTHING = Effects()


class Due(msgspec.Struct):
    """Effects in the making."""

    hard_state: bool = False
    snapshot: Snapshot | None = None
    first_unsaved: int | None = None
    messages: list[AnyMessage] = msgspec.field(default_factory=list)
    reads: list[ReadReady] = msgspec.field(default_factory=list)
    transitions: list[Transition] = msgspec.field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether nothing follows besides messages. A hard state or a snapshot comes with a transition."""
        return not (self.transitions or self.reads or self.hard_state or self.first_unsaved is not None)

    def mark_unsaved(self, index: int) -> None:
        self.first_unsaved = index if self.first_unsaved is None else min(self.first_unsaved, index)
