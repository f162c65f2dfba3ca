"""What is committed too early, twice, or without a majority."""

from __future__ import annotations

import pytest

from bench.cluster import PromiseBrokenError
from bench.simulated.invariants import Ledger, commits
from bench.simulated.invariants.ledger import note_role
from node.raft import Log
from node.raft.transitions import Role
from tests.unit.bench.simulated.invariants.steps import (
    assert_violated,
    commit,
    disks,
    elected,
    entries,
    goes_by,
    members,
    server,
    step,
)


def test_a_leader_without_a_committed_entry_is_seen() -> None:
    whole = step(role=Role.LEADER, term=2, log=entries(1, 1))
    short = step(role=Role.LEADER, term=2, log=entries(1))
    commits.leader_has_what_is_committed(Ledger(committed=[0, 1, 1], committed_in={1: 2}), whole)
    assert_violated(
        commits.leader_has_what_is_committed,
        Ledger(committed=[0, 1, 1], committed_in={1: 2}),
        short,
        words="without the committed entry 2",
    )


def test_who_wins_a_term_that_is_over_need_not_have_what_a_later_one_committed() -> None:
    """Seed 29371: the votes of term 5 were held back until term 6 had a leader. Completeness speaks of later terms."""
    ledger = Ledger(committed=[0, 1, 3], committed_in={1: 1, 3: 2})
    commits.leader_has_what_is_committed(ledger, step(role=Role.LEADER, term=2, log=entries(1)))
    with pytest.raises(PromiseBrokenError, match="without the committed entry 2"):
        commits.leader_has_what_is_committed(ledger, step("b", role=Role.LEADER, term=4, log=entries(1)))


def test_an_entry_committed_by_a_deposed_leader_must_be_with_its_successor_already() -> None:
    ledger = Ledger()
    goes_by(commits.leader_has_what_is_committed, note_role, ledger, step("b", role=Role.LEADER, term=2))
    late = step("a", log=entries(1), commit_index=1, transitions=[elected(1), commit(1, entry_term=1, term=1)])
    with pytest.raises(PromiseBrokenError, match="b leads term 2 without the committed entry 1"):
        commits.successors_have_what_is_committed(ledger, late)


def test_a_commit_index_that_goes_back_is_seen() -> None:
    back = step(before=server(commit_index=3), commit_index=2)
    assert_violated(commits.commit_index_never_goes_back, Ledger(), back, words="3 to 2")


def test_a_leader_that_counts_an_entry_of_an_older_term_is_seen() -> None:
    fine = step(before=server(role=Role.LEADER), transitions=[commit(2, entry_term=4, term=4)])
    commits.only_the_leaders_term_is_counted(Ledger(), fine)
    follower = step(transitions=[commit(1, entry_term=2, term=4)])
    commits.only_the_leaders_term_is_counted(Ledger(), follower)
    figure_8 = step(before=server(role=Role.LEADER), transitions=[commit(1, entry_term=2, term=4)])
    assert_violated(commits.only_the_leaders_term_is_counted, Ledger(), figure_8, words="counted entry 1 of term 2")


def test_a_commit_that_is_not_synced_on_a_majority_is_seen() -> None:
    committing = step(before=server(role=Role.LEADER), transitions=[commit(1, entry_term=1, term=1)])
    commits.committed_is_on_a_majority(Ledger(disks=disks(a=[1], b=[], c=[1])), committing)
    alone = Ledger(disks=disks(a=[1], b=[], c=[2]))
    assert_violated(commits.committed_is_on_a_majority, alone, committing, words="that a of a, b, c hold")


def test_a_majority_is_one_of_the_voters_in_force_when_it_was_counted() -> None:
    """A fourth voter that the same round appended afterwards does not count yet; one from before does."""
    ledger = Ledger(disks=disks(a=[1], b=[1], c=[], d=[]))
    counted, fourth = commit(1, entry_term=1, term=1), members(2, "abcd")
    leader = server(role=Role.LEADER)
    commits.committed_is_on_a_majority(ledger, step(before=leader, transitions=[counted, fourth]))
    late = step(before=leader, transitions=[fourth, counted])
    assert_violated(commits.committed_is_on_a_majority, ledger, late, words="a, b of a, b, c, d")


def test_another_entry_committed_at_an_index_is_seen() -> None:
    ledger = Ledger(committed=[0, 1])
    commits.committed_stays(ledger, step("b", log=entries(1), commit_index=1))
    other = step("c", log=entries(2), commit_index=1)
    assert_violated(commits.committed_stays, ledger, other, words="entry 1 of term 2, others that of term 1")


def test_a_follower_that_commits_before_any_leader_is_seen() -> None:
    early = step("b", log=entries(1, 1), commit_index=2)
    assert_violated(commits.committed_stays, Ledger(committed=[0, 1]), early, words="entry 2, which no leader has")


def test_a_snapshot_of_what_is_not_committed_is_seen() -> None:
    installed = step("b", commit_index=5)
    installed.log = Log(base_index=5, base_term=2)
    commits.committed_stays(Ledger(committed=[0, 1, 1, 1, 1, 2]), installed)
    assert_violated(commits.committed_stays, Ledger(committed=[0, 1, 1, 1, 1, 1]), installed, words="entry 5 of term 2")
