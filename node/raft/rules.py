"""`Rules`: what Raft's safety rests on. Each rule is a method that can be named, cited, and broken on its own.

None of them changes anything. `node.flaws` has, for each, a server that lacks it and nothing else.
"""

from __future__ import annotations

from node.raft import quorum
from node.raft.messages import (
    AnyMessage,
    AppendEntries,
    AppendEntriesResponse,
    Entry,
    HardState,
    InstallSnapshot,
    InstallSnapshotResponse,
    PreVote,
    RequestVote,
    RequestVoteResponse,
    TimeoutNow,
)
from node.raft.snapshot import SnapshotMeta
from node.raft.state import PendingRead, State
from node.raft.transitions import (
    Role,
)


class Rules(State):
    """The safety rules, over the state they are asked of."""

    __slots__ = ()

    def _may_grant_vote(self, request: RequestVote) -> bool:
        """One vote per term, and only to a candidate whose log has everything that may be committed (§5.2, §5.4.1).

        And none while a leader may live (thesis 4.2.3): that its term has not been adopted from this request does not
        say so, for it may have come with another message, a moment after the leader was heard.
        """
        return (
            request.term == self.current_term
            and self.voted_for in (None, request.sender)
            and self._log_is_up_to_date(request.last_log_index, request.last_log_term)
            and (self.voted_for is not None or request.leadership_transfer or not self._leader_may_live())
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

    def _counts_answer(self, response: AppendEntriesResponse | InstallSnapshotResponse) -> bool:
        """§5.3: matchIndex begins anew with each reign. What a follower answered in an earlier one was true of a log
        that another leader may have cut since (copycat#29)."""
        return response.term == self.current_term

    def _may_commit(self, index: int) -> bool:
        """§5.4.2: only an entry of the current term is committed by counting. An older one on a majority can still be
        overwritten (Figure 8); it is committed by what follows it."""
        return index > self.commit_index and self.log.term_at(index) == self.current_term

    def _counts_vote(self, response: RequestVoteResponse) -> bool:
        """§5.2: a vote is for one term. One that comes late was given to a candidacy that is over, and its voter may
        have given another since."""
        return response.granted and response.term == self.current_term

    def _is_told_to_stand(self, request: TimeoutNow) -> bool:
        """Thesis 3.10: by the leader of this term, which has stepped down. That of an earlier term may have a successor
        by now, whose lease the voters would not heed."""
        return request.term == self.current_term

    def _is_elected(self) -> bool:
        """§5.2: by a majority of the voters; votes are names, so none counts twice."""
        return quorum.has_majority(self._votes, self._memberships.voters)

    def _hard_state(self) -> HardState:
        """Figure 2, persistent state: forgetting the vote is voting twice in one term."""
        return HardState(self.current_term, self.voted_for)

    def _lease_base_s(self, sent_at_s: float) -> float:
        """The lease begins when what was answered was *sent*: the voter's refusal began no earlier than that."""
        return sent_at_s

    def _lease_holds(self) -> bool:
        """A leader whose lease is over leads no more: another may have been elected meanwhile (thesis 6.2)."""
        return self._now < self.lease_until_s

    def _read_index(self) -> int:
        """What must be applied before a read: before an entry of its own term is committed a leader may not know the
        latest commit, and its no-op's index is then what the read waits for (thesis 6.4, step 1)."""
        return max(self.commit_index, self._first_index_of_reign)

    def _is_confirmed(self, read: PendingRead) -> bool:
        """Thesis 6.4, step 3: a majority answered something that was sent after the read was asked for, so no other
        had been elected by then."""
        return read.asked_at_s <= self._confirmed_s()

    def _may_install(self, chunk: InstallSnapshot) -> bool:
        """Figure 13: a snapshot replaces only what it is ahead of; an old one would take committed entries away."""
        return chunk.last_index > self.commit_index

    def _is_prefix(self, meta: SnapshotMeta) -> bool:
        """Figure 13, step 6: what follows the snapshot's last entry stays if that entry is ours too. The snapshot may
        be late, and what follows acknowledged (zeebe#6092)."""
        return self.log.has(meta.index, meta.term)

    def _leader_may_live(self) -> bool:
        """Thesis 4.2.3: within the heartbeat timeout of hearing from a leader, or of a vote given, refuse all others.

        A vote counts as contact because the lease of whoever wins with it starts when the vote was asked for.
        """
        if self.role is Role.LEADER:
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
        decided = self.commit_index >= max(self.configuration_index, self._first_index_of_reign)
        return decided and self._transfer is None

    def _may_campaign(self) -> bool:
        """Only a voter stands for election; whoever knows no configuration waits to be told one.

        One that is no voter in its latest configuration stands as long as it may be needed to commit that (thesis
        4.2.2): it may be the only server with the entry that removes it, and the others then cannot win without it.
        """
        return self.id in self._memberships.voters or self._memberships.may_vote(self.id, self.commit_index)
