"""`Raft`: one server's consensus state, stepped by its owner. The package's essay states the rules it keeps."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from node.raft import quorum
from node.raft.effects import Effects, LogPosition, Pending, ReadReady
from node.raft.errors import (
    MembershipChangeError,
    NotLeaderError,
    ProtocolViolationError,
    TransferError,
    TransferInProgressError,
)
from node.raft.log import Log
from node.raft.membership import Configuration, Memberships, Server, Suffrage
from node.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    HardState,
    InstallSnapshot,
    InstallSnapshotResponse,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from node.raft.progress import LONG_AGO, Progress, Sending
from node.raft.settings import FlowLimits, Timing
from node.raft.snapshot import Incoming, Snapshot, SnapshotMeta
from node.raft.transitions import (
    Committed,
    LeadershipTransferred,
    MembershipChanged,
    Role,
    RoleChanged,
    SnapshotInstalled,
    SnapshotTaken,
    TermChanged,
    Voted,
)

NEVER = math.inf


@dataclass(slots=True)
class _PendingRead:
    ticket: int
    asked_at_s: float
    index: int


@dataclass(frozen=True)
class _Transfer:
    target: str
    asked_at_s: float
    deadline_s: float


class Raft:
    """One server. What it raises is in `node.raft.errors`, and leaves it unchanged.

    With a `snapshot`, `log` may still hold entries that the snapshot stands for; the owner has restored its state
    machine from it, so that the next entry handed out to be applied is the one behind.

    A server whose `hard_state` is not the first one has lived before, and may have promised a leader or a candidate not
    to vote; it keeps that promise by counting its start as contact.
    """

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
        self._term = hard_state.current_term
        self._voted_for = hard_state.voted_for
        self._snapshot = snapshot
        self._memberships = _memberships_of(log, snapshot)
        self._role = Role.FOLLOWER
        self._leader: str | None = None
        self._commit_index = self._last_applied = snapshot.meta.index if snapshot else 0
        self._last_contact_s = now if hard_state.current_term else LONG_AGO
        self._votes: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}
        self._reads: list[_PendingRead] = []
        self._next_ticket = 1
        self._next_heartbeat_s = NEVER
        self._commit_unheard_since_s = NEVER
        self._first_index_of_reign = 0
        self._confirmed_cache: float | None = None
        self._transfer: _Transfer | None = None
        self._elected_by_transfer = False
        self._incoming: Incoming | None = None
        self._pending = Pending()
        self._election_due_s = self._draw(timing.heartbeat_timeout_s)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            PreVote: self._on_pre_vote,
            PreVoteResponse: self._on_pre_vote_response,
            RequestVote: self._on_request_vote,
            RequestVoteResponse: self._on_request_vote_response,
            AppendEntries: self._on_append_entries,
            AppendEntriesResponse: self._on_append_entries_response,
            InstallSnapshot: self._on_install_snapshot,
            InstallSnapshotResponse: self._on_install_snapshot_response,
            TimeoutNow: self._on_timeout_now,
        }

    # What can be seen from outside

    @property
    def role(self) -> Role:
        return self._role

    @property
    def current_term(self) -> int:
        return self._term

    @property
    def voted_for(self) -> str | None:
        return self._voted_for

    @property
    def leader(self) -> str | None:
        """Whom this node takes for the leader of its term."""
        return self._leader

    @property
    def commit_index(self) -> int:
        return self._commit_index

    @property
    def last_applied(self) -> int:
        """The last index handed out to be applied."""
        return self._last_applied

    @property
    def configuration(self) -> Configuration:
        return self._memberships.current

    @property
    def configuration_index(self) -> int:
        return self._memberships.index

    @property
    def match_indexes(self) -> dict[str, int]:
        """As leader, how far each follower's log is known to match."""
        return {name: progress.match_index for name, progress in self._progress.items()}

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest one: what a follower is sent that needs entries which the log has no more."""
        return self._snapshot

    @property
    def transfer_target(self) -> str | None:
        """To whom leadership is being handed over; None when it is not."""
        return self._transfer.target if self._transfer else None

    @property
    def lease_until_s(self) -> float:
        """Up to when this node is leader; an answer given later must not claim it. -inf when it does not lead."""
        if self._role is not Role.LEADER:
            return LONG_AGO
        return self._confirmed_s() + self.timing.leader_lease_timeout_s

    @property
    def deadline(self) -> float:
        """When `tick` is next due."""
        if self._role is Role.LEADER:
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
        if message.term > self._term and self._settles_term(message):
            self._become_follower(message.term)
        self._handlers[type(message)](message)

    def tick(self, now: float) -> None:
        """Time has come to `now`; does whatever `deadline` announced."""
        self._advance_clock(now)
        if self._role is Role.LEADER:
            self._tick_leader()
        elif self._may_campaign():
            self._tick_election()

    def propose(self, data: bytes, now: float) -> LogPosition:
        """Append a command; it is decided when an entry of this index is committed, ours if the term is this one.

        Raises NotLeaderError and TransferInProgressError.
        """
        self._require_leadership(now)
        if self._transfer is not None:
            raise TransferInProgressError(self._transfer.target)
        return self._append(EntryKind.COMMAND, data)

    def read(self, now: float) -> int:
        """Ask for a linearizable read; its ticket comes back in `Effects.reads` (ReadIndex, thesis 6.4)."""
        self._require_leadership(now)
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        self._reads.append(_PendingRead(ticket, now, self._read_index()))
        self._request_heartbeats()
        self._answer_reads()
        return ticket

    def lease_read(self, now: float) -> int:
        """The index that must be applied before a read may be answered on the strength of the lease (thesis 6.4.1).

        The answer must be given before `lease_until_s` has come, so whoever gives it looks at the clock once more.
        """
        self._require_leadership(now)
        return self._read_index()

    def join(self, server_id: str, address: str, now: float) -> bool:
        """Bring a server in, or give it a new address; True once it is a voter there and that is committed.

        Call again until it is True: the server is staged first, and one change is made at a time. Raises
        NotLeaderError, and MembershipChangeError for an address that another server has.
        """
        self._require_leadership(now)
        known = self.configuration.get(server_id)
        if known is not None and known.address == address:
            return known.suffrage is Suffrage.VOTER and self._commit_index >= self.configuration_index
        owner = self.configuration.owner_of(address)
        if owner is not None and owner.id != server_id:
            raise MembershipChangeError(f"the address {address} belongs to {owner.id}; give {server_id} its own")
        if self._may_change_membership():
            suffrage = known.suffrage if known else Suffrage.STAGING
            self._change_membership(self.configuration.with_server(Server(server_id, address, suffrage)))
        return False

    def leave(self, server_id: str, now: float) -> LogPosition | None:
        """Let a server go; done when an entry is committed at the position returned. None: ask again, a change is
        under way.

        A leader may let itself go; it leads on until that is committed, and hands over (thesis 4.2.2). Raises
        NotLeaderError, and MembershipChangeError for a server that is no member and for the last voter.
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
        """Begin to hand leadership to a voter, by default the one whose log is furthest; returns who it is.

        It has happened when this node leads no more, and has failed when `transfer_target` is None while it still
        does. Raises NotLeaderError, TransferInProgressError and TransferError.
        """
        self._require_leadership(now)
        if self._transfer is not None:
            raise TransferInProgressError(self._transfer.target)
        target = self._furthest_voter() if to is None else to
        if target is None or target == self.id:
            raise TransferError(f"{self.id} leads already" if to else "there is no other voter to hand leadership to")
        if target not in self._memberships.voters:
            raise TransferError(f"{target} is no voter; there are {', '.join(self._memberships.voters)}")
        self._transfer = _Transfer(target, self._now, self._now + self.timing.election_timeout_s)
        self._request_heartbeats()
        return target

    def nudge(self, peer: str, now: float) -> None:
        """As leader, say something to `peer` at once: its connection broke or came back, which is a hint, no proof."""
        self._advance_clock(now)
        if peer in self._progress:
            self._progress[peer].heartbeat_due = True

    def describe_snapshot(self) -> SnapshotMeta:
        """What a snapshot of everything that was handed out to be applied stands for."""
        index = self._last_applied
        configuration_index, configuration = self._memberships.at(index)
        return SnapshotMeta(index, self.log.term_at(index), configuration, configuration_index)

    def compact(self, snapshot: Snapshot, *, first_kept: int) -> None:
        """The owner has made `snapshot` durable: forget the entries before `first_kept`, as far as it stands for them.

        One older than the snapshot held is ignored.
        """
        if self._snapshot is not None and snapshot.meta.index <= self._snapshot.meta.index:
            return
        assert snapshot.meta.index <= self._last_applied, "a snapshot of what was never applied"
        self._snapshot = snapshot
        self.log.compact_to(min(first_kept - 1, snapshot.meta.index))
        self._memberships.compact_to(snapshot.meta.index)
        self._pending.transitions.append(SnapshotTaken(at_s=self._now, term=self._term, index=snapshot.meta.index))

    def abandon_join(self, server_id: str, now: float) -> None:
        """Let go of a server that is still staged; does nothing when it is not, or when another change is under way.

        A joiner that never answers would otherwise be sent the log for ever.
        """
        self._require_leadership(now)
        server = self.configuration.get(server_id)
        if server is not None and server.suffrage is Suffrage.STAGING and self._may_change_membership():
            self._change_membership(self.configuration.without_server(server_id))

    def bootstrap(self, configuration: Configuration, now: float) -> None:
        """Found a cluster: this configuration becomes entry 1 of term 1, and this node stands for election at once.

        On a node that has lived before it is a mistake of the caller's, and asserted.
        """
        assert (self.log.last_index, self._term) == (0, 0), "only a node without a history can found a cluster"
        assert self.id in configuration.voters
        self._advance_clock(now)
        self._set_term(1)
        self._append(EntryKind.CONFIGURATION, configuration.encode())
        self.campaign(now)

    def campaign(self, now: float) -> None:
        """Stand for election now instead of at the timeout, if this node may at all."""
        self._advance_clock(now)
        if self._role is not Role.LEADER and self._may_campaign():
            self._become_pre_candidate()

    def take_effects(self) -> Effects:
        """Everything that follows from what was told since the last call; the caller now owes rule 1."""
        if self._role is Role.LEADER:
            self._promote_who_caught_up()
            self._hand_over()
        if self._role is Role.LEADER:
            self._replicate()
        pending, self._pending = self._pending, Pending()
        first = pending.first_unsaved
        committed = self.log.between(self._last_applied + 1, self._commit_index)
        self._last_applied = self._commit_index
        return Effects(
            hard_state=self._hard_state() if pending.hard_state else None,
            snapshot=pending.snapshot,
            entries=() if first is None else self.log.between(first, self.log.last_index),
            messages=tuple(pending.messages),
            committed=committed,
            reads=tuple(pending.reads),
            transitions=tuple(pending.transitions),
        )

    # Safety rules: each can be named, cited and broken on its own

    def _may_grant_vote(self, request: RequestVote) -> bool:
        """One vote per term, and only to a candidate whose log has everything that may be committed (§5.2, §5.4.1)."""
        return (
            request.term == self._term
            and self._voted_for in (None, request.sender)
            and self._log_is_up_to_date(request.last_log_index, request.last_log_term)
        )

    def _log_is_up_to_date(self, last_index: int, last_term: int) -> bool:
        """§5.4.1: the later last term wins; with the same last term, the longer log."""
        return (last_term, last_index) >= (self.log.last_term, self.log.last_index)

    def _log_matches(self, request: AppendEntries) -> bool:
        """§5.3, the consistency check: refuse entries that do not follow one we share."""
        return self.log.has(request.prev_log_index, request.prev_log_term)

    def _conflicts(self, entry: Entry) -> bool:
        """Figure 2, AppendEntries step 3: only an entry of another term is replaced. One that agrees stays, with all
        that follows it, for the message may be old and what follows acknowledged."""
        return not self.log.has(entry.index, entry.term)

    def _proven_commit(self, request: AppendEntries) -> int:
        """Figure 2, AppendEntries step 5: no further than this message proves our log to be the leader's. What stands
        behind may be our own tail, which nobody else has."""
        return min(request.leader_commit, request.last_index)

    def _proven_match(self, request: AppendEntries) -> int:
        """What a success may vouch for: what the message speaks of, never our own last index, for the same reason."""
        return request.last_index

    def _may_commit(self, index: int) -> bool:
        """§5.4.2: only an entry of the current term is committed by counting. An older one on a majority can still be
        overwritten (Figure 8); it is committed by what follows it."""
        return index > self._commit_index and self.log.term_at(index) == self._term

    def _is_elected(self) -> bool:
        """§5.2: by a majority of the voters; votes are names, so none counts twice."""
        return quorum.has_majority(self._votes, self._memberships.voters)

    def _hard_state(self) -> HardState:
        """Figure 2, persistent state: forgetting the vote is voting twice in one term."""
        return HardState(self._term, self._voted_for)

    def _lease_base_s(self, sent_at_s: float) -> float:
        """The lease begins when what was answered was *sent*: the voter's refusal began no earlier than that."""
        return sent_at_s

    def _lease_holds(self) -> bool:
        """A leader whose lease is over leads no more: another may have been elected meanwhile (thesis 6.2)."""
        return self._now < self.lease_until_s

    def _read_index(self) -> int:
        """What must be applied before a read: before an entry of its own term is committed a leader may not know the
        latest commit, and its no-op's index is then what the read waits for (thesis 6.4, step 1)."""
        return max(self._commit_index, self._first_index_of_reign)

    def _is_confirmed(self, read: _PendingRead) -> bool:
        """Thesis 6.4, step 3: a majority answered something that was sent after the read was asked for, so no other
        had been elected by then."""
        return read.asked_at_s <= self._confirmed_s()

    def _may_install(self, chunk: InstallSnapshot) -> bool:
        """Figure 13: a snapshot replaces only what it is ahead of; an old one would take committed entries away."""
        return chunk.last_index > self._commit_index

    def _leader_may_live(self) -> bool:
        """Thesis 4.2.3: within the heartbeat timeout of hearing from a leader, or of a vote given, refuse all others.

        A vote counts as contact because the lease of whoever wins with it starts when the vote was asked for.
        """
        if self._role is Role.LEADER:
            return self._lease_holds()
        return self._now < self._last_contact_s + self.timing.heartbeat_timeout_s

    def _settles_term(self, message: AnyMessage) -> bool:
        """§5.1: a higher term is adopted. Not from a pre-vote, whose term nobody has entered, and not from a candidate
        while a leader may live: a removed or partitioned server must not depose it (thesis 4.2.3, 9.6). The leader
        that told a candidate to stand has stepped down before it did, and no later term has begun, so none lives."""
        if isinstance(message, RequestVote):
            return message.leadership_transfer or not self._leader_may_live()
        return not isinstance(message, PreVote)

    def _may_change_membership(self) -> bool:
        """One change at a time (thesis 4.1), and none before an entry of this term is committed (raft-dev, 2015):
        otherwise two leaders' concurrent changes can have majorities without a common member."""
        decided = self._commit_index >= max(self.configuration_index, self._first_index_of_reign)
        return decided and self._transfer is None

    def _may_campaign(self) -> bool:
        """Only a voter stands for election; whoever knows no configuration waits to be told one.

        One that is no voter in its latest configuration stands as long as it may be needed to commit that (thesis
        4.2.2): it may be the only server with the entry that removes it, and the others then cannot win without it.
        """
        return self.id in self._memberships.voters or self._memberships.may_vote(self.id, self._commit_index)

    # Roles

    def _become_follower(self, term: int, *, leader: str | None = None, at_s: float | None = None) -> None:
        if term > self._term:
            self._set_term(term)
            self._incoming = None
        elif self._role is Role.FOLLOWER and self._leader == leader:
            return
        was_leader = self._role is Role.LEADER
        self._leader = leader
        self._votes = {}
        self._progress = {}
        self._confirmed_cache = None
        self._transfer = None
        self._next_heartbeat_s = NEVER
        self._commit_unheard_since_s = NEVER
        if self._role is not Role.FOLLOWER:
            self._set_role(Role.FOLLOWER, at_s)
            self._election_due_s = self._draw(self.timing.heartbeat_timeout_s)
        if was_leader:
            self._pending.reads += [ReadReady(read.ticket, None) for read in self._reads]
            self._reads = []

    def _become_pre_candidate(self) -> None:
        self._start_election(Role.PRE_CANDIDATE)

    def _become_candidate(self, *, by_transfer: bool = False) -> None:
        self._elected_by_transfer = by_transfer
        self._set_term(self._term + 1)
        self._vote_for(self.id)
        self._start_election(Role.CANDIDATE)

    def _start_election(self, role: Role) -> None:
        self._leader = None
        self._set_role(role)
        self._election_due_s = self._draw(self.timing.election_timeout_s)
        self._votes = {self.id: NEVER}
        self._ask_for_votes()
        self._count_votes()

    def _become_leader(self) -> None:
        self._set_role(Role.LEADER)
        self._leader = self.id
        self._progress = {}
        self._track_members()
        for voter, sent_at_s in self._votes.items():
            if voter in self._progress:
                self._progress[voter].answered_sent_at_s = self._lease_base_s(sent_at_s)
        self._next_heartbeat_s = self._now + self.timing.heartbeat_interval_s
        self._first_index_of_reign = self._append(EntryKind.NOOP, b"").index

    def _set_role(self, role: Role, at_s: float | None = None) -> None:
        if role is not self._role:
            self._role = role
            at_s = self._now if at_s is None else at_s
            self._pending.transitions.append(RoleChanged(at_s=at_s, term=self._term, role=role))

    def _set_term(self, term: int) -> None:
        assert term > self._term, f"the term goes from {self._term} to {term}: terms never go back"
        self._term, self._voted_for = term, None
        self._pending.hard_state = True
        self._pending.transitions.append(TermChanged(at_s=self._now, term=term))

    def _vote_for(self, candidate: str) -> None:
        if self._voted_for is None:
            self._voted_for = candidate
            self._pending.hard_state = True
            self._pending.transitions.append(Voted(at_s=self._now, term=self._term, candidate=candidate))
        assert self._voted_for == candidate
        self._last_contact_s = self._now

    # Elections (§5.2, thesis 9.6)

    def _tick_election(self) -> None:
        if self._now >= self._election_due_s:
            self._become_pre_candidate()
        elif self._now >= self._next_heartbeat_s:
            self._ask_for_votes()

    def _ask_for_votes(self) -> None:
        """Ask every voter that has not answered yet, again each heartbeat interval (§5.1: requests are retried)."""
        self._next_heartbeat_s = self._now + self.timing.heartbeat_interval_s
        ask = self._pre_vote_to if self._role is Role.PRE_CANDIDATE else self._request_vote_to
        for voter in self._memberships.voters:
            if voter not in self._votes:
                self._send(ask(voter))

    def _pre_vote_to(self, voter: str) -> PreVote:
        return PreVote(
            sender=self.id,
            recipient=voter,
            term=self._term,
            next_term=self._term + 1,
            last_log_index=self.log.last_index,
            last_log_term=self.log.last_term,
        )

    def _request_vote_to(self, voter: str) -> RequestVote:
        return RequestVote(
            sender=self.id,
            recipient=voter,
            term=self._term,
            last_log_index=self.log.last_index,
            last_log_term=self.log.last_term,
            leadership_transfer=self._elected_by_transfer,
            sent_at_s=self._now,
        )

    def _count_votes(self) -> None:
        if self._is_elected():
            if self._role is Role.PRE_CANDIDATE:
                self._become_candidate()
            else:
                self._become_leader()

    def _on_pre_vote(self, request: PreVote) -> None:
        granted = (
            request.next_term > self._term
            and not self._leader_may_live()
            and self._log_is_up_to_date(request.last_log_index, request.last_log_term)
        )
        self._send(
            PreVoteResponse(
                sender=self.id,
                recipient=request.sender,
                term=self._term,
                next_term=request.next_term,
                granted=granted,
            )
        )

    def _on_pre_vote_response(self, response: PreVoteResponse) -> None:
        if self._role is Role.PRE_CANDIDATE and response.granted and response.next_term == self._term + 1:
            self._votes[response.sender] = self._now
            self._count_votes()

    def _on_request_vote(self, request: RequestVote) -> None:
        granted = self._may_grant_vote(request)
        if granted:
            self._vote_for(request.sender)
            self._election_due_s = self._draw(self.timing.heartbeat_timeout_s)
        self._send(
            RequestVoteResponse(
                sender=self.id,
                recipient=request.sender,
                term=self._term,
                granted=granted,
                sent_at_s=request.sent_at_s,
            )
        )

    def _on_request_vote_response(self, response: RequestVoteResponse) -> None:
        if self._role is Role.CANDIDATE and response.granted and response.term == self._term:
            self._votes[response.sender] = response.sent_at_s
            self._count_votes()

    # Replication, as follower (§5.3)

    def _on_append_entries(self, request: AppendEntries) -> None:
        if not self._follow(request):
            self._answer_append(request, success=False)
            return
        if not self._log_matches(request):
            self._answer_append(request, success=False)
            return
        self._store(request.entries)
        self._commit_to(self._proven_commit(request))
        self._answer_append(request, success=True)

    def _follow(self, request: AppendEntries | InstallSnapshot) -> bool:
        """Whether this comes from the leader of our term, which is contact; one of an earlier term is told ours."""
        if request.term < self._term:
            return False
        self._become_follower(request.term, leader=request.sender)
        self._last_contact_s = self._now
        self._election_due_s = self._draw(self.timing.heartbeat_timeout_s)
        return True

    def _store(self, entries: Iterable[Entry]) -> None:
        """Keep what agrees, replace from the first conflict on (Figure 2, AppendEntries steps 3 and 4)."""
        for entry in entries:
            if not self._conflicts(entry):
                continue
            if entry.index <= self.log.last_index:
                self._truncate_from(entry.index)
            self._store_entry(entry)

    def _answer_append(self, request: AppendEntries, *, success: bool) -> None:
        self._send(
            AppendEntriesResponse(
                sender=self.id,
                recipient=request.sender,
                term=self._term,
                success=success,
                prev_log_index=request.prev_log_index,
                match_index=self._proven_match(request) if success else 0,
                conflict_index=0 if success else self._conflict_index(request.prev_log_index),
                sent_at_s=request.sent_at_s,
            )
        )

    def _conflict_index(self, prev_log_index: int) -> int:
        """Where the leader should try next: past our end, or before the whole conflicting term (§5.3)."""
        if prev_log_index > self.log.last_index:
            return self.log.last_index + 1
        return self.log.first_index_of_term_at(max(prev_log_index, self.log.base_index))

    # Snapshots, as follower (§7, Figure 13)

    def _on_install_snapshot(self, chunk: InstallSnapshot) -> None:
        if not self._follow(chunk):
            self._answer_install(chunk, 0)
        elif not self._may_install(chunk):
            self._answer_install(chunk, chunk.total)
        else:
            if self._incoming is None or not self._incoming.is_of(chunk):
                self._incoming = Incoming(chunk)
            self._incoming.take(chunk)
            received = self._incoming.received
            if self._incoming.complete:
                snapshot, self._incoming = self._incoming.finished(), None
                received = 0 if snapshot is None else received
                if snapshot is not None:
                    self._install(snapshot)
            self._answer_install(chunk, received)

    def _answer_install(self, chunk: InstallSnapshot, offset: int) -> None:
        self._send(
            InstallSnapshotResponse(
                sender=self.id,
                recipient=chunk.sender,
                term=self._term,
                last_index=chunk.last_index,
                offset=offset,
                sent_at_s=chunk.sent_at_s,
            )
        )

    def _install(self, snapshot: Snapshot) -> None:
        """Figure 13, steps 5 to 8: what follows the snapshot's last entry stays if that entry is ours too."""
        meta = snapshot.meta
        if meta.index <= self.log.last_index and self.log.has(meta.index, meta.term):
            self.log.compact_to(meta.index)
        else:
            self.log.reset(meta.index, meta.term)
        self._snapshot = self._pending.snapshot = snapshot
        self._pending.first_unsaved = self.log.first_index
        self._memberships = _memberships_of(self.log, snapshot)
        self._on_membership()
        self._last_applied = meta.index
        self._pending.transitions.append(SnapshotInstalled(at_s=self._now, term=self._term, index=meta.index))
        self._commit_to(meta.index)

    # Replication, as leader (§5.3)

    def _tick_leader(self) -> None:
        lease_until_s = self.lease_until_s
        if not self._lease_holds():
            self._become_follower(self._term, at_s=lease_until_s)
            return
        if self._transfer is not None and self._now >= self._transfer.deadline_s:
            self._transfer = None
        commit_is_news = self._now >= self._commit_unheard_since_s + self.timing.commit_timeout_s
        if self._now >= self._next_heartbeat_s or commit_is_news:
            self._request_heartbeats()

    def _request_heartbeats(self) -> None:
        self._next_heartbeat_s = self._now + self.timing.heartbeat_interval_s
        for progress in self._progress.values():
            progress.heartbeat_due = True

    def _replicate(self) -> None:
        """Send each follower what it lacks, in one message for all that was proposed since the last time."""
        for name, progress in self._progress.items():
            while self._owes(progress):
                self._send_append(name, progress)
        if all(progress.told_commit == self._commit_index for progress in self._progress.values()):
            self._commit_unheard_since_s = NEVER

    def _owes(self, progress: Progress) -> bool:
        if progress.heartbeat_due:
            return True
        if progress.sending is not None:
            return progress.sending.has_room(self.limits.snapshot_bytes_in_flight)
        if progress.probing:
            return not progress.awaiting_probe
        return progress.next_index <= self.log.last_index and self._has_room(progress)

    def _has_room(self, progress: Progress) -> bool:
        """Whether more entries may be under way: a follower that does not answer is not sent the whole log."""
        return progress.next_index - 1 - progress.match_index < self.limits.entries_in_flight

    def _send_append(self, name: str, progress: Progress) -> None:
        if progress.sending is not None or progress.next_index <= self.log.base_index:
            self._send_chunk(name, progress)
            return
        previous = progress.next_index - 1
        entries: tuple[Entry, ...] = ()
        if progress.probing or self._has_room(progress):
            entries = self.log.batch(
                progress.next_index,
                max_entries=1 if progress.probing else self.limits.entries_per_message,
                max_bytes=self.limits.bytes_per_message,
            )
        message = AppendEntries(
            sender=self.id,
            recipient=name,
            term=self._term,
            prev_log_index=previous,
            prev_log_term=self.log.term_at(previous),
            entries=entries,
            leader_commit=self._commit_index,
            sent_at_s=self._now,
        )
        self._send(message)
        progress.heartbeat_due = False
        progress.told_commit = self._commit_index
        if progress.probing:
            progress.awaiting_probe = True
        else:
            progress.next_index = message.last_index + 1

    def _send_chunk(self, name: str, progress: Progress) -> None:
        """The next chunk of the snapshot; when a heartbeat is due, again what was not answered."""
        if progress.sending is None:
            assert self._snapshot is not None, "entries are compacted only behind a snapshot"
            progress.sending = Sending(self._snapshot)
        sending = progress.sending
        if progress.heartbeat_due:
            sending.sent = sending.answered
        meta, data = sending.snapshot.meta, sending.snapshot.chunk(sending.sent, self.limits.snapshot_chunk_bytes)
        self._send(
            InstallSnapshot(
                sender=self.id,
                recipient=name,
                term=self._term,
                last_index=meta.index,
                last_term=meta.term,
                configuration=meta.configuration.encode(),
                configuration_index=meta.configuration_index,
                total=sending.total,
                checksum=sending.snapshot.checksum,
                offset=sending.sent,
                data=data,
                sent_at_s=self._now,
            )
        )
        sending.started = True
        sending.sent += len(data)
        progress.heartbeat_due = False
        # It cannot take in a newer commit before it has the snapshot; to owe it one would be a deadline long past, and
        # the owner would never sleep again.
        progress.told_commit = self._commit_index

    def _on_append_entries_response(self, response: AppendEntriesResponse) -> None:
        progress = self._answered(response)
        if progress is None:
            return
        if response.success:
            progress.matched_sent_at_s = max(progress.matched_sent_at_s, response.sent_at_s)
            self._take_match(progress, response.match_index)
        elif self._has_lost_its_log(progress, response):
            progress.match_index = 0
            progress.probe_from(response.conflict_index)
        elif response.prev_log_index > progress.match_index and progress.sending is None:
            # A refusal from before the last match is old news delivered late; backing up on it resends for nothing.
            progress.probe_from(max(progress.match_index + 1, min(response.conflict_index, response.prev_log_index)))
        self._answer_reads()

    def _on_install_snapshot_response(self, response: InstallSnapshotResponse) -> None:
        progress = self._answered(response)
        if progress is None:
            return
        sending = progress.sending
        if sending is not None and sending.snapshot.meta.index == response.last_index:
            news = progress.take_install(min(response.offset, sending.total))
            progress.matched_sent_at_s = max(progress.matched_sent_at_s, response.sent_at_s)
            if news:
                self._advance_commit()
        self._answer_reads()

    def _answered(self, response: AppendEntriesResponse | InstallSnapshotResponse) -> Progress | None:
        """Whose answer this is, if it is one to us as the leader that we are; it extends the lease."""
        if response.term < self._term or self._role is not Role.LEADER:
            return None
        progress = self._progress.get(response.sender)
        if progress is not None:
            since_s = self._lease_base_s(response.sent_at_s)
            if since_s > progress.answered_sent_at_s:
                progress.answered_sent_at_s = since_s
                self._confirmed_cache = None
        return progress

    def _has_lost_its_log(self, progress: Progress, response: AppendEntriesResponse) -> bool:
        """A follower that refuses what it had accepted, in answer to something sent later: its disk was wiped.

        Raft's argument does not cover it (Figure 2: the log is persistent), and its vote may do harm; but an operator
        who wipes one node of a healthy cluster expects it to be filled again, not to be refused for ever.
        """
        return response.prev_log_index <= progress.match_index and response.sent_at_s > progress.matched_sent_at_s

    def _take_match(self, progress: Progress, match_index: int) -> None:
        # A match found while a snapshot was on its way, by an answer that came late, does not end the snapshot.
        if progress.take_match(match_index) and match_index > self._commit_index:
            self._advance_commit()

    def _advance_commit(self) -> None:
        """Figure 2, the last rule for leaders."""
        matched = {**self.match_indexes, self.id: self.log.last_index}
        index = quorum.reached_by_majority(matched, self._memberships.voters, 0)
        if self._may_commit(index):
            self._commit_unheard_since_s = min(self._commit_unheard_since_s, self._now)
            self._commit_to(index)

    # Reads (thesis 6.4)

    def _confirmed_s(self) -> float:
        """Up to when a majority is known to have taken us for the leader: when what it answered was sent."""
        if self._confirmed_cache is None:
            answered = {name: progress.answered_sent_at_s for name, progress in self._progress.items()}
            answered[self.id] = NEVER
            self._confirmed_cache = quorum.reached_by_majority(answered, self._memberships.voters, LONG_AGO)
        return self._confirmed_cache

    def _answer_reads(self) -> None:
        while self._reads and self._is_confirmed(self._reads[0]):
            read = self._reads.pop(0)
            self._pending.reads.append(ReadReady(read.ticket, read.index))

    # Handing over (thesis 3.10, 4.2.2)

    def _hand_over(self) -> None:
        """Cease to lead when a transfer has become possible, or when our own removal is committed."""
        if self.id not in self._memberships.voters and self._commit_index >= self.configuration_index:
            self._abdicate(self._furthest_voter())
        elif self._transfer is not None and self._may_abdicate(self._transfer):
            self._abdicate(self._transfer.target)

    def _may_abdicate(self, transfer: _Transfer) -> bool:
        """Once the target is known to live and has everything, it wins; once all is committed, nobody waits for an
        answer that we could not give any more."""
        progress = self._progress.get(transfer.target)
        if progress is None or progress.answered_sent_at_s < transfer.asked_at_s:
            return False
        return progress.match_index == self.log.last_index == self._commit_index

    def _abdicate(self, successor: str | None) -> None:
        """Step down first and only then say so: from the moment somebody may stand, we do not lead."""
        self._become_follower(self._term)
        if successor is not None:
            self._send(TimeoutNow(sender=self.id, recipient=successor, term=self._term))
            self._pending.transitions.append(
                LeadershipTransferred(at_s=self._now, term=self._term, to=successor),
            )

    def _on_timeout_now(self, request: TimeoutNow) -> None:
        if request.term == self._term and self._role is not Role.LEADER and self._may_campaign():
            self._become_candidate(by_transfer=True)

    def _furthest_voter(self) -> str | None:
        """Of the other voters, the one whose log is known to match furthest; of several, who was heard from last."""
        others = [name for name in self._memberships.voters if name in self._progress]
        return max(others, key=lambda name: self._progress[name].standing, default=None)

    # Membership (thesis 4)

    def _change_membership(self, configuration: Configuration) -> LogPosition:
        assert self._may_change_membership()
        return self._append(EntryKind.CONFIGURATION, configuration.encode())

    def _promote_who_caught_up(self) -> None:
        """A staged server becomes a voter once it is within one message of the end of the log (thesis 4.2.1)."""
        for server in self.configuration.servers:
            if server.suffrage is not Suffrage.STAGING or not self._may_change_membership():
                continue
            match_index = self._progress[server.id].match_index
            if match_index and match_index + self.limits.entries_per_message >= self.log.last_index:
                voter = msgspec.structs.replace(server, suffrage=Suffrage.VOTER)
                self._change_membership(self.configuration.with_server(voter))

    def _track_members(self) -> None:
        """As leader, keep a Progress for each other member, and for one that is going until it is gone: it should
        learn that it is no member any more, and is one again if this change is never committed."""
        next_index = self.log.last_index + 1
        members = self._memberships.names_since(self._commit_index)
        others = [name for name in members if name != self.id]
        self._progress = {name: self._progress.get(name) or Progress(next_index) for name in others}
        self._confirmed_cache = None

    # The log

    def _append(self, kind: EntryKind, data: bytes) -> LogPosition:
        entry = Entry(self.log.last_index + 1, self._term, kind, data)
        self._store_entry(entry)
        if self._role is Role.LEADER and len(self._memberships.voters) == 1:
            self._advance_commit()
        return LogPosition(entry.index, entry.term)

    def _store_entry(self, entry: Entry) -> None:
        self.log.append(entry)
        self._pending.mark_unsaved(entry.index)
        if self._memberships.note(entry):
            self._on_membership()

    def _truncate_from(self, index: int) -> None:
        assert index > self._commit_index, f"entry {index} is committed (up to {self._commit_index}) and stays"
        self.log.truncate_from(index)
        self._pending.mark_unsaved(index)
        if self._memberships.truncate_from(index):
            self._on_membership()

    def _on_membership(self) -> None:
        if self._role is Role.LEADER:
            self._track_members()
        self._pending.transitions.append(
            MembershipChanged(
                at_s=self._now,
                term=self._term,
                index=self.configuration_index,
                voters=self._memberships.voters,
                others=self.configuration.others,
            )
        )

    def _commit_to(self, index: int) -> None:
        if index <= self._commit_index:
            return
        assert index <= self.log.last_index, f"commit index {index} beyond the last entry {self.log.last_index}"
        former, self._commit_index = self._commit_index, index
        self._pending.transitions.append(
            Committed(at_s=self._now, term=self._term, commit_index=index, entry_term=self.log.term_at(index))
        )
        if self._role is Role.LEADER and former < self.configuration_index <= index:
            self._dismiss()

    def _dismiss(self) -> None:
        """A change of membership is committed: let go of who left, with a last message that tells it so."""
        staying = self.configuration.names
        for name, progress in self._progress.items():
            if name not in staying:
                self._send_append(name, progress)
        self._track_members()

    # Small things

    def _check_protocol(self, message: AnyMessage) -> None:
        """Refuse what would break our own invariants before it touches anything."""
        if message.recipient != self.id or message.sender == self.id:
            raise ProtocolViolationError(f"{message.sender} sent {self.id} a message for {message.recipient}")
        if message.term < self._term or not isinstance(message, AppendEntries | InstallSnapshot):
            return
        if message.term == self._term and self._leader not in (None, message.sender):
            raise ProtocolViolationError(f"{message.sender} and {self._leader} both lead term {self._term}")
        if isinstance(message, InstallSnapshot):
            self._check_configuration(message.configuration, message.last_index)
            return
        for entry in message.entries:
            if entry.index <= self._commit_index and not self.log.has(entry.index, entry.term):
                raise ProtocolViolationError(f"{message.sender} would replace committed entry {entry.index}")
            if entry.kind is EntryKind.CONFIGURATION:
                self._check_configuration(entry.data, entry.index)

    def _check_configuration(self, data: bytes, index: int) -> None:
        try:
            configuration = Configuration.decode(data)
        except msgspec.MsgspecError as error:
            raise ProtocolViolationError(f"no configuration up to {index}: {error}") from error
        known = self.configuration.cluster_id
        if known and configuration.cluster_id != known:
            raise ProtocolViolationError(f"what stands at {index} belongs to cluster {configuration.cluster_id}")

    def _require_leadership(self, now: float) -> None:
        self._advance_clock(now)
        if self._role is not Role.LEADER or not self._lease_holds():
            raise NotLeaderError(self._leader if self._role is not Role.LEADER else None)

    def _advance_clock(self, now: float) -> None:
        if now > self._now:
            self._now = now

    def _draw(self, timeout_s: float) -> float:
        """From once to twice the timeout from now, so that split votes are rare (§5.2)."""
        return self._now + timeout_s * self._rng.uniform(1, 2)

    def _send(self, message: AnyMessage) -> None:
        self._pending.messages.append(message)


def _memberships_of(log: Log, snapshot: Snapshot | None) -> Memberships:
    """The configurations that a log and the snapshot before it hold."""
    if snapshot is None:
        return Memberships(entries=log.between(log.first_index, log.last_index))
    meta = snapshot.meta
    return Memberships(
        (meta.configuration_index, meta.configuration), log.between(max(meta.index, log.base_index) + 1, log.last_index)
    )
