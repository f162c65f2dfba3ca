"""`Snapshots`: when one is due, when it counts as taken, and how much of the log may then go. Pure.

    the server's round     freeze the state (cheap: values are never changed in place) -> ... rounds ... -> compact
    its owner, beside it   encode and write line by line -> sync -> tell the server

A snapshot counts only once the owner says that it is durable. Until then nobody is told that it was taken, and the log
keeps every entry, because a crash may leave nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from node.errors import NothingToSnapshotError, StoppingError
from node.machine.state_machine import Frozen, StateMachine
from node.pending import Pending
from node.raft import Raft, Snapshot, SnapshotMeta


@dataclass(frozen=True)
class SnapshotPolicy:
    """When a snapshot is taken, and what is kept."""

    interval_s: float = 120.0
    """After this long, if anything was applied since the last one."""
    threshold: int = 8192
    """As soon as this many entries were applied since the last one."""
    retention: int = 2
    trailing_logs: int = 10240
    """This many entries before the newest snapshot are kept for followers that are a little behind."""


class SnapshotDraft(NamedTuple):
    """A snapshot to be written: what it stands for, and the state, which any thread may encode."""

    meta: SnapshotMeta
    content: Frozen


class SnapshotWritten(NamedTuple):
    """The owner has made a snapshot durable, and may have deleted those that it makes superfluous."""

    snapshot: Snapshot
    fallback_index: int
    """The entries after this one are needed if all snapshots but the oldest kept turn out to be damaged."""


class Snapshots:
    """Belongs to one `node.server.Server`. `machine` has applied every entry up to `raft.last_applied`."""

    def __init__(self, raft: Raft, machine: StateMachine, policy: SnapshotPolicy, pending: Pending, now: float) -> None:
        self._raft = raft
        self._machine = machine
        self._policy = policy
        self._pending = pending
        self._interval_over_s = now + policy.interval_s
        self.deadline = math.inf
        """When `begin` is next to be called."""
        self._under_way = False
        self._first_kept = 1
        self._asked: list[Any] = []
        self._served: list[Any] = []
        """The clients that asked before the snapshot under way began."""

    @property
    def index(self) -> int:
        """The last entry that the newest snapshot stands for; 0 means that there is none."""
        return self._raft.snapshot.meta.index if self._raft.snapshot else 0

    def ask(self, to: Any) -> None:
        """Take a snapshot of what is applied now; its index is the answer."""
        self._asked.append(to)
        self.deadline = -math.inf

    def note_applied(self) -> None:
        """There are new entries applied, perhaps enough for a snapshot."""
        self.deadline = -math.inf

    def begin(self, now: float) -> SnapshotDraft | None:
        """The snapshot to write, if one is due and none is under way. To be called when all that was handed out is
        applied."""
        if self._under_way:
            self.deadline = math.inf
            return None
        new = self._raft.last_applied - self.index
        if not self._asked and new < self._policy.threshold and (not new or now < self._interval_over_s):
            self.deadline = self._interval_over_s if new else math.inf
            return None
        self._interval_over_s, self.deadline = now + self._policy.interval_s, math.inf
        self._served, self._asked = self._asked, []
        if not new:
            self._answer_served()
            return None
        self._under_way = True
        return SnapshotDraft(self._raft.describe_snapshot(), self._machine.freeze())

    def keep(self, written: SnapshotWritten) -> int:
        """Count the snapshot as taken; returns the first entry that the log has to keep."""
        assert self._under_way, "a snapshot that nobody asked for"
        self._under_way, self.deadline = False, -math.inf
        snapshot = written.snapshot
        self._first_kept = max(self._first_kept, first_to_keep(written, self._policy.trailing_logs))
        self._raft.compact(snapshot, first_kept=self._first_kept)
        self._answer_served()
        return self._first_kept

    def give_up(self) -> None:
        """The node goes down. A snapshot being written may be completed after all; one that was not begun will not."""
        for to in self._served:
            self._pending.interrupt(to)
        for to in self._asked:
            self._pending.refuse(to, StoppingError("the node is going down"))

    def _answer_served(self) -> None:
        for to in self._served:
            if self.index:
                self._pending.answer(to, self.index)
            else:
                self._pending.refuse(to, NothingToSnapshotError("nothing has been applied yet"))
        self._served = []


def first_to_keep(written: SnapshotWritten, trailing_logs: int) -> int:
    """The first entry that the log has to keep. It keeps what the oldest snapshot lacks, and `trailing_logs` entries
    before this snapshot, so that a follower a little behind is sent entries and not everything."""
    return max(0, min(written.fallback_index, written.snapshot.meta.index - trailing_logs)) + 1
