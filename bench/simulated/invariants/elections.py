"""Who may lead, and who may be voted for."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from operator import itemgetter

from bench.simulated.invariants.ledger import Ledger, Step, accepts
from bench.simulated.invariants.violation import listed, violated
from node.raft import PreVote, RequestVote, RequestVoteResponse
from node.raft.quorum import has_majority
from node.raft.transitions import MembershipChanged, Role, RoleChanged, TermChanged, Voted

# Leaders


def one_leader_in_a_term(ledger: Ledger, step: Step) -> None:
    """Election Safety, over all history (Figure 3)."""
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged) and change.role is Role.LEADER:
            leader = ledger.leaders.get(change.term, step.name)
            if leader != step.name:
                violated(one_leader_in_a_term, f"{leader} and {step.name} were both elected in term {change.term}")


def leaders_were_elected(ledger: Ledger, step: Step) -> None:
    """§5.2: the leader of a term was voted for in that term by a majority of the voters that it counts."""
    voters = step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, MembershipChanged):
            voters = change.voters
        elif isinstance(change, RoleChanged) and change.role is Role.LEADER:
            votes = {voter for voter in voters if ledger.votes.get((voter, change.term)) == step.name} | {step.name}
            if not has_majority(votes, voters):
                words = f"{step.name} leads in term {change.term} with the votes of {listed(votes)} of {listed(voters)}"
                violated(leaders_were_elected, words)


def one_leader_at_a_time(ledger: Ledger, step: Step) -> None:
    """At no instant do two servers call themselves leader: `sum(konsul_raft_is_leader) <= 1`, paused ones included.
    This relies on clocks that run at about the same rate."""
    if not ledger.clocks_alike:
        return
    for other, (until_s, clock) in ledger.leases.items():
        if other == step.name:
            continue
        left_s = until_s - clock.at(step.at_s)
        if left_s > 0 and step.holds_lease():
            words = f"{step.name} leads in term {step.term} while {other} has {left_s:.3f} s of its lease left"
            violated(one_leader_at_a_time, words)


def only_voters_lead(ledger: Ledger, step: Step) -> None:
    """A server must not be elected if it votes in none of the configurations that may count, as far as it can know: it
    would hold up the voters. One that is being removed may be elected until it knows that it is removed (thesis 4.2.2).
    """
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged) and change.role is Role.LEADER and step.name not in step.voters:
            known = bisect.bisect_right(ledger.configurations, step.before.commit_index, key=itemgetter(0))
            if not any(step.name in voters for _, voters in ledger.configurations[max(known - 1, 0) :]):
                violated(only_voters_lead, f"{step.name} was elected in term {change.term} and is no voter")


# Votes


def one_vote_in_a_term(ledger: Ledger, step: Step) -> None:
    """§5.2, over a server's whole history and all its lives; a candidate's request is its vote for itself."""
    votes = list(_votes_given(step))
    for term, candidate in votes:
        first = next(candidate for voted_in, candidate in votes if voted_in == term)
        former = ledger.votes.get((step.name, term), first)
        if former != candidate:
            violated(one_vote_in_a_term, f"{step.name} voted for {former} and for {candidate} in term {term}")


def _votes_given(step: Step) -> Iterator[tuple[int, str]]:
    """The term and the candidate of each vote."""
    for message in step.effects.messages:
        if isinstance(message, RequestVote):
            yield message.term, step.name
        elif isinstance(message, RequestVoteResponse) and message.granted:
            yield message.term, message.recipient


def voters_keep_to_their_leader(ledger: Ledger, step: Step) -> None:
    """Thesis 4.2.3: a server that heard from a leader, or gave a vote, gives none for a heartbeat timeout by its own
    clock; the lease relies on this. It may vote for a candidate that a leader has told to stand."""
    before = step.before
    contact_s, last_vote = before.contact_s, before.last_vote
    for message in step.effects.messages:
        if isinstance(message, RequestVoteResponse) and message.granted:
            patient_s = step.now_s - contact_s
            vote = (message.recipient, message.term)
            told, again = vote in ledger.told_to_stand, vote == last_vote
            if patient_s < before.raft.timing.heartbeat_timeout_s and not (told or again):
                words = f"{step.name} voted for {message.recipient} {patient_s:.3f} s after it heard from another"
                violated(voters_keep_to_their_leader, words)
            contact_s, last_vote = step.now_s, vote
        elif any(accepts(message, item) for item in step.inbox):
            contact_s = step.now_s


# Candidates


def candidates_have_asked(ledger: Ledger, step: Step) -> None:
    """Thesis 9.6: a server begins a term only if a majority said that it would vote for it, or if a leader told it to
    stand. Otherwise a server that nobody would elect could depose a leader: its answers to the leader have its term."""
    voters = step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, MembershipChanged):
            voters = change.voters
        elif isinstance(change, RoleChanged) and change.role is Role.CANDIDATE:
            stands = step.name, change.term
            granted = {step.name, *ledger.pre_votes.get(stands, ())}
            if stands not in ledger.told_to_stand and not has_majority(granted, voters):
                words = f"{step.name} stands in term {change.term}, which only {listed(granted)} of {listed(voters)}"
                violated(candidates_have_asked, f"{words} wanted")


def candidates_disturb_nobody(ledger: Ledger, step: Step) -> None:
    """Thesis 4.2.3: while a leader may live, a candidate's term is not even adopted, neither by servers that heard from
    the leader within a heartbeat timeout nor by the leader itself: the term alone would depose the leader as soon as it
    hears of it. A candidate that a leader told to stand is heeded."""
    before, role = step.before, step.before.role
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged):
            role = change.role
        elif isinstance(change, TermChanged) and (candidate := _heeded(ledger, step, change.term)) is not None:
            words = f"{step.name} took term {change.term} from {candidate}"
            left_s, patient_s = before.lease_until_s - step.now_s, step.now_s - before.contact_s
            if role is Role.LEADER and left_s > 0:
                violated(candidates_disturb_nobody, f"{words} with {left_s:.3f} s of its lease left")
            if role is not Role.LEADER and patient_s < before.raft.timing.heartbeat_timeout_s:
                violated(candidates_disturb_nobody, f"{words} {patient_s:.3f} s after it heard from another")


def _heeded(ledger: Ledger, step: Step, term: int) -> str | None:
    """The candidate whose request, and nothing else in the round, made the server take this term; None for one that a
    leader told to stand."""
    told = [message for message in step.inbox if message.term == term]
    brought = [message for message in told if not isinstance(message, PreVote)]
    heeds = all(isinstance(item, RequestVote) and (item.sender, term) not in ledger.told_to_stand for item in brought)
    own = any(
        isinstance(change, Voted) and (change.candidate, change.term) == (step.name, term)
        for change in step.effects.transitions
    )
    return brought[0].sender if brought and heeds and not own else None
