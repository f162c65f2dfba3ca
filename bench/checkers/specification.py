"""Raft's transitions as a specification: what a node may write down next, given what it and all others have shown.

`RULES` has, for each event of a trace, the rules that a record of this event keeps; `FOLLOWS` has what is so from then
on. A rule is Raft's and no habit of our own node: it allows whatever the paper, the thesis or the correction of 2015
allow. It answers with the reason why a record is not allowed, or with nothing.

What a rule may rest on
-----------------------
A node saves, then writes its trace, then acts. So a node that was killed may have saved what it never wrote down, but
nobody can have heard of that; its next `start` says what was saved.

1. *What a node itself wrote*, in the order written. What lasts on its disk, it may not go back on. What it only had in
   memory begins anew with `start`.
2. *What others wrote* counts at any time: what is committed at one index is so for ever.
3. *What others did not write* counts only where they would have: before they wrote something later (`Seen.was_heard`).
   Whoever was never heard of again, or whose trace was read a little earlier, may have written more. And causes come
   before effects only by clocks that nobody changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.evidence import Record
from bench.words import listed

FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER = "Follower", "PreCandidate", "Candidate", "Leader"
START_ANEW = "start anew"
"""The event of a start on a disk that has lost what it had; no node writes that."""
NEXT_ROLES: Mapping[str, frozenset[str]] = {
    FOLLOWER: frozenset((PRE_CANDIDATE, CANDIDATE)),
    PRE_CANDIDATE: frozenset((FOLLOWER, PRE_CANDIDATE, CANDIDATE)),
    CANDIDATE: frozenset((FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER)),
    LEADER: frozenset((FOLLOWER,)),
}
"""Figure 4, and who asks for pre-votes (thesis 9.6), which is a follower as far as anybody else can tell."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members as of one entry of the log."""

    index: int
    voters: frozenset[str]
    others: frozenset[str]

    @property
    def majority(self) -> int:
        return len(self.voters) // 2 + 1


@dataclass(slots=True)
class NodeState:
    """What a node has shown of itself so far."""

    node: str
    term: int = 0
    voted_for: str | None = None
    """In its term."""
    held: int = 0
    """The last entry that it knew, in any of its lives, to be committed: its disk has all entries up to there."""
    stood_in: int = 0
    """The term in which it last became a candidate."""
    reign: int = 0
    """The term in which it last became leader."""
    role: str = FOLLOWER
    commit_index: int = 0
    """0 until this incarnation says something else, as do the next three."""
    commit_term: int = 0
    """The term of the entry there."""
    applied: int = 0
    snapshot: int = 0
    configuration: Configuration | None = None
    """The one in force here; None as long as this incarnation has not said."""

    @property
    def leads(self) -> bool:
        return self.role == LEADER and self.reign == self.term


@dataclass(slots=True)
class Seen:
    """What all nodes together have shown so far."""

    last_s: Mapping[str, float]
    """When each node wrote its last record; without those whose absence of records means nothing."""
    votes: dict[tuple[int, str], set[str]] = field(default_factory=dict)
    """Who voted in this term for this candidate."""
    leaders: dict[int, str] = field(default_factory=dict)
    told: dict[int, int] = field(default_factory=dict)
    """How far the leader of each term had committed, at most."""
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)
    """The first and the last committed entry of each term."""
    configurations: dict[int, Configuration] = field(default_factory=dict)
    """Those that are committed, by index."""

    def was_heard(self, node: str, after_s: float) -> bool:
        """Whether the node wrote something after this instant, so that all it had done before is known."""
        return after_s < self.last_s.get(node, -math.inf)


def _names(nodes: Collection[str]) -> str:
    return listed(sorted(nodes)) if nodes else "none"


class Rule(NamedTuple):
    """`why_not` says why a record is not allowed; it says nothing of one that is."""

    name: str
    paper: str
    why_not: Callable[[NodeState, Record, Seen], str]


def rule(paper: str) -> Callable[[Callable[[NodeState, Record, Seen], str]], Rule]:
    """Names where the rule is found."""
    return lambda why_not: Rule(why_not.__name__, paper, why_not)


# Terms


@rule("§5.1")
def terms_go_up(state: NodeState, record: Record, seen: Seen) -> str:
    """A term that begins is a later one."""
    return f"its term was {state.term} before" if record["term"] <= state.term else ""


@rule("§5.1")
def acts_in_its_term(state: NodeState, record: Record, seen: Seen) -> str:
    """A node does everything in the term that it has entered last."""
    return f"its term is {state.term}" if record["term"] != state.term else ""


# What a disk keeps


@rule("Figure 2, persistent state")
def terms_last(state: NodeState, record: Record, seen: Seen) -> str:
    """currentTerm outlives a crash."""
    return f"it was in term {state.term} before it was down" if record["term"] < state.term else ""


@rule("Figure 2, persistent state")
def votes_last(state: NodeState, record: Record, seen: Seen) -> str:
    """votedFor outlives a crash. A vote that was never written down may have been saved; one written down was."""
    if record["term"] != state.term or state.voted_for in (None, record["voted_for"]):
        return ""
    return f"it had voted for {state.voted_for} in this term before it was down"


@rule("Figure 2, persistent state")
def logs_last(state: NodeState, record: Record, seen: Seen) -> str:
    """What a node knew to be committed is in its log, or in the snapshot before it."""
    return f"it had all entries up to {state.held} before it was down" if record["last_index"] < state.held else ""


# Votes


@rule("§5.2")
def one_vote_in_a_term(state: NodeState, record: Record, seen: Seen) -> str:
    """First come, first served."""
    if state.voted_for in (None, record["candidate"]):
        return ""
    return f"it had voted for {state.voted_for} in this term"


@rule("§5.2")
def votes_are_asked_for(state: NodeState, record: Record, seen: Seen) -> str:
    """Who asks for a vote has voted for itself before."""
    term, candidate = record["term"], record["candidate"]
    if candidate == state.node or candidate in seen.votes.get((term, candidate), ()):
        return ""
    return f"{candidate} has not stood in this term" if seen.was_heard(candidate, record["at_s"]) else ""


# Roles


@rule("Figure 4")
def roles_follow(state: NodeState, record: Record, seen: Seen) -> str:
    """Only a candidate becomes leader, and a leader becomes a follower first."""
    return "" if record["role"] in NEXT_ROLES[state.role] else f"it was {state.role} before"


@rule("§5.2")
def candidates_vote_for_themselves(state: NodeState, record: Record, seen: Seen) -> str:
    """In the term in which they stand, and would lead."""
    if record["role"] not in (CANDIDATE, LEADER) or state.voted_for == state.node:
        return ""
    return f"it has voted for {state.voted_for or 'nobody'} in this term"


@rule("§5.2")
def elections_begin_a_term(state: NodeState, record: Record, seen: Seen) -> str:
    """To begin an election, a follower increments its current term."""
    again = record["role"] == CANDIDATE and state.stood_in == record["term"]
    return "it has stood in this term before" if again else ""


@rule("§5.2, Election Safety")
def one_leader_in_a_term(state: NodeState, record: Record, seen: Seen) -> str:
    """At most one leader can be elected in a given term."""
    leader = seen.leaders.get(record["term"], state.node)
    return f"{leader} leads in this term" if record["role"] == LEADER and leader != state.node else ""


@rule("§5.2")
def majorities_elect(state: NodeState, record: Record, seen: Seen) -> str:
    """A leader has the votes of a majority of its configuration's voters. Of whoever was not heard of since, nobody
    knows."""
    if record["role"] != LEADER or state.configuration is None:
        return ""
    voters, votes = state.configuration.voters, seen.votes.get((record["term"], state.node), set())
    refused = {voter for voter in voters - votes if seen.was_heard(voter, record["at_s"])}
    if len(voters - refused) >= state.configuration.majority:
        return ""
    return f"of the voters {_names(voters)} only {_names(voters & votes)} voted for it"


@rule("thesis 4.2.2")
def voters_lead(state: NodeState, record: Record, seen: Seen) -> str:
    """Who is no voter may still be elected, as long as its log has a change of members that is not known to be
    committed: it may be needed to commit that."""
    known = state.configuration
    if record["role"] != LEADER or known is None or state.node in known.voters or known.index > state.commit_index:
        return ""
    return f"it is no voter of the configuration at {known.index}, which is committed"


@rule("thesis 6.3")
def leaders_hold_leases(state: NodeState, record: Record, seen: Seen) -> str:
    return "" if state.leads else "it does not lead in this term"


@rule("thesis 3.10")
def leaders_hand_over(state: NodeState, record: Record, seen: Seen) -> str:
    """Only who led the term may have another stand for election at once."""
    return "" if state.reign == record["term"] else "it has not led in this term"


# Commits


@rule("Figure 2, volatile state")
def commits_go_up(state: NodeState, record: Record, seen: Seen) -> str:
    """commitIndex increases monotonically."""
    return f"it had committed up to {state.commit_index}" if record["commit_index"] < state.commit_index else ""


@rule("§5.3")
def entries_are_of_the_past(state: NodeState, record: Record, seen: Seen) -> str:
    """An entry has the term in which its leader got it."""
    return "the entry there is of a later term" if record["entry_term"] > record["term"] else ""


@rule("§5.4.2, Figure 8")
def leaders_count_their_own(state: NodeState, record: Record, seen: Seen) -> str:
    """Only an entry of the leader's own term is committed by counting."""
    counts = state.leads and record["entry_term"] != record["term"]
    return f"it leads in term {state.term}, and the entry there is of another" if counts else ""


@rule("Figure 2, AppendEntries step 5")
def leaders_commit_first(state: NodeState, record: Record, seen: Seen) -> str:
    """Whoever does not lead commits no more than its leader has."""
    term, index = record["term"], record["commit_index"]
    leader, told = seen.leaders.get(term), seen.told.get(term, 0)
    if state.leads or leader is None or index <= told or not seen.was_heard(leader, record["at_s"]):
        return ""
    return f"{leader}, which leads in this term, had committed up to {told}"


@rule("§5.4.3, State Machine Safety, Leader Completeness")
def one_log_is_committed(state: NodeState, record: Record, seen: Seen) -> str:
    """What is committed is one log, for ever and for all, and terms in a log never go down. So at one index there is
    one term, and what a leader adds comes after all that was committed in earlier terms."""
    index, term = record["commit_index"], record["entry_term"]
    first, last = seen.spans.get(term, (math.inf, -math.inf))
    if first <= index <= last:
        return ""
    for other, (lowest, highest) in seen.spans.items():
        if (other < term and index <= highest) or (other > term and index >= lowest):
            return f"entries {lowest} to {highest} of term {other} are committed"
    return ""


# The state machine and its snapshots


@rule("§5.3")
def only_what_is_committed_is_applied(state: NodeState, record: Record, seen: Seen) -> str:
    """lastApplied stays behind commitIndex. A node that starts has what its snapshot had, and says nothing of it."""
    beyond = record["index"] > state.commit_index > 0
    return f"it has committed up to {state.commit_index}" if beyond else ""


@rule("Figure 2, volatile state")
def applying_goes_up(state: NodeState, record: Record, seen: Seen) -> str:
    """lastApplied increases monotonically."""
    return f"it had applied up to {state.applied}" if record["index"] < state.applied else ""


@rule("§7")
def snapshots_are_of_what_is_applied(state: NodeState, record: Record, seen: Seen) -> str:
    return f"it has applied up to {state.applied}" if record["index"] > state.applied else ""


@rule("§7")
def snapshots_are_newer(state: NodeState, record: Record, seen: Seen) -> str:
    return f"it had a snapshot of {state.snapshot}" if record["index"] < state.snapshot else ""


@rule("Figure 13, step 6")
def old_snapshots_are_not_installed(state: NodeState, record: Record, seen: Seen) -> str:
    """A snapshot of less than is known here to be committed would take committed entries away."""
    return f"it had committed up to {state.commit_index}" if record["index"] < state.commit_index else ""


# Membership


@rule("§5.3, Leader Append-Only")
def leaders_only_append(state: NodeState, record: Record, seen: Seen) -> str:
    """A leader never takes a configuration out of its log."""
    known = state.configuration
    back = state.leads and known is not None and record["index"] <= known.index
    return f"it leads, and its log has a configuration at {known.index}" if back and known else ""


@rule("thesis 4.1")
def members_change_one_by_one(state: NodeState, record: Record, seen: Seen) -> str:
    """A leader adds or removes one voter, so that any two majorities share a member."""
    if not state.leads or state.configuration is None:
        return ""
    changed = state.configuration.voters.symmetric_difference(record["voters"])
    return f"{_names(changed)} change at once" if len(changed) > 1 else ""


@rule("thesis 4.1")
def changes_wait_for_the_last(state: NodeState, record: Record, seen: Seen) -> str:
    """A leader begins no change before the last one is committed."""
    known = state.configuration
    early = state.leads and known is not None and known.index > state.commit_index
    return f"the configuration at {known.index} is not committed yet" if early and known else ""


@rule("thesis 4.1, as corrected in 2015")
def changes_wait_for_the_term(state: NodeState, record: Record, seen: Seen) -> str:
    """A leader begins no change before it has committed an entry of its own term."""
    early = state.leads and state.commit_term != state.term
    return "it has not committed anything in this term yet" if early else ""


@rule("thesis 4.1, State Machine Safety")
def configurations_agree(state: NodeState, record: Record, seen: Seen) -> str:
    """A configuration is an entry of the log: once it is committed, all have the same at its index."""
    found = _configuration(state, record)
    if found is None or found.index > record.get("commit_index", state.commit_index):
        return ""
    known = seen.configurations.get(found.index, found)
    return f"the voters at {known.index} are {_names(known.voters)}" if found != known else ""


def _configuration(state: NodeState, record: Record) -> Configuration | None:
    """The one that is in force once this is written."""
    if record["event"] != "membership":
        return state.configuration
    return Configuration(record["index"], frozenset(record["voters"]), frozenset(record["others"]))


RULES: Mapping[str, tuple[Rule, ...]] = {
    "start": (terms_last, votes_last, logs_last),
    "term": (terms_go_up,),
    "vote": (acts_in_its_term, one_vote_in_a_term, votes_are_asked_for),
    "role": (
        acts_in_its_term,
        roles_follow,
        elections_begin_a_term,
        candidates_vote_for_themselves,
        one_leader_in_a_term,
        majorities_elect,
        voters_lead,
    ),
    "lease": (acts_in_its_term, leaders_hold_leases),
    "transfer": (acts_in_its_term, leaders_hand_over),
    "commit": (
        acts_in_its_term,
        commits_go_up,
        entries_are_of_the_past,
        leaders_count_their_own,
        one_log_is_committed,
        leaders_commit_first,
        configurations_agree,
    ),
    "applied": (acts_in_its_term, only_what_is_committed_is_applied, applying_goes_up),
    "membership": (
        acts_in_its_term,
        leaders_only_append,
        changes_wait_for_the_last,
        changes_wait_for_the_term,
        members_change_one_by_one,
        configurations_agree,
    ),
    "snapshot_taken": (acts_in_its_term, snapshots_are_of_what_is_applied, snapshots_are_newer),
    "snapshot_installed": (acts_in_its_term, old_snapshots_are_not_installed, snapshots_are_newer),
}
"""An event that is not here is allowed at any time. So is `stop`, which is written before what else its round did."""


# What is so from then on


def _starts_anew(state: NodeState, record: Record, seen: Seen) -> None:
    """The persistent state of Figure 2 begins anew too."""
    state.held = state.stood_in = state.reign = 0
    _starts(state, record, seen)


def _starts(state: NodeState, record: Record, seen: Seen) -> None:
    """The volatile state of Figure 2 begins anew."""
    state.term, state.voted_for, state.role = record["term"], record["voted_for"], FOLLOWER
    state.commit_index = state.commit_term = state.applied = state.snapshot = 0
    state.configuration = None
    if state.voted_for is not None:
        seen.votes.setdefault((state.term, state.voted_for), set()).add(state.node)


def _enters_term(state: NodeState, record: Record, seen: Seen) -> None:
    state.term, state.voted_for = record["term"], None


def _votes(state: NodeState, record: Record, seen: Seen) -> None:
    state.voted_for = record["candidate"]
    seen.votes.setdefault((state.term, record["candidate"]), set()).add(state.node)


def _takes_role(state: NodeState, record: Record, seen: Seen) -> None:
    state.role = record["role"]
    if state.role == CANDIDATE:
        state.stood_in = state.term
    elif state.role == LEADER:
        state.reign = state.term
        seen.leaders[state.term] = state.node
        seen.told[state.term] = state.commit_index


def _commits(state: NodeState, record: Record, seen: Seen) -> None:
    index, term = record["commit_index"], record["entry_term"]
    state.commit_index, state.commit_term, state.held = index, term, max(state.held, index)
    first, last = seen.spans.get(term, (index, index))
    seen.spans[term] = min(first, index), max(last, index)
    if state.leads:
        seen.told[state.term] = index
    _notes_configuration(state, seen)


def _applies(state: NodeState, record: Record, seen: Seen) -> None:
    """The first thing that a node that starts has applied is its snapshot."""
    state.applied = record["index"]
    if not state.commit_index:
        state.commit_index = state.snapshot = record["index"]
        state.held = max(state.held, state.commit_index)


def _changes_members(state: NodeState, record: Record, seen: Seen) -> None:
    state.configuration = _configuration(state, record)
    _notes_configuration(state, seen)


def _notes_configuration(state: NodeState, seen: Seen) -> None:
    found = state.configuration
    if found is not None and found.index <= state.commit_index:
        seen.configurations[found.index] = found


def _has_snapshot(state: NodeState, record: Record, seen: Seen) -> None:
    state.snapshot = record["index"]


FOLLOWS: Mapping[str, Callable[[NodeState, Record, Seen], None]] = {
    "start": _starts,
    START_ANEW: _starts_anew,
    "term": _enters_term,
    "vote": _votes,
    "role": _takes_role,
    "commit": _commits,
    "applied": _applies,
    "membership": _changes_members,
    "snapshot_taken": _has_snapshot,
    "snapshot_installed": _has_snapshot,
}
