"""`Elections`: roles, and how a server becomes leader (§5.2; pre-vote, thesis 9.6).

A role changes in `_become_follower`, `_become_pre_candidate`, `_become_candidate`, `_become_leader`, and nowhere else.
"""

from __future__ import annotations

from node.raft.effects import ReadReady
from node.raft.messages import (
    EntryKind,
    PreVote,
    PreVoteResponse,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from node.raft.rules import Rules
from node.raft.state import NEVER
from node.raft.transitions import (
    Cause,
    Role,
    RoleChanged,
    TermChanged,
    Voted,
)


class Elections(Rules):
    """Standing for election, voting, winning and stepping down."""

    __slots__ = ()

    # Roles

    def _become_follower(self, term: int, *, leader: str | None = None, by: str | None = None) -> None:
        """`by` is the sender of the message that brings the term, if one does."""
        ended = self._end_of_reign(term, by) if self.role is Role.LEADER else None
        if term > self.current_term:
            self._set_term(term)
            self._incoming = None
        elif self.role is Role.FOLLOWER and self.leader == leader:
            return
        self.leader = leader
        self._last_answer = None
        self._votes = {}
        self._progress = {}
        self._confirmed_cache = self._matches_cache = None
        self._transfer = None
        self._next_heartbeat_s = NEVER
        self._commit_unheard_since_s = NEVER
        if self.role is not Role.FOLLOWER:
            self._set_role(Role.FOLLOWER, ended)
            self._election_due_s = self._draw(self.timing.heartbeat_timeout_s)
        if ended is not None:
            self._pending.reads += [ReadReady(read.ticket, None) for read in self._reads]
            self._reads = []

    def _end_of_reign(self, term: int, by: str | None) -> RoleChanged:
        """A leader that was stopped may hear of its successor before it looks at its own lease. An expired lease is
        then what ended its leadership."""
        until_s = self.lease_until_s
        if self._now >= until_s:
            return RoleChanged(at_s=until_s, term=term, role=Role.FOLLOWER, cause=Cause.LEASE_OVER)
        if term > self.current_term:
            return RoleChanged(at_s=self._now, term=term, role=Role.FOLLOWER, cause=Cause.HIGHER_TERM, by=by)
        return RoleChanged(at_s=self._now, term=term, role=Role.FOLLOWER, cause=Cause.HANDED_OVER)

    def _become_pre_candidate(self) -> None:
        self._start_election(Role.PRE_CANDIDATE)

    def _become_candidate(self, *, by_transfer: bool = False) -> None:
        self._elected_by_transfer = by_transfer
        self._set_term(self.current_term + 1)
        self._vote_for(self.id)
        self._start_election(Role.CANDIDATE)

    def _start_election(self, role: Role) -> None:
        self.leader = None
        self._set_role(role)
        self._election_due_s = self._draw(self.timing.election_timeout_s)
        self._votes = {self.id: NEVER}
        self._ask_for_votes()
        self._count_votes()

    def _become_leader(self) -> None:
        self._set_role(Role.LEADER)
        self.leader = self.id
        self._progress = {}
        self._track_members()
        for voter, sent_at_s in self._votes.items():
            if voter in self._progress:
                self._progress[voter].answered_sent_at_s = self._lease_base_s(sent_at_s)
        self._next_heartbeat_s = self._now + self.timing.heartbeat_interval_s
        self._first_index_of_reign = self._append(EntryKind.NOOP, b"").index

    def _set_role(self, role: Role, change: RoleChanged | None = None) -> None:
        if role is not self.role:
            self.role = role
            self._pending.transitions.append(change or RoleChanged(at_s=self._now, term=self.current_term, role=role))

    def _set_term(self, term: int) -> None:
        assert term > self.current_term, f"the term goes from {self.current_term} to {term}: terms never go back"
        self.current_term, self.voted_for = term, None
        self._pending.hard_state = True
        self._pending.transitions.append(TermChanged(at_s=self._now, term=term))

    def _vote_for(self, candidate: str) -> None:
        if self.voted_for is None:
            self.voted_for = candidate
            self._pending.hard_state = True
            self._pending.transitions.append(Voted(at_s=self._now, term=self.current_term, candidate=candidate))
        assert self.voted_for == candidate, (
            f"a second vote in term {self.current_term}, for {candidate} after {self.voted_for}"
        )
        self._last_contact_s = self._now

    # Elections (§5.2, thesis 9.6)

    def _tick_election(self) -> None:
        if self._now >= self._election_due_s:
            self._become_pre_candidate()
        elif self._now >= self._next_heartbeat_s:
            self._ask_for_votes()

    def _ask_for_votes(self) -> None:
        """Ask every voter that has not granted its vote, and again each heartbeat interval (§5.1: RPCs are retried)."""
        self._next_heartbeat_s = self._now + self.timing.heartbeat_interval_s
        ask = self._pre_vote_to if self.role is Role.PRE_CANDIDATE else self._request_vote_to
        for voter in self._memberships.voters:
            if voter not in self._votes:
                self._send(ask(voter))

    def _pre_vote_to(self, voter: str) -> PreVote:
        return PreVote(
            sender=self.id,
            recipient=voter,
            term=self.current_term,
            next_term=self.current_term + 1,
            last_log_index=self.log.last_index,
            last_log_term=self.log.last_term,
        )

    def _request_vote_to(self, voter: str) -> RequestVote:
        return RequestVote(
            sender=self.id,
            recipient=voter,
            term=self.current_term,
            last_log_index=self.log.last_index,
            last_log_term=self.log.last_term,
            leadership_transfer=self._elected_by_transfer,
            sent_at_s=self._now,
        )

    def _count_votes(self) -> None:
        if self._is_elected():
            if self.role is Role.PRE_CANDIDATE:
                self._become_candidate()
            else:
                self._become_leader()

    def _on_pre_vote(self, request: PreVote) -> None:
        granted = (
            request.next_term > self.current_term
            and not self._leader_may_live()
            and self._log_is_up_to_date(request.last_log_index, request.last_log_term)
        )
        self._send(
            PreVoteResponse(
                sender=self.id,
                recipient=request.sender,
                term=self.current_term,
                next_term=request.next_term,
                granted=granted,
            )
        )

    def _on_pre_vote_response(self, response: PreVoteResponse) -> None:
        if self.role is Role.PRE_CANDIDATE and response.granted and response.next_term == self.current_term + 1:
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
                term=self.current_term,
                granted=granted,
                sent_at_s=request.sent_at_s,
            )
        )

    def _on_request_vote_response(self, response: RequestVoteResponse) -> None:
        if self.role is Role.CANDIDATE and self._counts_vote(response):
            self._votes[response.sender] = response.sent_at_s
            self._count_votes()

    def _on_timeout_now(self, request: TimeoutNow) -> None:
        if self._is_told_to_stand(request) and self.role is not Role.LEADER and self._may_campaign():
            self._become_candidate(by_transfer=True)
