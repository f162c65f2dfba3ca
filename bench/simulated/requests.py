"""What a client asks one node, and what it is told: the HTTP surface of the node, without the HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from bench.history import Outcome
from bench.workload import Invocation
from node.machine.kv import Result, Status


class Answer(NamedTuple):
    outcome: Outcome
    reason: str = ""
    """The `error` of the node's body, or the client's own."""
    result: str | None = None
    modify_index: int | None = None


OK = Answer(Outcome.OK)
NOT_LEADER = Answer(Outcome.FAILED, "not leader")
NO_LEADER = Answer(Outcome.FAILED, "no leader")
TRANSFERRING = Answer(Outcome.FAILED, "transferring")
OVERWRITTEN = Answer(Outcome.FAILED, "overwritten")
MISSING = Answer(Outcome.FAILED, "key not found")
SUPERSEDED = Answer(Outcome.UNKNOWN, "superseded")
LEADERSHIP_LOST = Answer(Outcome.UNKNOWN, "leadership lost")
TOO_LATE = Answer(Outcome.UNKNOWN, "timeout")
CONNECTION_LOST = Answer(Outcome.UNKNOWN, "ConnectionError")
NO_ANSWER = Answer(Outcome.UNKNOWN, "ReadTimeout")


def decided(result: Result) -> Answer:
    """What came of a committed command."""
    match result.status:
        case Status.CONFLICT:
            return Answer(Outcome.FAILED, "cas mismatch", modify_index=result.modify_index)
        case Status.MISSING:
            return MISSING
        case Status.SUPERSEDED:
            return SUPERSEDED
    return Answer(Outcome.OK, modify_index=result.modify_index)


class Request:
    """One call, from its invocation until it is settled: answered, broken off, or given up."""

    __slots__ = ("answered", "client", "done", "invocation", "invoked_s", "node", "required_index", "settled")

    def __init__(
        self,
        client: int,
        node: str,
        invocation: Invocation,
        invoked_s: float,
        required_index: int,
        done: Callable[[Request, Answer], None],
    ) -> None:
        self.client = client
        self.node = node
        self.invocation = invocation
        self.invoked_s = invoked_s
        self.required_index = required_index
        """The highest index that anybody had been told of when this was asked."""
        self.done = done
        self.answered = False
        """By the node; the answer may still be under way, or lost."""
        self.settled = False
