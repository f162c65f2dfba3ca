"""Who waits for what: when there is an answer, and when there is none yet."""

from __future__ import annotations

from concurrent.futures import Future

from node.pending import Pending
from node.raft import ReadReady


def test_a_read_is_answered_once_what_was_committed_when_it_was_asked_is_applied() -> None:
    """Thesis 6.4, step 4: confirmed is not enough, for the store may not have got that far."""
    pending = Pending()
    by_heartbeats, by_lease = Future[None](), Future[None]()
    pending.await_confirmation(1, by_heartbeats)
    pending.confirm([ReadReady(ticket=1, index=5)])
    pending.await_applied(5, by_lease)
    for last_applied, answered in ((4, False), (5, True)):
        pending.answer_reads(last_applied)
        pending.give_answers()
        assert (by_heartbeats.done(), by_lease.done()) == (answered, answered)
