"""Members that change too early, or too many at once."""

from __future__ import annotations

import msgspec

from bench.simulated.invariants import Ledger, membership
from node.raft import EntryKind
from node.raft.transitions import Role
from tests.unit.bench.simulated.invariants.steps import ABC, assert_violated, entry, members, server, step


def test_a_configuration_that_its_log_has_no_more_is_seen() -> None:
    """Thesis 4.1: it goes back when its entry is cut."""
    follows = [entry(1, 1, kind=EntryKind.CONFIGURATION), entry(2, 1)]
    membership.configuration_is_the_logs(Ledger(), step(log=follows, configuration_index=1))
    for index in (2, 3):
        stale = step(log=follows, configuration_index=index)
        assert_violated(membership.configuration_is_the_logs, Ledger(), stale, words=f"a configuration at {index}")


def test_two_voters_added_at_once_are_seen() -> None:
    leader, ledger = (
        server(role=Role.LEADER, configuration_index=1),
        Ledger(committed=[0, 1], configurations=[(1, ABC)]),
    )
    membership.members_change_one_at_a_time(ledger, step(before=leader, transitions=[members(2, "abcd")]))
    both = step(before=leader, transitions=[members(2, "abcde")])
    assert_violated(membership.members_change_one_at_a_time, ledger, both, words="from a, b, c to a, b, c, d, e")


def test_a_change_before_the_last_one_has_committed_is_seen() -> None:
    leader = server(role=Role.LEADER, configuration_index=2, voters=("a", "b", "c", "d"))
    early, ledger = (
        step(before=leader, transitions=[members(3, "abc")]),
        Ledger(committed=[0, 1], configurations=[(1, ABC)]),
    )
    assert_violated(membership.members_change_one_at_a_time, ledger, early, words="at 3 before entry 2 has committed")


def test_a_change_before_anything_of_the_leaders_term_has_committed_is_seen() -> None:
    leader, ledger = server(role=Role.LEADER, configuration_index=1), Ledger(committed=[0, 1])
    change = msgspec.structs.replace(members(3, "abcd"), term=2)
    early = step(before=leader, term=2, transitions=[change])
    words = "at 3 with nothing of its term 2 committed"
    assert_violated(membership.members_change_one_at_a_time, ledger, early, words=words)


def test_a_change_to_what_the_committed_voters_are_no_more_is_seen() -> None:
    """The bug of 2015: a leader that never committed in its own term builds on a configuration that is outdated."""
    leader = server(role=Role.LEADER, configuration_index=1, voters=("a", "b", "c", "d"))
    concurrent = step(before=leader, transitions=[members(3, "abcde")])
    ledger = Ledger(committed=[0, 1, 1], configurations=[(2, ("b", "c", "d"))])
    assert_violated(membership.members_change_one_at_a_time, ledger, concurrent, words="from b, c, d to a, b, c, d, e")
