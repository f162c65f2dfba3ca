"""Who waits for what: when there is an answer, and when there is none yet."""

from __future__ import annotations

import math

from node.errors import LeadershipLostError, OverwrittenError
from node.pending import Pending
from node.questions import Consistency, Read
from node.raft import Entry, EntryKind, LogPosition, ReadReady


def test_a_read_is_answered_once_what_was_committed_when_it_was_asked_is_applied() -> None:
    """Thesis 6.4, step 4: confirmed is not enough, for the store may not have got that far."""
    pending = Pending()
    pending.await_confirmation(1, Read(("k",), Consistency.CONSISTENT), "by heartbeats")
    pending.confirm([ReadReady(ticket=1, index=5)])
    pending.await_applied(5, Read(("k",), Consistency.LEADER), "by lease")
    for last_applied, answered in ((4, []), (5, ["by heartbeats", "by lease"])):
        pending.answer_reads(LogPosition(last_applied, 1), lambda keys: keys, math.inf, now=0.0)
        assert [answer.to for answer in pending.take_answers()] == answered


def test_what_another_leader_put_at_its_index_acknowledges_no_write() -> None:
    """Only index and term together say whose entry it is (§5.3)."""
    pending = Pending()
    pending.await_decision(LogPosition(5, 1), "me", now=0.0)
    pending.decide(Entry(5, 2, EntryKind.COMMAND, b""), "done", now=1.0)
    (told,) = pending.take_answers()
    assert isinstance(told.error, OverwrittenError)
    assert pending.take_waits() == []


def test_each_read_is_told_of_its_own_confirmation() -> None:
    pending = Pending()
    for ticket in (1, 2):
        pending.await_confirmation(ticket, Read(("k",), Consistency.CONSISTENT), ticket)
    pending.confirm([ReadReady(ticket=1, index=5), ReadReady(ticket=2, index=None)])
    pending.answer_reads(LogPosition(5, 1), lambda keys: keys, math.inf, now=0.0)
    assert {answer.to: answer.error is None for answer in pending.take_answers()} == {1: True, 2: False}


def test_a_read_that_waits_for_the_first_entry_of_a_reign_does_not_wait_for_it_when_the_reign_is_over() -> None:
    """It may never be committed. What may be stale is told all the same."""
    pending = Pending()
    for consistency in Consistency:
        pending.await_applied(5, Read(("k",), consistency), consistency)
    pending.lose_leadership()
    refused = [answer.to for answer in pending.take_answers() if isinstance(answer.error, LeadershipLostError)]
    assert refused == [Consistency.CONSISTENT, Consistency.LEADER]
    pending.answer_reads(LogPosition(5, 1), lambda keys: keys, -math.inf, now=0.0)
    assert [answer.to for answer in pending.take_answers()] == [Consistency.DEFAULT]
