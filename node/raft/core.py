"""`Raft`: one server's consensus state, stepped by its owner. The package's docstring states the rules it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from node.raft.effects import NOTHING, Due, Effects, LogPosition
from node.raft.errors import (
    MembershipChangeError,
    NotLeaderError,
    ProtocolViolationError,
    TransferError,
    TransferInProgressError,
)
from node.raft.following import Following
from node.raft.leading import Leading
from node.raft.membership import Configuration, Member, Suffrage
from node.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendEntriesResponse,
    EntryKind,
    InstallSnapshot,
    InstallSnapshotResponse,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from node.raft.snapshot import Snapshot, SnapshotMeta
from node.raft.state import NEVER, Handover, PendingRead
from node.raft.transitions import (
    Role,
    SnapshotTaken,
)


class Raft(Following, Leading):
    """One server. Its errors are in `node.raft.errors`, and each of them leaves the server unchanged.

    With a `snapshot`, `log` may still hold entries that the snapshot stands for. The owner has restored its state
    machine from the snapshot, so the next entry handed out to be applied is the first one after it.

    A server whose `hard_state` is not the initial one has run before, and may have promised a leader or a candidate not
    to vote. It keeps that promise by counting its start as contact.
    """

    __slots__ = ()

    @property
    def deadline(self) -> float:
        """When `tick` is next due and the effects should be taken."""
        if self.last_applied < self.commit_index:
            return self._now
        if self.role is Role.LEADER:
            return min(
                self._next_heartbeat_s,
                self.lease_until_s,
                self._commit_unheard_since_s + self.timing.commit_timeout_s,
                self._transfer.deadline_s if self._transfer else NEVER,
            )
        if not self._may_campaign():
            return NEVER
        return min(self._election_due_s, self._next_heartbeat_s)

    # What the core is told

    def receive(self, message: AnyMessage, now: float) -> None:
        """A message arrived. Raises ProtocolViolationError for one that no correct peer sends."""
        self._advance_clock(now)
        self._check_protocol(message)
        if message.term > self.current_term and self._settles_term(message):
            self._become_follower(message.term, by=message.sender)
        HANDLERS[type(message)](self, message)

    def tick(self, now: float) -> None:
        """The time is now `now`: do what `deadline` announced."""
        self._advance_clock(now)
        if self.role is Role.LEADER:
            self._tick_leader()
        elif self._may_campaign():
            self._tick_election()

    def propose(self, data: bytes, now: float) -> LogPosition:
        """Append a command.

        It is decided once an entry at this index is committed, and that entry is ours if it has this term. Raises
        NotLeaderError and TransferInProgressError.
        """
        self._require_leadership(now)
        if self._transfer is not None:
            raise TransferInProgressError(self._transfer.target)
        return self._append(EntryKind.COMMAND, data)

    def read(self, now: float) -> int:
        """Ask for a linearizable read; its ticket comes back in `Effects.reads` (ReadIndex, thesis 6.4).

        A read rests on a round of messages and on no clock. So a leader that wakes with its lease over accepts it too,
        and answers it only if a majority still follows. Raises NotLeaderError if the role is not even leader.
        """
        self._require_role(now)
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        self._reads.append(PendingRead(ticket, now, self._read_index()))
        self._request_heartbeats()
        self._answer_reads()
        return ticket

    def lease_read(self, now: float) -> int:
        """The index that must be applied before a read may be answered on the strength of the lease (thesis 6.4.1).

        The answer must be given before `lease_until_s`, so the owner looks at the clock once more before it answers.
        """
        self._require_leadership(now)
        return self._read_index()

    def join(self, server_id: str, address: str, now: float) -> bool:
        """Add a server, or give it a new address; True once it is a voter at that address and the change is committed.

        Call again until it is True: the server is staged first, and one change is made at a time. Raises
        NotLeaderError, and MembershipChangeError for an address that another server has.
        """
        self._require_leadership(now)
        known = self.configuration.get(server_id)
        if known is not None and known.address == address:
            return known.suffrage is Suffrage.VOTER and self.commit_index >= self.configuration_index
        owner = self.configuration.owner_of(address)
        if owner is not None and owner.id != server_id:
            raise MembershipChangeError(f"the address {address} belongs to {owner.id}; give {server_id} its own")
        if self._may_change_membership():
            suffrage = known.suffrage if known else Suffrage.STAGING
            self._change_membership(self.configuration.with_server(Member(server_id, address, suffrage)))
        return False

    def leave(self, server_id: str, now: float) -> LogPosition | None:
        """Remove a server; done when the entry at the position returned is committed.

        None means that another change is under way: ask again. A leader may remove itself; it leads until its removal
        is committed, and then hands over (thesis 4.2.2). Raises NotLeaderError, and MembershipChangeError for a server
        that is not a member and for the last voter.
        """
        self._require_leadership(now)
        if self.configuration.get(server_id) is None:
            raise MembershipChangeError(f"{server_id} is no member; there are {', '.join(self.configuration.names)}")
        remaining = self.configuration.without_server(server_id)
        if not remaining.voters:
            raise MembershipChangeError(f"{server_id} is the last voter; a cluster cannot be left without one")
        if not self._may_change_membership():
            return None
        return self._change_membership(remaining)

    def transfer_leadership(self, to: str | None, now: float) -> str:
        """Begin to hand leadership to a voter, by default the one whose log matches furthest; returns the voter's name.

        The transfer is done when this node no longer leads. It has failed when `transfer_target` is None and this node
        still leads. Raises NotLeaderError, TransferInProgressError and TransferError.
        """
        self._require_leadership(now)
        if self._transfer is not None:
            raise TransferInProgressError(self._transfer.target)
        target = self._furthest_voter() if to is None else to
        if target is None or target == self.id:
            raise TransferError(f"{self.id} leads already" if to else "there is no other voter to hand leadership to")
        if target not in self._memberships.voters:
            raise TransferError(f"{target} is no voter; there are {', '.join(self._memberships.voters)}")
        self._transfer = Handover(target, self._now, self._now + self.timing.election_timeout_s)
        self._request_heartbeats()
        return target

    def nudge(self, peer: str, now: float) -> None:
        """A hint, not a proof, that the connection to `peer` broke or came back: say something to the peer at once.

        A leader sends a heartbeat in place of what was in flight and may be lost. A follower repeats its last answer to
        its leader. Both are needed: when a partition heals link by link, the first heartbeat gets through before the
        way back is open.
        """
        self._advance_clock(now)
        progress = self._progress.get(peer)
        if progress is not None:
            progress.send_again(self.log.first_index, self._now)
            progress.heartbeat_due = True
        elif peer == self.leader and self._last_answer is not None:
            self._send(self._last_answer)

    def describe_snapshot(self) -> SnapshotMeta:
        """What a snapshot of everything handed out to be applied stands for."""
        index = self.last_applied
        configuration_index, configuration = self._memberships.at(index)
        return SnapshotMeta(index, self.log.term_at(index), configuration, configuration_index)

    def compact(self, snapshot: Snapshot, *, first_kept: int) -> None:
        """The owner has made `snapshot` durable: forget the entries before `first_kept`, as far as it stands for them.

        A snapshot older than the one held is ignored. One of the same index replaces it, since it may have the same
        bytes in a file instead of in memory.
        """
        held = self.snapshot.meta.index if self.snapshot else 0
        if snapshot.meta.index < held:
            return
        assert snapshot.meta.index <= self.last_applied, "a snapshot of what was never applied"
        self.snapshot = snapshot
        self.log.compact_to(min(first_kept - 1, snapshot.meta.index))
        self._memberships.compact_to(snapshot.meta.index)
        if snapshot.meta.index == held:
            return
        self._pending.transitions.append(
            SnapshotTaken(at_s=self._now, term=self.current_term, index=snapshot.meta.index)
        )

    def abandon_join(self, server_id: str, now: float) -> None:
        """Remove a server that is still staged; does nothing when it is not, or when another change is under way.

        Otherwise a server that never answers would be sent the log for ever.
        """
        self._require_leadership(now)
        server = self.configuration.get(server_id)
        if server is not None and server.suffrage is Suffrage.STAGING and self._may_change_membership():
            self._change_membership(self.configuration.without_server(server_id))

    def bootstrap(self, configuration: Configuration, now: float) -> None:
        """Found a cluster: this configuration becomes entry 1 of term 1, and this node stands for election at once.

        Bootstrapping a node that has a history is the caller's mistake, and fails an assertion.
        """
        assert (self.log.last_index, self.current_term) == (0, 0), "only a node without a history can found a cluster"
        assert self.id in configuration.voters
        self._advance_clock(now)
        self._set_term(1)
        self._append(EntryKind.CONFIGURATION, configuration.encode())
        self.campaign(now)

    def campaign(self, now: float) -> None:
        """Stand for election now instead of at the timeout, if this node may stand at all."""
        self._advance_clock(now)
        if self.role is not Role.LEADER and self._may_campaign():
            self._become_pre_candidate()

    def take_effects(self) -> Effects:
        """Everything that follows from what the core was told since the last call; the caller now owes it rule 1."""
        led = self.role is Role.LEADER
        if led:
            self._look_after_members()
            self._hand_over()
        leads = self.role is Role.LEADER
        if leads:
            self._replicate()
        pending = self._pending
        if pending.quiet and self.last_applied == self.commit_index:
            if not pending.messages:
                return NOTHING
            self._pending = Due()
            return Effects(messages=tuple(pending.messages))
        self._pending = Due()
        first = pending.first_unsaved
        last = self.commit_index
        if leads or not led:
            # A leader that has just handed over hands out everything, so that its clients are still told what is done.
            last = min(last, self.last_applied + self.limits.entries_applied_at_once)
        committed = self.log.between(self.last_applied + 1, last)
        self.last_applied = last
        return Effects(
            hard_state=self._hard_state() if pending.hard_state else None,
            snapshot=pending.snapshot,
            entries=() if first is None else self.log.between(first, self.log.last_index),
            messages=tuple(pending.messages),
            committed=committed,
            reads=tuple(pending.reads),
            transitions=tuple(pending.transitions),
            news=True,
        )

    # Guards

    def _check_protocol(self, message: AnyMessage) -> None:
        """Refuse what would break our own invariants before it touches anything."""
        if message.recipient != self.id or message.sender == self.id:
            raise ProtocolViolationError(f"{message.sender} sent {self.id} a message for {message.recipient}")
        if message.term < self.current_term:
            return
        if isinstance(message, AppendEntriesResponse):
            self._check_answer(message)
            return
        if not isinstance(message, FROM_LEADERS):
            return
        if message.term == self.current_term and self.leader not in (None, message.sender):
            raise ProtocolViolationError(f"{message.sender} and {self.leader} both lead term {self.current_term}")
        if isinstance(message, InstallSnapshot):
            self._check_configuration(message.configuration, message.last_index)
            return
        for entry in message.entries:
            if entry.index <= self.commit_index and not self.log.has(entry.index, entry.term):
                raise ProtocolViolationError(f"{message.sender} would replace committed entry {entry.index}")
            if entry.kind is EntryKind.CONFIGURATION:
                self._check_configuration(entry.data, entry.index)

    def _check_answer(self, response: AppendEntriesResponse) -> None:
        """An answer is about our own log, and a leader's log only grows (Leader Append-Only, §5.3)."""
        beyond = self.role is Role.LEADER and response.match_index > self.log.last_index
        if response.term == self.current_term and (beyond or not (response.success or response.conflict_index)):
            raise ProtocolViolationError(f"{response.sender} answers what it was never sent")

    def _check_configuration(self, data: bytes, index: int) -> None:
        try:
            configuration = Configuration.decode(data)
        except msgspec.MsgspecError as error:
            raise ProtocolViolationError(f"no configuration up to {index}: {error}") from error
        known = self.configuration.cluster_id
        if known and configuration.cluster_id != known:
            raise ProtocolViolationError(f"what stands at {index} belongs to cluster {configuration.cluster_id}")

    def _require_leadership(self, now: float) -> None:
        self._require_role(now)
        if not self._lease_holds():
            raise NotLeaderError(None)

    def _require_role(self, now: float) -> None:
        self._advance_clock(now)
        if self.role is not Role.LEADER:
            raise NotLeaderError(self.leader)


FROM_LEADERS = (AppendEntries, InstallSnapshot)
HANDLERS: dict[type, Callable[[Raft, Any], None]] = {
    PreVote: Raft._on_pre_vote,
    PreVoteResponse: Raft._on_pre_vote_response,
    RequestVote: Raft._on_request_vote,
    RequestVoteResponse: Raft._on_request_vote_response,
    AppendEntries: Raft._on_append_entries,
    AppendEntriesResponse: Raft._on_append_entries_response,
    InstallSnapshot: Raft._on_install_snapshot,
    InstallSnapshotResponse: Raft._on_install_snapshot_response,
    TimeoutNow: Raft._on_timeout_now,
}
