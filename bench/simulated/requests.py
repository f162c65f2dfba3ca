"""What a client asks one node, and what it is told: the HTTP surface of the node, without the HTTP."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from bench.operations import (
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    GetAll,
    Join,
    Leave,
    Outcome,
    Put,
    Question,
    SetAll,
    TakeSnapshot,
    Told,
    Transfer,
    Writing,
)
from node.machine.kv import Batch, Command, Decision, DeleteKey, Result, SetKey
from node.server import (
    NOT_LEADER,
    REFUSALS,
    AddServer,
    Answer,
    Consistency,
    MakeSnapshot,
    Meaning,
    Read,
    RemoveServer,
    Status,
    TransferLeadership,
    Write,
    meaning_of,
)
from node.server import Question as ServerQuestion

CONNECTION_LOST = Told(Outcome.UNKNOWN, "ConnectionError")
NO_ANSWER = Told(Outcome.UNKNOWN, "ReadTimeout")


class Request:
    """One call, from its invocation until it is settled: answered, broken off, or given up."""

    __slots__ = (
        "answered",
        "applied_index",
        "asked",
        "client",
        "done",
        "node",
        "question",
        "required_index",
        "settled",
    )

    def __init__(
        self, client: int, node: str, asked: Question, required_index: int, done: Callable[[Request, Told], None]
    ) -> None:
        self.client = client
        self.node = node
        self.asked = asked
        self.question = question_of(asked)
        """The same, in the server's own terms."""
        self.required_index = required_index
        """The highest index that any client had been told of when this was asked."""
        self.applied_index = sys.maxsize
        """What the node had applied when this reached it."""
        self.done = done
        self.answered = False
        """By the node; the answer may still be under way, or lost."""
        self.settled = False


# What is asked

CONSISTENCY = {
    Freshness.STALE: Consistency.DEFAULT,
    Freshness.LEASE: Consistency.LEADER,
    Freshness.LINEARIZABLE: Consistency.CONSISTENT,
}


def question_of(asked: Question) -> ServerQuestion:
    match asked:
        case Get(key=key, freshness=freshness):
            return Read((key,), CONSISTENCY[freshness])
        case GetAll(keys=keys):
            return Read(keys)
        case Join(node=node, address=address):
            return AddServer(node, address)
        case Leave(node=node):
            return RemoveServer(node)
        case Transfer(to=to):
            return TransferLeadership(to or None)
        case TakeSnapshot():
            return MakeSnapshot()
        case _:
            return Write(_command(asked).encode())


def _command(asked: Writing) -> Command:
    return Command(_operation(asked), asked.client_id, asked.sequence)


def _operation(asked: Writing) -> SetKey | DeleteKey | Batch:
    match asked:
        case Put(key=key, value=value):
            return SetKey(key, value)
        case Cas(key=key, value=value, expected_index=expected):
            return SetKey(key, value, cas=expected)
        case Delete(key=key, expected_index=expected):
            return DeleteKey(key, expected)
        case SetAll(items=items):
            return Batch(tuple(SetKey(item.key, item.value or "", cas=item.expected_index) for item in items))
        case DeleteAll(items=items):
            return Batch(tuple(DeleteKey(item.key, item.expected_index) for item in items))


# What is told


def told_of(asked: Question, answer: Answer, status: Status, now: float) -> Told:
    """What the HTTP surface of a node with this status makes of an answer at `now`, by its clock."""
    answer = answer.at(now)
    if answer.error is not None:
        return refusal_of(answer.error, status, now)
    value = answer.value
    if isinstance(value, Result):
        return decided(value)
    return Told(Outcome.OK, result=_result(asked, value))


def _result(asked: Question, value: Any) -> str | Mapping[str, str] | None:
    match asked:
        case Get(key=key):
            found = value[key]
            return found.value if found else None
        case GetAll():
            return {key: found.value for key, found in value.items() if found}
        case Transfer():
            return str(value)
        case _:
            return None


def refusal_of(error: Exception, status: Status, now: float) -> Told:
    elsewhere = status.elsewhere_at(now)
    meaning = meaning_of(error, leader_known=elsewhere is not None)
    if elsewhere is None or meaning is not NOT_LEADER:
        return _refused(meaning)
    # In virtual time an address begins with the name of who lives there.
    return _refused(meaning)._replace(elsewhere=elsewhere.http_address.partition(":")[0])


def decided(result: Result) -> Told:
    """What a client is told of a committed command."""
    refusal = REFUSALS.get(result.status)
    if refusal is None:
        return Told(Outcome.OK, modify_index=result.modify_index)
    found = result.modify_index if result.status is Decision.CONFLICT else None
    return _refused(refusal)._replace(modify_index=found)


def _refused(meaning: Meaning) -> Told:
    return Told(Outcome.FAILED if meaning.certain else Outcome.UNKNOWN, meaning.name)
