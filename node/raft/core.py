"""`Raft`: one server's consensus state, stepped by its owner. The package's essay states the rules it keeps."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from node.raft import quorum
from node.raft.log import Log
from node.raft.membership import Configuration, Memberships, Server, Suffrage
from node.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    EntryKind,
    HardState,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
)
from node.raft.transitions import (
    Committed,
    MembershipChanged,
    Role,
    RoleChanged,
    TermChanged,
    Transition,
    Voted,
)

NEVER = math.inf
LONG_AGO = -math.inf


class NotLeaderError(Exception):
    """Only the leader can do this; `leader` is who that is, as far as this node knows."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"not leader (the leader is {leader or 'not known'})")
        self.leader = leader


class MembershipChangeError(Exception):
    """This change cannot be made; the text says why and, where there is one, what to do."""


class ProtocolViolationError(Exception):
    """A message that no correct peer sends. Nothing has changed."""


@dataclass(frozen=True)
class Timing:
    """SEED.md's three timeouts and Konsul's commit timeout, in seconds."""

    heartbeat_timeout_s: float = 1.0
    """A follower suspects its leader after this long without contact, and a voter refuses others for as long."""
    election_timeout_s: float = 1.0
    """A candidate gives up an election after once to twice this long."""
    leader_lease_timeout_s: float = 0.5
    """A leader stops leading this long after it sent what a majority last answered."""
    commit_timeout_s: float = 0.05
    """Followers hear of a new commit index within this time, even if nothing else is to be said."""

    def __post_init__(self) -> None:
        assert self.election_timeout_s >= self.heartbeat_timeout_s >= self.leader_lease_timeout_s > 0

    @property
    def heartbeat_interval_s(self) -> float:
        return self.heartbeat_timeout_s / 10


@dataclass(frozen=True)
class FlowLimits:
    """How much a leader sends to one follower without an answer."""

    entries_per_message: int = 64
    bytes_per_message: int = 256 * 1024
    entries_in_flight: int = 1024


@dataclass(frozen=True)
class LogPosition:
    index: int
    term: int


@dataclass(frozen=True)
class ReadReady:
    """The read with this ticket may be answered once the entry at `index` has been applied (thesis 6.4).

    `index` is None when leadership was lost first: the read must not be answered.
    """

    ticket: int
    index: int | None


@dataclass(frozen=True)
class Effects:
    """What follows from everything the core was told since the last time; see rule 1 of the package."""

    hard_state: HardState | None
    entries: tuple[Entry, ...]
    """To be stored in the place of everything from `entries[0].index` on."""
    messages: tuple[AnyMessage, ...]
    committed: tuple[Entry, ...]
    reads: tuple[ReadReady, ...]
    transitions: tuple[Transition, ...]


@dataclass
class Progress:
    """What a leader knows of one follower (nextIndex and matchIndex of Figure 2), and what it owes it."""

    next_index: int
    match_index: int = 0
    answered_sent_at_s: float = LONG_AGO
    """When the latest message that the follower answered was sent: the base of the lease."""
    matched_sent_at_s: float = LONG_AGO
    """When the latest message that it accepted was sent."""
    probing: bool = True
    """The follower's log is not known to match: one message at a time until it is."""
    awaiting_probe: bool = False
    told_commit: int = 0
    heartbeat_due: bool = False


@dataclass
class _PendingRead:
    ticket: int
    asked_at_s: float
    index: int


@dataclass
class _Pending:
    """Effects in the making."""

    hard_state: bool = False
    first_unsaved: int | None = None
    messages: list[AnyMessage] = field(default_factory=list)
    reads: list[ReadReady] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)


class Raft:
    """One server. Raises NotLeaderError, MembershipChangeError and ProtocolViolationError, each leaving it unchanged.

    A server whose `hard_state` is not the first one has lived before, and may have promised a leader or a candidate
    not to vote; it keeps that promise by counting its start as contact.
    """

    def __init__(
        self,
        node_id: str,
        *,
        log: Log,
        hard_state: HardState,
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
        self._memberships = Memberships(log.between(1, log.last_index))
        self._role = Role.FOLLOWER
        self._leader: str | None = None
        self._commit_index = 0
        self._last_applied = 0
        self._last_contact_s = now if hard_state.current_term else LONG_AGO
        self._votes: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}
        self._reads: list[_PendingRead] = []
        self._next_ticket = 1
        self._next_heartbeat_s = NEVER
        self._commit_unheard_since_s = NEVER
        self._first_index_of_reign = 0
        self._pending = _Pending()
        self._election_due_s = self._draw(timing.heartbeat_timeout_s)
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            PreVote: self._on_pre_vote,
            PreVoteResponse: self._on_pre_vote_response,
            RequestVote: self._on_request_vote,
            RequestVoteResponse: self._on_request_vote_response,
            AppendEntries: self._on_append_entries,
            AppendEntriesResponse: self._on_append_entries_response,
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
    def lease_until_s(self) -> float:
        """Up to when this node is leader; an answer given later must not claim it. -inf when it does not lead."""
        if self._role is not Role.LEADER:
            return LONG_AGO
        answered = {name: progress.answered_sent_at_s for name, progress in self._progress.items()}
        answered[self.id] = NEVER
        since = quorum.reached_by_majority(answered, self.configuration.voters, LONG_AGO)
        return since + self.timing.leader_lease_timeout_s

    @property
    def deadline(self) -> float:
        """When `tick` is next due."""
        if self._role is Role.LEADER:
            return min(
                self._next_heartbeat_s,
                self.lease_until_s,
                self._commit_unheard_since_s + self.timing.commit_timeout_s,
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
        """Append a command; it is decided when an entry of this index is committed, ours if the term is this one."""
        self._require_leadership(now)
        return self._append(EntryKind.COMMAND, data)

    def read(self, now: float) -> int:
        """Ask for a linearizable read; its ticket comes back in `Effects.reads` (ReadIndex, thesis 6.4)."""
        self._require_leadership(now)
        ticket, self._next_ticket = self._next_ticket, self._next_ticket + 1
        # Before an entry of its own term is committed a leader may not know the latest commit; the no-op's index is
        # then what the read must wait for (thesis 6.4, step 1).
        index = max(self._commit_index, self._first_index_of_reign)
        self._reads.append(_PendingRead(ticket, now, index))
        self._request_heartbeats()
        self._answer_reads()
        return ticket

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
            self._replicate()
        pending, self._pending = self._pending, _Pending()
        first = pending.first_unsaved
        committed = self.log.between(self._last_applied + 1, self._commit_index)
        self._last_applied = self._commit_index
        return Effects(
            hard_state=HardState(self._term, self._voted_for) if pending.hard_state else None,
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

    def _may_commit(self, index: int) -> bool:
        """§5.4.2: only an entry of the current term is committed by counting. An older one on a majority can still be
        overwritten (Figure 8); it is committed by what follows it."""
        return index > self._commit_index and self.log.term_at(index) == self._term

    def _leader_may_live(self) -> bool:
        """Thesis 4.2.3: within the heartbeat timeout of hearing from a leader, or of a vote given, refuse all others.

        A vote counts as contact because the lease of whoever wins with it starts when the vote was asked for.
        """
        if self._role is Role.LEADER:
            return self._now < self.lease_until_s
        return self._now < self._last_contact_s + self.timing.heartbeat_timeout_s

    def _settles_term(self, message: AnyMessage) -> bool:
        """§5.1: a higher term is adopted. Not from a pre-vote, whose term nobody has entered, and not from a candidate
        while a leader may live: a removed or partitioned server must not depose it (thesis 4.2.3, 9.6)."""
        if isinstance(message, RequestVote):
            return not self._leader_may_live()
        return not isinstance(message, PreVote)

    def _may_change_membership(self) -> bool:
        """One change at a time (thesis 4.1), and none before an entry of this term is committed (raft-dev, 2015):
        otherwise two leaders' concurrent changes can have majorities without a common member."""
        return self._commit_index >= max(self.configuration_index, self._first_index_of_reign)

    def _may_campaign(self) -> bool:
        """Only a voter stands for election; whoever knows no configuration waits to be told one."""
        return self.id in self.configuration.voters

    # Roles

    def _become_follower(self, term: int, *, leader: str | None = None, at_s: float | None = None) -> None:
        was_leader = self._role is Role.LEADER
        if term > self._term:
            self._set_term(term)
        self._leader = leader
        self._votes = {}
        self._progress = {}
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

    def _become_candidate(self) -> None:
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
                self._progress[voter].answered_sent_at_s = sent_at_s
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
        for voter in self.configuration.voters:
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
            sent_at_s=self._now,
        )

    def _count_votes(self) -> None:
        if quorum.has_majority(self._votes, self.configuration.voters):
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
        if request.term < self._term:
            self._answer_append(request, success=False)
            return
        self._become_follower(request.term, leader=request.sender)
        self._last_contact_s = self._now
        self._election_due_s = self._draw(self.timing.heartbeat_timeout_s)
        if not self._log_matches(request):
            self._answer_append(request, success=False)
            return
        self._store(request.entries)
        # Only as far as this message proves our log to be the leader's: what stands behind may be our own tail.
        self._commit_to(min(request.leader_commit, request.last_index))
        self._answer_append(request, success=True)

    def _store(self, entries: Iterable[Entry]) -> None:
        """Keep what agrees, replace from the first conflict on (Figure 2, AppendEntries steps 3 and 4)."""
        for entry in entries:
            if self.log.has(entry.index, entry.term):
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
                match_index=request.last_index if success else 0,
                conflict_index=0 if success else self._conflict_index(request.prev_log_index),
                sent_at_s=request.sent_at_s,
            )
        )

    def _conflict_index(self, prev_log_index: int) -> int:
        if prev_log_index > self.log.last_index:
            return self.log.last_index + 1
        return self.log.first_index_of_term_at(prev_log_index)

    # Replication, as leader (§5.3)

    def _tick_leader(self) -> None:
        lease_until_s = self.lease_until_s
        if self._now >= lease_until_s:
            self._become_follower(self._term, at_s=lease_until_s)
            return
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
        if progress.probing:
            return not progress.awaiting_probe
        return progress.next_index <= self.log.last_index and self._has_room(progress)

    def _has_room(self, progress: Progress) -> bool:
        """Whether more entries may be under way: a follower that does not answer is not sent the whole log."""
        return progress.next_index - 1 - progress.match_index < self.limits.entries_in_flight

    def _send_append(self, name: str, progress: Progress) -> None:
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

    def _on_append_entries_response(self, response: AppendEntriesResponse) -> None:
        progress = self._progress.get(response.sender)
        if response.term < self._term or self._role is not Role.LEADER or progress is None:
            return
        progress.answered_sent_at_s = max(progress.answered_sent_at_s, response.sent_at_s)
        if response.success:
            progress.matched_sent_at_s = max(progress.matched_sent_at_s, response.sent_at_s)
            self._take_match(progress, response.match_index)
        elif self._has_lost_its_log(progress, response):
            progress.match_index, progress.next_index = 0, response.conflict_index
            progress.probing, progress.awaiting_probe = True, False
        elif response.prev_log_index > progress.match_index:
            # A refusal from before the last match is old news delivered late; backing up on it resends for nothing.
            progress.next_index = max(progress.match_index + 1, min(response.conflict_index, response.prev_log_index))
            progress.probing, progress.awaiting_probe = True, False
        self._answer_reads()

    def _has_lost_its_log(self, progress: Progress, response: AppendEntriesResponse) -> bool:
        """A follower that refuses what it had accepted, in answer to something sent later: its disk was wiped.

        Raft's argument does not cover it (Figure 2: the log is persistent), and its vote may do harm; but an operator
        who wipes one node of a healthy cluster expects it to be filled again, not to be refused for ever.
        """
        return response.prev_log_index <= progress.match_index and response.sent_at_s > progress.matched_sent_at_s

    def _take_match(self, progress: Progress, match_index: int) -> None:
        progress.match_index = max(progress.match_index, match_index)
        progress.next_index = max(progress.next_index, progress.match_index + 1)
        progress.probing = progress.awaiting_probe = False
        self._advance_commit()

    def _advance_commit(self) -> None:
        """Figure 2, the last rule for leaders."""
        matched = {**self.match_indexes, self.id: self.log.last_index}
        index = quorum.reached_by_majority(matched, self.configuration.voters, 0)
        if self._may_commit(index):
            self._commit_unheard_since_s = min(self._commit_unheard_since_s, self._now)
            self._commit_to(index)

    # Reads (thesis 6.4)

    def _answer_reads(self) -> None:
        """A read is confirmed once a majority answered something that was sent after it was asked."""
        answered = {name: progress.answered_sent_at_s for name, progress in self._progress.items()}
        answered[self.id] = NEVER
        confirmed_s = quorum.reached_by_majority(answered, self.configuration.voters, LONG_AGO)
        while self._reads and self._reads[0].asked_at_s <= confirmed_s:
            read = self._reads.pop(0)
            self._pending.reads.append(ReadReady(read.ticket, read.index))

    # Membership (thesis 4)

    def _change_membership(self, configuration: Configuration) -> None:
        assert self._may_change_membership()
        self._append(EntryKind.CONFIGURATION, configuration.encode())

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
        """As leader, keep a Progress for each other member and for nobody else."""
        next_index = self.log.last_index + 1
        others = [server.id for server in self.configuration.servers if server.id != self.id]
        self._progress = {name: self._progress.get(name) or Progress(next_index) for name in others}

    # The log

    def _append(self, kind: EntryKind, data: bytes) -> LogPosition:
        entry = Entry(self.log.last_index + 1, self._term, kind, data)
        self._store_entry(entry)
        if self._role is Role.LEADER:
            self._advance_commit()
        return LogPosition(entry.index, entry.term)

    def _store_entry(self, entry: Entry) -> None:
        self.log.append(entry)
        self._mark_unsaved(entry.index)
        if self._memberships.note(entry):
            self._on_membership()

    def _truncate_from(self, index: int) -> None:
        assert index > self._commit_index, f"entry {index} is committed (up to {self._commit_index}) and stays"
        self.log.truncate_from(index)
        self._mark_unsaved(index)
        if self._memberships.truncate_from(index):
            self._on_membership()

    def _mark_unsaved(self, index: int) -> None:
        first = self._pending.first_unsaved
        self._pending.first_unsaved = index if first is None else min(first, index)

    def _on_membership(self) -> None:
        if self._role is Role.LEADER:
            self._track_members()
        self._pending.transitions.append(
            MembershipChanged(
                at_s=self._now,
                term=self._term,
                index=self.configuration_index,
                voters=self.configuration.voters,
                others=self.configuration.others,
            )
        )

    def _commit_to(self, index: int) -> None:
        if index <= self._commit_index:
            return
        assert index <= self.log.last_index, f"commit index {index} beyond the last entry {self.log.last_index}"
        self._commit_index = index
        self._pending.transitions.append(
            Committed(at_s=self._now, term=self._term, commit_index=index, entry_term=self.log.term_at(index))
        )
        if self._role is Role.LEADER:
            self._answer_reads()

    # Small things

    def _check_protocol(self, message: AnyMessage) -> None:
        """Refuse what would break our own invariants before it touches anything."""
        if message.recipient != self.id or message.sender == self.id:
            raise ProtocolViolationError(f"{message.sender} sent {self.id} a message for {message.recipient}")
        if not isinstance(message, AppendEntries) or message.term < self._term:
            return
        if message.term == self._term and self._leader not in (None, message.sender):
            raise ProtocolViolationError(f"{message.sender} and {self._leader} both lead term {self._term}")
        for entry in message.entries:
            if entry.index <= self._commit_index and not self.log.has(entry.index, entry.term):
                raise ProtocolViolationError(f"{message.sender} would replace committed entry {entry.index}")
            if entry.kind is EntryKind.CONFIGURATION:
                self._check_configuration(entry)

    def _check_configuration(self, entry: Entry) -> None:
        try:
            configuration = Configuration.from_entry(entry)
        except msgspec.MsgspecError as error:
            raise ProtocolViolationError(f"entry {entry.index} holds no configuration: {error}") from error
        known = self.configuration.cluster_id
        if known and configuration.cluster_id != known:
            raise ProtocolViolationError(f"entry {entry.index} belongs to cluster {configuration.cluster_id}")

    def _require_leadership(self, now: float) -> None:
        self._advance_clock(now)
        if self._role is not Role.LEADER or self._now >= self.lease_until_s:
            raise NotLeaderError(self._leader if self._role is not Role.LEADER else None)

    def _advance_clock(self, now: float) -> None:
        self._now = max(self._now, now)

    def _draw(self, timeout_s: float) -> float:
        """From once to twice the timeout from now, so that split votes are rare (§5.2)."""
        return self._now + timeout_s * self._rng.uniform(1, 2)

    def _send(self, message: AnyMessage) -> None:
        self._pending.messages.append(message)
