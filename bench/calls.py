"""Operations of our clients as calls of the model `kv`. Pure.

What a client was told decides what is said of the call. OK: it took effect in between. UNKNOWN: it may have, or may
yet, or never will, so a write stays open for ever and a read says nothing. FAILED: it has not happened, and is no call;
but what the state machine itself refused (`bench.operations.DECISIONS`) did look at the key, and found it not as
expected.

Where requests may come twice, one that was refused may have been taken on when it came again, so only a state machine's
refusal is one; and a write that is not numbered may take effect a second time.

Of reads, only those are calls that promise to be fresh. A plain read, and a read of several keys, may be of any time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from bench.models import Call, Refused
from bench.operations import (
    DECISIONS,
    Cas,
    Delete,
    DeleteAll,
    Freshness,
    Get,
    Operation,
    Outcome,
    Put,
    Question,
    SetAll,
)

FRESH = (Freshness.LINEARIZABLE, Freshness.LEASE)
"""Reads that are linearizable while clocks run alike."""

WRITES: dict[type[Question], tuple[str, Callable[[Any], tuple[str | None, Any]]]] = {
    Put: ("put", lambda asked: (asked.key, asked.value)),
    Cas: ("cas_index", lambda asked: (asked.key, (asked.value, asked.expected_index))),
    Delete: ("delete", lambda asked: (asked.key, asked.expected_index)),
    SetAll: ("set_all", lambda asked: (None, asked.items)),
    DeleteAll: ("delete_all", lambda asked: (None, asked.items)),
}
"""What each kind of write is called by the model, and its key and value there."""


def calls_of(
    operations: Iterable[Operation],
    fresh: Collection[Freshness] = FRESH,
    doubled: Callable[[Operation], bool] = lambda _: False,
) -> Iterator[Call]:
    """The operations that a linearizable store is answerable for. `fresh` says which reads are, and `doubled` which
    requests may have come twice."""
    for operation in operations:
        twice = doubled(operation)
        if (call := _call(operation, fresh, twice)) is None:
            continue
        yield call
        if twice and call.does != "get" and not getattr(operation.asked, "sequence", 0):
            yield call._replace(client=("again", call.client, call.invoked_s), told=None, known=False)


def _call(operation: Operation, fresh: Collection[Freshness], doubled: bool) -> Call | None:
    asked, told = operation.asked, operation.told
    if isinstance(asked, Get):
        is_fresh = told.outcome is Outcome.OK and asked.freshness in fresh
        return _made(operation, "get", asked.key, None, told.result) if is_fresh else None
    if type(asked) not in WRITES:
        return None
    does, what = WRITES[type(asked)]
    made = _made(operation, does, *what(asked), told.modify_index)
    if told.outcome is not Outcome.FAILED:
        return made
    if told.reason in DECISIONS:
        return made._replace(told=_refusal(operation))
    return made._replace(told=None, known=False) if doubled else None


def _refusal(operation: Operation) -> Refused:
    if isinstance(operation.asked, SetAll | DeleteAll):
        return Refused()
    return Refused(0 if operation.reason == "key not found" else operation.modify_index)


def _made(operation: Operation, does: str, key: str | None, value: Any, told: Any) -> Call:
    known = operation.outcome is not Outcome.UNKNOWN
    times = operation.invoked_s, operation.completed_s
    return Call(operation.client, does, value, told, *times, key, known, operation)
