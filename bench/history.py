"""Operations and histories: what clients asked and what they were told, as values.

An operation's outcome is OK (acknowledged), FAILED (it definitely did not happen) or UNKNOWN (it may or may not have
happened, now or later). A timeout is UNKNOWN, never FAILED: the request may be waiting in a socket somewhere. Times are
seconds on the machine's monotonic clock, the one every node of the cluster stamps its trace with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

DECISIONS = ("cas mismatch", "key not found")
"""What a state machine refuses with. Whoever is refused with anything else may ask somebody else."""


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Try(NamedTuple):
    node: str
    invoked_s: float


@dataclass(frozen=True)
class Operation:
    """One call of one client: from `invoked_s` to `completed_s`, and what came back. `node` is whom it asked last."""

    client: int
    node: str
    kind: str
    """``put``, ``get``, ``delete`` or ``cas``."""
    key: str
    value: str | None
    """What was asked to be written, None for a read or a delete."""
    outcome: Outcome
    invoked_s: float
    completed_s: float
    result: str | None = None
    """What a successful read returned; None for a missing key."""
    modify_index: int | None = None
    reason: str = ""
    """Why it was not OK, in the node's words."""
    client_id: str = ""
    sequence: int = 0
    """Beside `client_id`, what makes several tries one write; 0 is one that is never tried again."""
    tries: tuple[Try, ...] = ()
    """Of a write that was tried again: each try."""

    @property
    def questions(self) -> tuple[Try, ...]:
        """What was sent, and to whom: the tries, or the only one."""
        return self.tries or (Try(self.node, self.invoked_s),)

    @property
    def decided(self) -> bool:
        """Whether a state machine has said what came of it: asking again would bring nothing more."""
        return self.outcome is Outcome.OK or self.reason in DECISIONS


def as_one(first: Operation, second: Operation) -> Operation:
    """Two tries of one write, which takes effect once: one operation, from the first question to the last answer.

    What a state machine said to one of them holds for both. Short of that it FAILED only if every try did: who is told
    "overwritten" may yet see an earlier try committed, whose answer was lost.
    """
    told = first if first.decided else second
    if not told.decided and Outcome.UNKNOWN in (first.outcome, second.outcome):
        told = replace(told, outcome=Outcome.UNKNOWN)
    return replace(told, invoked_s=first.invoked_s, tries=first.questions + second.questions)


def joined(tries: Iterable[Operation]) -> Iterator[Operation]:
    """The tries of each write as one operation, where the last of them stands."""
    operations: dict[object, Operation] = {}
    for number, one in enumerate(tries):
        write = (one.client_id, one.sequence, one.kind, one.key) if one.sequence else number
        former = operations.pop(write, None)
        operations[write] = one if former is None else as_one(former, one)
    return iter(operations.values())


class History:
    """Operations in the order in which they completed; a write that was tried again is one of them. Appending is
    atomic; reading sees a prefix."""

    def __init__(self) -> None:
        self._tries: list[Operation] = []

    def record(self, operation: Operation) -> Operation:
        self._tries.append(operation)
        return operation

    def __iter__(self) -> Iterator[Operation]:
        return joined(tuple(self._tries))
