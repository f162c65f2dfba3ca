"""What a client asks one node, and what it is told: the HTTP surface of the node, without the HTTP."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bench.history import Outcome
from bench.workload import Invocation
from node.machine.kv import Batch, Command, Delete, Put, Result, Status
from node.server import (
    REFUSALS,
    Answer,
    Consistency,
    Join,
    Leave,
    Meaning,
    Question,
    Read,
    TakeSnapshot,
    Transfer,
    Write,
    meaning_of,
)
from node.server import Status as NodeStatus


class Told(NamedTuple):
    """What a client hears of its question."""

    outcome: Outcome
    reason: str = ""
    """The `error` of the node's body, or the client's own."""
    result: str | None = None
    modify_index: int | None = None


CONNECTION_LOST = Told(Outcome.UNKNOWN, "ConnectionError")
NO_ANSWER = Told(Outcome.UNKNOWN, "ReadTimeout")


class Request:
    """One call, from its invocation until it is settled: answered, broken off, or given up."""

    __slots__ = (
        "answered",
        "applied_index",
        "client",
        "done",
        "invocation",
        "invoked_s",
        "node",
        "question",
        "required_index",
        "settled",
    )

    def __init__(
        self,
        client: int,
        node: str,
        invocation: Invocation,
        invoked_s: float,
        required_index: int,
        done: Callable[[Request, Told], None],
    ) -> None:
        self.client = client
        self.node = node
        self.invocation = invocation
        self.question = question_of(invocation)
        self.invoked_s = invoked_s
        self.required_index = required_index
        """The highest index that anybody had been told of when this was asked."""
        self.applied_index = sys.maxsize
        """What the node had applied when this reached it."""
        self.done = done
        self.answered = False
        """By the node; the answer may still be under way, or lost."""
        self.settled = False


# What is asked

COMMANDS: dict[str, Callable[[Invocation], Put | Delete | Batch]] = {
    "put": lambda asked: Put(asked.key, asked.value or ""),
    "cas": lambda asked: Put(asked.key, asked.value or "", cas=asked.modify_index),
    "delete": lambda asked: Delete(asked.key, asked.modify_index),
    "batch_set": lambda asked: Batch(tuple(Put(key, value or "", cas=cas) for key, value, cas in asked.items)),
    "batch_delete": lambda asked: Batch(tuple(Delete(key, cas) for key, _, cas in asked.items)),
}
QUESTIONS: dict[str, Callable[[Invocation], Question]] = {
    **dict.fromkeys(COMMANDS, lambda asked: Write(_command(asked).encode())),
    "get": lambda asked: Read((asked.key,), Consistency.CONSISTENT if asked.consistent else Consistency.DEFAULT),
    "lease_get": lambda asked: Read((asked.key,), Consistency.LEADER),
    "batch_get": lambda asked: Read(tuple(item.key for item in asked.items)),
    "join": lambda asked: Join(asked.key, asked.value or ""),
    "leave": lambda asked: Leave(asked.key),
    "transfer": lambda asked: Transfer(asked.key or None),
    "snapshot": lambda asked: TakeSnapshot(),
}


def question_of(invocation: Invocation) -> Question:
    return QUESTIONS[invocation.kind](invocation)


def _command(asked: Invocation) -> Command:
    return Command(COMMANDS[asked.kind](asked), asked.client_id, asked.sequence)


# What is told


def told_of(invocation: Invocation, answer: Answer, status: NodeStatus, now: float) -> Told:
    """What the HTTP surface of a node with this status makes of an answer at `now`, by its clock."""
    answer = answer.at(now)
    if answer.error is not None:
        return refusal_of(answer.error, status, now)
    value = answer.value
    if isinstance(value, Result):
        return decided(value)
    return Told(Outcome.OK, result=RESULTS.get(invocation.kind, _nothing)(value))


def refusal_of(error: Exception, status: NodeStatus, now: float) -> Told:
    return _refused(meaning_of(error, leader_known=status.elsewhere_at(now) is not None))


def decided(result: Result) -> Told:
    """What came of a committed command."""
    refusal = REFUSALS.get(result.status)
    if refusal is None:
        return Told(Outcome.OK, modify_index=result.modify_index)
    found = result.modify_index if result.status is Status.CONFLICT else None
    return _refused(refusal)._replace(modify_index=found)


def _refused(meaning: Meaning) -> Told:
    return Told(Outcome.FAILED if meaning.certain else Outcome.UNKNOWN, meaning.name)


def _one(found: Mapping[str, Any]) -> str | None:
    (value,) = found.values()
    return value.value if value else None


def _all(found: Mapping[str, Any]) -> str:
    return json.dumps({key: value.value for key, value in found.items() if value})


def _nothing(_: object) -> None:
    return None


RESULTS: dict[str, Callable[[Any], str | None]] = {
    "get": _one,
    "lease_get": _one,
    "batch_get": _all,
    "transfer": str,
}
