"""What must happen in time, demanded only when it is owed."""

from __future__ import annotations

from bench.simulated.invariants.ledger import Ledger, Step
from bench.simulated.invariants.progress import Mark
from bench.simulated.invariants.violation import listed, violated
from node.raft import Role
from node.raft.quorum import has_majority
from node.server import Consistency, MakeSnapshot, Question, Read, TransferLeadership

PROGRESS = 1
"""Election timeouts within which a leader in touch commits what it has, and brings a follower in touch up to date."""
PATIENCE = 10
"""Election timeouts within which a connected majority must have a leader."""


def connected_majority_has_a_leader(ledger: Ledger, election_timeout_s: float, at_s: float) -> None:
    """Liveness when owed: a majority whose members hear one another without trouble has a leader within `PATIENCE`."""
    touch = ledger.touch
    if at_s > touch.since_s + PATIENCE * election_timeout_s:
        words = f"{listed(touch.core)} hear one another, and none led for {at_s - touch.since_s:.1f} s"
        violated(connected_majority_has_a_leader, words)


def what_a_leader_takes_on_is_committed(ledger: Ledger, step: Step) -> None:
    """Progress when owed, also amid faults: what a leader had in its log, while a majority of its voters and it heard
    one another without a break, is committed within `PROGRESS`."""
    mark = _owed(ledger, step)
    if mark is None or step.commit_index >= mark.last_index:
        return
    in_touch = [name for name in step.voters if _in_touch(ledger, step.name, name, mark)]
    if has_majority(in_touch, step.voters):
        words = f"{step.name} has committed {step.commit_index}; it had {mark.last_index} entries at {mark.at_s:.3f}"
        violated(what_a_leader_takes_on_is_committed, f"{words}, and has heard {listed(in_touch)} all the while")


def followers_catch_up(ledger: Ledger, step: Step) -> None:
    """Progress when owed, also amid faults: whoever hears a leader without a break, and is heard by it, has within
    `PROGRESS` what the leader had committed before, be it from its log or from a snapshot."""
    mark = _owed(ledger, step)
    if mark is None:
        return
    for name, match in step.matches.items():
        if match < mark.commit_index and _in_touch(ledger, step.name, name, mark):
            words = f"{name} is known to have {match} of the {mark.commit_index} entries that {step.name} had committed"
            violated(followers_catch_up, f"{words} at {mark.at_s:.3f}, and has heard it all the while")


def _owed(ledger: Ledger, step: Step) -> Mark | None:
    """What this leader had when its time for it began; None if nothing is owed yet, or it was looked at just now."""
    if step.role is not Role.LEADER or not ledger.progress.is_due(step.name, step.at_s):
        return None
    patience_s = PROGRESS * step.before.raft.timing.election_timeout_s
    return ledger.progress.before(
        step.name, step.at_s - patience_s, term=step.term, configuration_index=step.configuration_index
    )


def _in_touch(ledger: Ledger, leader: str, name: str, mark: Mark) -> bool:
    return name == leader or ledger.progress.in_touch_since(leader, name) <= mark.at_s


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
