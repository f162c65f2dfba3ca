"""Who waits for what: when there is an answer, and when there is none yet."""

from __future__ import annotations

import math

from node.pending import Pending
from node.questions import Consistency, Read
from node.raft import LogPosition, ReadReady


def test_a_read_is_answered_once_what_was_committed_when_it_was_asked_is_applied() -> None:
    """Thesis 6.4, step 4: confirmed is not enough, for the store may not have got that far."""
    pending = Pending()
    pending.await_confirmation(1, Read(("k",), Consistency.CONSISTENT), "by heartbeats")
    pending.confirm([ReadReady(ticket=1, index=5)])
    pending.await_applied(5, Read(("k",), Consistency.LEADER), "by lease")
    for last_applied, answered in ((4, []), (5, ["by heartbeats", "by lease"])):
        pending.answer_reads(LogPosition(last_applied, 1), lambda keys: keys, math.inf, now=0.0)
        assert [answer.to for answer in pending.take_answers()] == answered
