"""What must happen in time, demanded only when it is owed."""

from __future__ import annotations

from bench.simulated.invariants.ledger import Ledger
from bench.simulated.invariants.violation import listed, violated
from node.raft import Role
from node.server import Consistency, MakeSnapshot, Question, Read, TransferLeadership

PATIENCE = 10
"""Election timeouts within which a connected majority must have a leader."""


def connected_majority_has_a_leader(ledger: Ledger, election_timeout_s: float, at_s: float) -> None:
    """Liveness when owed: a majority whose members hear one another without trouble has a leader within `PATIENCE`."""
    touch = ledger.touch
    if at_s > touch.since_s + PATIENCE * election_timeout_s:
        words = f"{listed(touch.core)} hear one another, and none led for {at_s - touch.since_s:.1f} s"
        violated(connected_majority_has_a_leader, words)


def nobody_waits_in_vain(ledger: Ledger, name: str, question: Question, busy: bool) -> None:
    """A client that waits at a server that can do nothing for it is told so, and does not have to time out.

    Called when a question's time is over. A leader may wait for others, and one that hands over for its successor; a
    stale read or a snapshot waits for nobody. A `busy` server may not have taken the question in yet.
    """
    leads = ledger.servers[name].role is Role.LEADER
    waits_for_nobody = isinstance(question, MakeSnapshot) or (
        isinstance(question, Read) and question.consistency is Consistency.DEFAULT
    )
    if not busy and (waits_for_nobody or not (leads or isinstance(question, TransferLeadership))):
        violated(nobody_waits_in_vain, f"{name}, which leads: {leads}, has never answered {question}")


def questions_are_answered_in_the_end(name: str, question: Question) -> None:
    """With every fault over, each question that reached a live server has an answer."""
    violated(questions_are_answered_in_the_end, f"{name} has not answered {question}")
