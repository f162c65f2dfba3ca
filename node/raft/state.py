"""`State`: what a server holds (Figure 2), what others can see of it, and the few ways in which it changes."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from node.raft import quorum
from node.raft.effects import Due, LogPosition
from node.raft.log import Log
from node.raft.membership import Configuration, Memberships
from node.raft.messages import (
    AnyMessage,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    HardState,
)
from node.raft.progress import LONG_AGO, Progress
from node.raft.settings import FlowLimits, Timing
from node.raft.snapshot import Incoming, Snapshot
from node.raft.transitions import (
    Committed,
    MembershipChanged,
    Role,
)

NEVER = math.inf


@dataclass(slots=True)
class PendingRead:
    ticket: int
    asked_at_s: float
    index: int


@dataclass(frozen=True)
class Handover:
    target: str
    asked_at_s: float
    deadline_s: float


class State:
    """The fields of Figure 2 and what this core adds to them. `Raft` is the whole; this is its lowest layer.

    The core's owner and observers may read the fields without an underscore. Only this layer and those above write
    them, which a unit test checks. They are plain attributes because that makes exploring a good deal faster.
    """

    __slots__ = (
        "_commit_unheard_since_s",
        "_confirmed_cache",
        "_counted_since_s",
        "_elected_by_transfer",
        "_election_due_s",
        "_first_index_of_reign",
        "_incoming",
        "_last_answer",
        "_last_contact_s",
        "_matches_cache",
        "_memberships",
        "_next_heartbeat_s",
        "_next_ticket",
        "_now",
        "_pending",
        "_progress",
        "_reads",
        "_rng",
        "_transfer",
        "_votes",
        "commit_index",
        "current_term",
        "id",
        "last_applied",
        "leader",
        "limits",
        "log",
        "role",
        "snapshot",
        "timing",
        "voted_for",
    )

    def __init__(
        self,
        node_id: str,
        *,
        log: Log,
        hard_state: HardState,
        snapshot: Snapshot | None = None,
        timing: Timing,
        limits: FlowLimits,
        rng: random.Random,
        now: float,
    ) -> None:
        self.id = node_id
        self.log = log
        self.timing = timing
        self.limits = limits
        self._rng = rng
        self._now = now
        self.current_term = hard_state.current_term
        self.voted_for = hard_state.voted_for
        self.snapshot = snapshot
        """The newest one. A follower is sent it when it needs entries that are no longer in the log."""
        self._memberships = memberships_of(log, snapshot)
        self.role = Role.FOLLOWER
        self.leader: str | None = None
        """The leader of this node's term, as far as it knows."""
        self.commit_index = self.last_applied = snapshot.meta.index if snapshot else 0
        """The last entry known here to be committed, and the last one handed out to be applied."""
        self._last_contact_s = now if hard_state.current_term else LONG_AGO
        self._votes: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}
        self._reads: list[PendingRead] = []
        self._next_ticket = 1
        self._next_heartbeat_s = NEVER
        self._commit_unheard_since_s = NEVER
        self._first_index_of_reign = 0
        self._confirmed_cache: float | None = None
        self._counted_since_s = now
        """As leader, since when the present members have counted."""
        self._matches_cache: Mapping[str, int] | None = None
        self._transfer: Handover | None = None
        self._elected_by_transfer = False
        self._incoming: Incoming | None = None
        self._last_answer: AppendEntriesResponse | None = None
        self._pending = Due()
        self._election_due_s = self._draw(timing.heartbeat_timeout_s)

    # What can be seen from outside

    @property
    def configuration(self) -> Configuration:
        return self._memberships.current

    @property
    def configuration_index(self) -> int:
        return self._memberships.index

    @property
    def match_indexes(self) -> Mapping[str, int]:
        """As leader, how far each follower's log is known to match."""
        if self._matches_cache is None:
            self._matches_cache = {name: progress.match_index for name, progress in self._progress.items()}
        return self._matches_cache

    @property
    def transfer_target(self) -> str | None:
        """The server to which leadership is being handed over; None when there is no transfer."""
        return self._transfer.target if self._transfer else None

    @property
    def lease_until_s(self) -> float:
        """Until when this node is leader; an answer given later must not claim that it leads. -inf when it does not.

        A change of members never ends the lease in the past. This node may not have heard from the new members, but up
        to the change the lease held with the old ones."""
        if self.role is not Role.LEADER:
            return LONG_AGO
        confirmed_s = self._confirmed_cache
        if confirmed_s is None:
            confirmed_s = self._confirmed_s()
        return max(confirmed_s + self.timing.leader_lease_timeout_s, self._counted_since_s)

    def _confirmed_s(self) -> float:
        """Until when a majority is known to have followed us: the time at which we sent what that majority answered."""
        if self._confirmed_cache is None:
            answered = {name: progress.answered_sent_at_s for name, progress in self._progress.items()}
            answered[self.id] = NEVER
            self._confirmed_cache = quorum.reached_by_majority(answered, self._memberships.voters, LONG_AGO)
        return self._confirmed_cache

    # The log

    def _append(self, kind: EntryKind, data: bytes) -> LogPosition:
        entry = Entry(self.log.last_index + 1, self.current_term, kind, data)
        self._store_entry(entry)
        return LogPosition(entry.index, entry.term)

    def _store_entry(self, entry: Entry) -> None:
        self.log.append(entry)
        self._pending.mark_unsaved(entry.index)
        if self._memberships.note(entry):
            self._on_membership()

    def _truncate_from(self, index: int) -> None:
        assert index > self.commit_index, f"entry {index} is committed (up to {self.commit_index}) and stays"
        self.log.truncate_from(index)
        self._pending.mark_unsaved(index)
        if self._memberships.truncate_from(index):
            self._on_membership()

    def _on_membership(self) -> None:
        if self.role is Role.LEADER:
            self._track_members()
        self._pending.transitions.append(self.membership())

    def membership(self) -> MembershipChanged:
        """The configuration that is in force now, as the trace tells of it."""
        return MembershipChanged(
            at_s=self._now,
            term=self.current_term,
            index=self.configuration_index,
            voters=self._memberships.voters,
            others=self.configuration.others,
        )

    def _commit_to(self, index: int) -> None:
        if index <= self.commit_index:
            return
        assert index <= self.log.last_index, f"commit index {index} beyond the last entry {self.log.last_index}"
        self.commit_index = index
        self._pending.transitions.append(
            Committed(at_s=self._now, term=self.current_term, commit_index=index, entry_term=self.log.term_at(index))
        )

    def _track_members(self) -> None:
        """As leader, keep a Progress for each other member, and for one being removed until its removal is committed.
        It should learn that it is no longer a member, and it is a member again if the change is never committed."""
        next_index = self.log.last_index + 1
        members = self._memberships.names_since(self.commit_index)
        others = [name for name in members if name != self.id]
        self._progress = {name: self._progress.get(name) or Progress(next_index) for name in others}
        self._confirmed_cache = self._matches_cache = None
        self._counted_since_s = self._now

    # Small things

    def _advance_clock(self, now: float) -> None:
        if now > self._now:
            self._now = now

    def _draw(self, timeout_s: float) -> float:
        """A time once to twice the timeout from now, drawn at random so that split votes are rare (§5.2)."""
        return self._now + timeout_s * self._rng.uniform(1, 2)

    def _send(self, message: AnyMessage) -> None:
        self._pending.messages.append(message)


def memberships_of(log: Log, snapshot: Snapshot | None) -> Memberships:
    """The configurations in a log and in the snapshot before it."""
    if snapshot is None:
        return Memberships(entries=log.between(log.first_index, log.last_index))
    meta = snapshot.meta
    return Memberships(
        (meta.configuration_index, meta.configuration), log.between(max(meta.index, log.base_index) + 1, log.last_index)
    )
