"""Changes, hand-overs and snapshots that are told as done and are not."""

from __future__ import annotations

from typing import Any

import pytest

from bench.operations import Join, Leave, Question, TakeSnapshot, Transfer
from bench.simulated.invariants import Ledger, operators
from bench.simulated.invariants.ledger import Disk, Step, note_asked, note_stopping
from bench.simulated.requests import Request
from node.raft import Configuration, EntryKind, TimeoutNow
from tests.unit.bench.simulated.invariants.steps import ABC, assert_violated, entry, step

FIRST = Configuration.first([("a", "a:1"), ("b", "b:1"), ("c", "c:1")])


def asked(question: Question, *, required_index: int = 0) -> Request:
    return Request(1, "a", question, required_index, lambda request, told: None)


def committed(*configurations: Configuration) -> Ledger:
    """One after the other, from entry 1 on."""
    entries = [entry(index, 1, each.encode(), EntryKind.CONFIGURATION) for index, each in enumerate(configurations, 1)]
    return Ledger(
        committed=[0, *(1 for _ in entries)],
        configurations=[(each.index, ABC) for each in entries],
        entries={(each.index, 1): (1, each) for each in entries},
    )


def tells(recipient: str, **changed: Any) -> Step:
    return step("a", messages=[TimeoutNow(sender="a", recipient=recipient, term=1)], **changed)


def test_a_hand_over_to_another_than_was_asked_for_is_seen() -> None:
    ledger = Ledger()
    note_asked(ledger, "a", asked(Transfer("b")))
    operators.the_one_asked_for_is_told_to_stand(ledger, tells("b"))
    operators.the_one_asked_for_is_told_to_stand(ledger, tells("c", voters=("b", "c")))
    assert_violated(operators.the_one_asked_for_is_told_to_stand, ledger, tells("c"), words="a tells c .* was b")
    note_stopping(ledger, "a")
    operators.the_one_asked_for_is_told_to_stand(ledger, tells("c"))


def test_whoever_is_asked_for_nobody_in_particular_may_choose() -> None:
    ledger = Ledger()
    note_asked(ledger, "a", asked(Transfer()))
    operators.the_one_asked_for_is_told_to_stand(ledger, tells("c"))


@pytest.mark.parametrize(("server", "address"), [("d", "d:1"), ("c", "c:2")])
def test_a_join_that_was_never_committed_is_seen(server: str, address: str) -> None:
    ledger = committed(FIRST)
    operators.joined_is_a_voter(ledger, "a", asked(Join("c", "c:1")), None)
    assert_violated(operators.joined_is_a_voter, ledger, "a", asked(Join(server, address)), None, words="never commit")


def test_a_leave_that_was_never_committed_is_seen() -> None:
    left = asked(Leave("c"), required_index=1)
    operators.who_left_is_gone(committed(FIRST, FIRST.without_server("c")), "a", left, None)
    assert_violated(operators.who_left_is_gone, committed(FIRST), "a", left, None, words="c is gone; that was never")


def test_who_left_before_it_was_asked_for_and_came_back_is_not_gone() -> None:
    ledger = committed(FIRST.without_server("c"), FIRST)
    left = asked(Leave("c"), required_index=2)
    assert_violated(operators.who_left_is_gone, ledger, "a", left, None, words="c is gone; that was never")


@pytest.mark.parametrize("successor", [None, "a", "c"])
def test_a_successor_that_nobody_elected_after_it_is_seen(successor: str | None) -> None:
    ledger = Ledger(leaders={1: "c", 2: "a", 3: "b"})
    operators.successor_was_elected(ledger, "a", asked(Transfer()), "b")
    assert_violated(operators.successor_was_elected, ledger, "a", asked(Transfer()), successor, words="nobody elected")


@pytest.mark.parametrize("index", [4, 8])
def test_a_snapshot_that_is_not_on_the_disk_or_lacks_what_was_applied_is_seen(index: int) -> None:
    ledger, request = Ledger(disks={"a": Disk(snapshot_index=7)}), asked(TakeSnapshot())
    request.applied_index = 5
    operators.snapshot_is_there(ledger, "a", request, 7)
    assert_violated(operators.snapshot_is_there, ledger, "a", request, index, words=f"a snapshot of {index}")
