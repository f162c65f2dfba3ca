"""`Pending`: who waits for what, from the question until there is something to say.

An answer is not given when it is known but when the round is over and the status published (`give_answers`): who is
told "not leader" looks there for whom to turn to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple, TypeVar

from node.errors import LeadershipLostError, OverwrittenError
from node.machine.kv import Result
from node.raft import Entry, LogPosition, ReadReady

T = TypeVar("T")


class _Proposal(NamedTuple):
    term: int
    proposed_at_s: float
    future: Future[Any]


class Pending:
    """The futures handed out to other threads. Belongs to the driver's thread."""

    def __init__(self) -> None:
        self._proposals: dict[int, _Proposal] = {}
        self._confirmations: dict[int, Future[None]] = {}
        self._reads: list[tuple[int, Future[None]]] = []
        self._answers: list[Callable[[], None]] = []

    def answer(self, future: Future[T], value: T) -> None:
        self._answers.append(partial(future.set_result, value))

    def refuse(self, future: Future[Any], error: Exception) -> None:
        self._answers.append(partial(future.set_exception, error))

    def give_answers(self) -> None:
        answers, self._answers = self._answers, []
        for answer in answers:
            answer()

    def await_decision(self, position: LogPosition, future: Future[Any], now: float) -> None:
        """`future` is about what stands at `position`."""
        self._proposals[position.index] = _Proposal(position.term, now, future)

    def decide(self, entry: Entry, result: Result | None, now: float) -> float | None:
        """`entry` is committed and applied; how long whoever waited for it has waited, None if nobody did."""
        proposal = self._proposals.pop(entry.index, None)
        if proposal is None:
            return None
        if proposal.term != entry.term:
            self.refuse(proposal.future, OverwrittenError(f"another leader's entry stands at index {entry.index}"))
            return None
        self.answer(proposal.future, result)
        return now - proposal.proposed_at_s

    def await_confirmation(self, ticket: int, future: Future[None]) -> None:
        self._confirmations[ticket] = future

    def await_applied(self, index: int, future: Future[None]) -> None:
        self._reads.append((index, future))

    def confirm(self, reads: Iterable[ReadReady]) -> None:
        """What the core says of reads."""
        for ready in reads:
            future = self._confirmations.pop(ready.ticket)
            if ready.index is None:
                self.refuse(future, LeadershipLostError("leadership was lost before the read was confirmed"))
            else:
                self.await_applied(ready.index, future)

    def answer_reads(self, last_applied: int) -> None:
        waiting, self._reads = self._reads, []
        for index, future in waiting:
            if index <= last_applied:
                self.answer(future, None)
            else:
                self._reads.append((index, future))

    def lose_leadership(self) -> None:
        """What was proposed and is not decided yet: nobody here will hear how it ends."""
        error = LeadershipLostError("leadership was lost before this was decided; it may or may not take effect")
        for proposal in self._proposals.values():
            self.refuse(proposal.future, error)
        self._proposals.clear()

    def give_up(self) -> None:
        """The node goes down."""
        error = LeadershipLostError("the node went down before this was decided; it may or may not take effect")
        waiting = [proposal.future for proposal in self._proposals.values()]
        for future in [*waiting, *self._confirmations.values(), *(future for _, future in self._reads)]:
            self.refuse(future, error)
