"""`Pending`: who waits for what, from the question to the answer. Pure.

Answers are kept until the round is over and the status is published (`take_answers`), because a client that is told
"not leader" is sent to the leader that the status names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from node.errors import LeadershipLostError, OverwrittenError
from node.questions import Answer, Consistency, Read
from node.raft import Entry, LogPosition, ReadReady


class _Proposal(NamedTuple):
    position: LogPosition
    proposed_at_s: float
    to: Any


class Pending:
    """`to`, given with each question, stands for the client to answer; nothing here looks at it."""

    def __init__(self) -> None:
        self._proposals: dict[int, _Proposal] = {}
        self._confirmations: dict[int, tuple[Read, Any]] = {}
        self.reads: list[tuple[int, Read, Any]] = []
        """Each read waits for the entry at this index to be applied."""
        self.answers: list[Answer] = []
        """The answers that nobody has been told yet."""
        self.waited_s: list[float] = []
        """How long each write decided meanwhile had waited, in seconds."""

    def answer(self, to: Any, value: Any, position: LogPosition | None = None, until_s: float = math.inf) -> None:
        self.answers.append(Answer(to, value, None, until_s, position))

    def refuse(self, to: Any, error: Exception) -> None:
        self.answers.append(Answer(to, None, error))

    def take_answers(self) -> list[Answer]:
        answers, self.answers = self.answers, []
        return answers

    def take_waits(self) -> list[float]:
        waited_s, self.waited_s = self.waited_s, []
        return waited_s

    def await_decision(self, position: LogPosition, to: Any, now: float) -> None:
        """The client waits for the entry at `position` to be decided."""
        self._proposals[position.index] = _Proposal(position, now, to)

    def decide(self, entry: Entry, result: Any, now: float) -> None:
        """`entry` is committed and applied, with this result. Only index and term together say whose entry it is."""
        proposal = self._proposals.pop(entry.index, None)
        if proposal is None:
            return
        if proposal.position.term != entry.term:
            self.refuse(proposal.to, OverwrittenError(f"another leader's entry stands at index {entry.index}"))
            return
        self.answer(proposal.to, result, proposal.position)
        self.waited_s.append(now - proposal.proposed_at_s)

    def await_confirmation(self, ticket: int, read: Read, to: Any) -> None:
        self._confirmations[ticket] = read, to

    def await_applied(self, index: int, read: Read, to: Any) -> None:
        self.reads.append((index, read, to))

    def confirm(self, reads: Iterable[ReadReady]) -> None:
        """The core says that these reads are confirmed, or that leadership was lost first."""
        for ready in reads:
            read, to = self._confirmations.pop(ready.ticket)
            if ready.index is None:
                self.refuse(to, LeadershipLostError("leadership was lost before the read was confirmed"))
            else:
                self.await_applied(ready.index, read, to)

    def answer_reads(
        self, applied: LogPosition, values: Callable[[tuple[str, ...]], Any], lease_until_s: float, now: float
    ) -> None:
        """Answer each read whose index is applied (thesis 6.4, step 4). A read by lease is answered only while the
        lease holds: a save or a SIGSTOP may have taken time since the lease was checked."""
        waiting, self.reads = self.reads, []
        for index, read, to in waiting:
            by_lease = read.consistency is Consistency.LEADER
            if by_lease and now >= lease_until_s:
                self.refuse(to, LeadershipLostError("the lease was over before the read could be answered"))
            elif index <= applied.index:
                self.answer(to, values(read.keys), applied, lease_until_s if by_lease else math.inf)
            else:
                self.reads.append((index, read, to))

    def lose_leadership(self) -> None:
        """Refuse what was proposed and is not decided: this node will not hear how it ends. Refuse linearizable reads
        too: one may wait for the no-op of the lost term, which may never be committed."""
        error = LeadershipLostError("leadership was lost before this was decided; it may or may not take effect")
        reads = [(read, to) for _, read, to in self.reads if read.consistency is not Consistency.DEFAULT]
        for to in [*(proposal.to for proposal in self._proposals.values()), *(to for _, to in reads)]:
            self.refuse(to, error)
        self._proposals.clear()
        self.reads = [waiting for waiting in self.reads if waiting[1].consistency is Consistency.DEFAULT]

    def interrupt(self, to: Any) -> None:
        """The node goes down while this is under way."""
        error = LeadershipLostError("the node went down before this was decided; it may or may not take effect")
        self.refuse(to, error)

    def give_up(self) -> None:
        """The node goes down, and nothing that waits here will be decided."""
        proposed = [proposal.to for proposal in self._proposals.values()]
        for to in [*proposed, *(to for _, to in self._confirmations.values()), *(to for _, _, to in self.reads)]:
            self.interrupt(to)
