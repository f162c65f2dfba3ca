"""What a server keeps, and loses where it must not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.simulated.invariants import Ledger, logs
from bench.simulated.invariants.ledger import Disk, note_entries
from node.raft import Configuration, HardState, Log, Snapshot, SnapshotMeta
from node.raft.transitions import Role
from tests.unit.bench.simulated.invariants.steps import (
    NOTHING,
    assert_violated,
    disks,
    entries,
    entry,
    goes_by,
    raft,
    server,
    step,
)


def test_a_term_that_goes_back_is_seen() -> None:
    logs.term_never_goes_back(Ledger(), step(before=server(term=3), term=3))
    assert_violated(logs.term_never_goes_back, Ledger(), step(before=server(term=3), term=2), words="3 to 2")


def test_a_vote_that_is_on_no_disk_is_seen() -> None:
    ledger = Ledger(disks={"a": Disk(term=1)})
    logs.what_is_believed_is_durable(ledger, step())
    voted = step(voted_for="b")
    assert_violated(
        logs.what_is_believed_is_durable, ledger, voted, words="voted for b; its disk says term 1, for nobody"
    )


def test_an_entry_that_is_on_no_disk_is_seen() -> None:
    ledger = Ledger(disks=disks(a=[1]))
    ledger.disks["a"].term = 1
    logs.what_is_believed_is_durable(ledger, step(log=entries(1)))
    longer = step(log=entries(1, 1))
    assert_violated(logs.what_is_believed_is_durable, ledger, longer, words="entries to 2 of term 1, its disk to 1")


def test_a_match_index_that_goes_back_in_one_reign_is_seen_and_in_the_next_may() -> None:
    before = server(role=Role.LEADER, term=1, matches={"b": 4})
    logs.match_index_never_goes_back(Ledger(), step(before=before, role=Role.LEADER, term=2, matches={"b": 0}))
    back = step(before=before, role=Role.LEADER, term=1, matches={"b": 3})
    assert_violated(logs.match_index_never_goes_back, Ledger(), back, words="for b went from 4 to 3")


def test_another_content_under_one_index_and_term_is_seen() -> None:
    ledger = Ledger()
    goes_by(logs.logs_match, note_entries, ledger, step("a", log=entries(1), stored=entries(1)))
    other = entry(1, 1, b"other")
    assert_violated(logs.logs_match, ledger, step("b", log=[other], stored=[other]), words="b has another entry")


def test_another_history_before_one_index_and_term_is_seen() -> None:
    ledger = Ledger()
    goes_by(logs.logs_match, note_entries, ledger, step("a", log=entries(1, 3), stored=entries(1, 3)))
    late = step("b", log=entries(2, 3), stored=entries(2, 3)[1:])
    assert_violated(logs.logs_match, ledger, late, words="or another before it")


def test_a_match_that_is_not_on_the_followers_disk_is_seen() -> None:
    ledger = Ledger(disks=disks(b=[1, 1]))
    new: dict[str, Any] = {
        "role": Role.LEADER,
        "term": 2,
        "log": entries(1, 2),
        "before": server("a", matches={"b": 1}),
    }
    logs.matches_are_true(ledger, step(matches={"b": 1}, **new))
    words = "a takes b to have entry 2 of term 2, which its disk has not"
    assert_violated(logs.matches_are_true, ledger, step(matches={"b": 2}, **new), words=words)
    ledger.disks["b"].term = 3
    logs.matches_are_true(ledger, step(matches={"b": 2}, **new))


def test_entries_that_go_without_a_conflict_are_seen() -> None:
    """A message that comes late takes back what was acknowledged since (Figure 2, step 3)."""
    ledger = Ledger(disks=disks(a=[1, 1, 1]))
    goes = logs.only_what_conflicts_goes
    assert_violated(goes, ledger, "a", (entry(2, 1),), None, words="a saves entry 2 of term 1 again, and drops")
    goes(ledger, "a", (entry(2, 2),), None)
    ledger.committed = [0, 1, 1]
    assert_violated(goes, ledger, "a", (entry(2, 2),), None, words="a drops the committed entry 2 of term 1")


def test_entries_that_go_for_a_snapshot_which_they_follow_are_seen() -> None:
    """Figure 13, step 6."""
    ledger, configuration = Ledger(disks=disks(a=[1, 1, 1])), Configuration.first([("a", "a:1")])
    goes, snapshot = logs.only_what_conflicts_goes, Snapshot(SnapshotMeta(2, 1, configuration, 1), b"")
    assert_violated(goes, ledger, "a", (), snapshot, words="a drops entries from 3 on for a snapshot of 2")
    goes(ledger, "a", (entry(3, 1),), snapshot)
    goes(ledger, "a", (), Snapshot(SnapshotMeta(2, 2, configuration, 1), b""))


def test_terms_that_go_back_in_a_log_are_seen() -> None:
    goes_back = step(log=[entry(1, 2)], stored=[entry(1, 2)])
    logs.logs_match(Ledger(), goes_back)
    effects = msgspec.structs.replace(NOTHING, entries=(entry(1, 2), entry(2, 1)))
    goes_back.effects = effects
    assert_violated(logs.logs_match, Ledger(), goes_back, words="a has entry 2 of term 1 behind one of 2")


def test_a_disk_that_brings_back_what_was_overwritten_is_seen() -> None:
    """etcd#22442: a tail that had been replaced was alive again after a restart."""
    ledger = Ledger(disks=disks(a=[1, 1, 1]))
    ledger.disks["a"].save(HardState(2), [entry(2, 2)], None)
    logs.disk_comes_back_whole(ledger, "a", raft("a", Log(entries(1, 2)), HardState(2)))
    ghost = raft("a", Log([*entries(1, 2), entry(3, 2)]), HardState(2))
    assert_violated(
        logs.disk_comes_back_whole, ledger, "a", ghost, words="a log to 3; synced were term 2 and a log to 2"
    )


def test_a_disk_that_forgets_a_vote_is_seen() -> None:
    ledger = Ledger(disks={"a": Disk(term=2, voted_for="b")})
    logs.disk_comes_back_whole(ledger, "a", raft("a", hard_state=HardState(2, "b")))
    forgetful = raft("a", hard_state=HardState(2))
    assert_violated(logs.disk_comes_back_whole, ledger, "a", forgetful, words="came back in term 2")


@pytest.mark.parametrize(("first_kept", "trailing_logs"), [(9, 0), (6, 3), (2, 9)])
def test_entries_that_are_let_go_and_that_no_durable_snapshot_spares_are_seen(
    first_kept: int, trailing_logs: int
) -> None:
    ledger = Ledger(disks={"a": Disk(snapshot_index=7)})
    judge = logs.only_what_a_snapshot_stands_for_goes
    judge(ledger, "a", first_kept - 1, trailing_logs)
    assert_violated(judge, ledger, "a", first_kept, trailing_logs, words=f"before {first_kept}, with a snapshot of 7")
