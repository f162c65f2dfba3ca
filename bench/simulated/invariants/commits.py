"""What is committed: when it may be, that it stays, and that every later leader has it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.simulated.invariants.ledger import Ledger, Step
from bench.simulated.invariants.violation import listed, violated
from node.raft.quorum import has_majority
from node.raft.transitions import Committed, MembershipChanged, Role, RoleChanged


def commit_index_never_goes_back(ledger: Ledger, step: Step) -> None:
    """CCF's CommittedLogAppendOnly, within one life of a server."""
    if step.commit_index < step.before.commit_index:
        words = f"{step.name} went from commit index {step.before.commit_index} to {step.commit_index}"
        violated(commit_index_never_goes_back, words)


def only_the_leaders_term_is_counted(ledger: Ledger, step: Step) -> None:
    """§5.4.2, CCF's NeverCommitEntryPrevTerms: counting replicas commits only entries of the leader's own term."""
    for commit, _ in _leader_commits(step):
        if commit.entry_term != commit.term:
            words = f"{step.name}, leader of term {commit.term}, counted entry {commit.commit_index}"
            violated(only_the_leaders_term_is_counted, f"{words} of term {commit.entry_term}")


def committed_is_on_a_majority(ledger: Ledger, step: Step) -> None:
    """QuorumLog: what a leader commits is synced on a majority of the voters it counts, itself included or not."""
    for commit, voters in _leader_commits(step):
        index, term = commit.commit_index, commit.entry_term
        holders = [name for name in voters if (disk := ledger.disks.get(name)) and disk.holds(index, term)]
        if not has_majority(holders, voters):
            words = f"{step.name} commits entry {index} of term {term} that {listed(holders)} of {listed(voters)} hold"
            violated(committed_is_on_a_majority, words, index)


def _leader_commits(step: Step) -> Iterator[tuple[Committed, tuple[str, ...]]]:
    """What a server committed as leader, with the voters it counted. Within a round the order of changes decides."""
    role, voters = step.before.role, step.before.voters
    for change in step.effects.transitions:
        if isinstance(change, RoleChanged):
            role = change.role
        elif isinstance(change, MembershipChanged):
            voters = change.voters
        elif isinstance(change, Committed) and role is Role.LEADER:
            yield change, voters


def committed_stays(ledger: Ledger, step: Step) -> None:
    """State Machine Safety (Figure 3): only one entry is ever committed at an index, and a leader is the first to
    commit it."""
    log, newest = step.log, ledger.commit_index
    first = max(step.before.commit_index + 1, log.base_index)
    for index in range(first, step.commit_index + 1):
        term = log.term_at(index)
        if index > newest:
            if first > newest + 1 or not any(_leader_commits(step)):
                violated(committed_stays, f"{step.name} commits entry {index}, which no leader has", index)
        elif ledger.committed[index] != term:
            words = f"{step.name} commits entry {index} of term {term}, others that of term {ledger.committed[index]}"
            violated(committed_stays, words, index)


def leader_has_what_is_committed(ledger: Ledger, step: Step) -> None:
    """Leader Completeness (Figure 3): a new leader has all that was committed in earlier terms. By Log Matching the
    last such entry stands for all before it. A candidate whose votes come late may win a term that is over, without
    what a later term has committed meanwhile; its lease is over by then, and it commits nothing."""
    if step.begins_reign():
        index = max((index for term, index in ledger.committed_in.items() if term < step.term), default=0)
        _must_have(step, index, ledger.committed[index])


def successors_have_what_is_committed(ledger: Ledger, step: Step) -> None:
    """Leader Completeness again, for what a deposed leader commits late: every later leader has it already."""
    for index in range(ledger.commit_index + 1, step.commit_index + 1):
        for leader in ledger.reigning.values():
            if leader.term > step.term:
                _must_have(leader, index, step.log.term_at(index))


def _must_have(leader: Step, index: int, term: int) -> None:
    if not leader.log.has(index, term):
        words = f"{leader.name} leads term {leader.term} without the committed entry {index} of term {term}"
        violated(leader_has_what_is_committed, words, index)
