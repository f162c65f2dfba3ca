"""What clients and operators ask, and what they are told, as tagged values.

A question is one value with all that its answer depends on: how fresh a read has to be, which index a compare-and-set
expects, which client's write it is and which of that client's writes. A `Told` is what came of it; its outcome is OK
(acknowledged), FAILED (it has not happened, and never will) or UNKNOWN (it may have happened, or may yet). A timeout is
UNKNOWN, never FAILED: the request may still be waiting in a socket. An `Operation` is both together, with which client
asked which node and when.

How a system is asked, and what its answers mean, is known to that system alone (`bench.systems`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import ClassVar, NamedTuple, TypeVar

import msgspec

DECISIONS = ("cas mismatch", "key not found")
"""A state machine's own refusals. A client refused for any other reason may ask another node."""


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


class Freshness(StrEnum):
    """What a read promises."""

    STALE = "stale"
    """A value that the key had at some time: any node answers from its own state."""
    LEASE = "lease"
    """Linearizable while clocks run at about the same rate: the leader answers under its lease."""
    LINEARIZABLE = "linearizable"
    """Sees every write that was acknowledged before the read was invoked."""


class _Question(
    msgspec.Struct,
    frozen=True,
    tag_field="ask",
    tag=str.lower,
    forbid_unknown_fields=True,
    omit_defaults=True,
    repr_omit_defaults=True,
    gc=False,
):
    pass


class _Write(_Question, frozen=True, kw_only=True, gc=False):
    """A write that is retried with the same `client_id` and `sequence` takes effect once (thesis 6.3)."""

    client_id: str = ""
    sequence: int = 0
    """Counts the writes of `client_id` from 1; 0 means that the write is never retried."""


class Put(_Write, frozen=True, gc=False):
    key: str
    value: str


class Cas(_Write, frozen=True, gc=False):
    """A put, if the key's modify_index is `expected_index`; 0 means that the key is absent."""

    key: str
    value: str
    expected_index: int


class Delete(_Write, frozen=True, gc=False):
    """With `expected_index`, only if that is the key's modify_index."""

    key: str
    expected_index: int | None = None


class Item(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One key of a batch of writes."""

    key: str
    value: str | None = None
    """None deletes the key."""
    expected_index: int | None = None
    """The modify_index that the key must have; None for any."""


class SetAll(_Write, frozen=True, gc=False):
    """All of them at one instant, or none if any key is not as expected."""

    items: tuple[Item, ...]


class DeleteAll(_Write, frozen=True, gc=False):
    items: tuple[Item, ...]


class Get(_Question, frozen=True, gc=False):
    key: str
    freshness: Freshness = Freshness.STALE


class GetAll(_Question, frozen=True, gc=False):
    """A stale read of all keys at one instant."""

    keys: tuple[str, ...]


class Join(_Question, frozen=True, gc=False):
    """Done when the node votes."""

    node: str
    address: str = ""
    """The address it is said to have; empty means its real one."""

    NEED: ClassVar[str] = "join"


class Leave(_Question, frozen=True, gc=False):
    """Done when the node is no member any more."""

    node: str

    NEED: ClassVar[str] = "leave"


class Transfer(_Question, frozen=True, gc=False):
    """Done when another node leads."""

    to: str = ""
    """Which, if it matters."""

    NEED: ClassVar[str] = "transfer"


class TakeSnapshot(_Question, frozen=True, gc=False):
    """Done when the node that is asked has taken one."""

    NEED: ClassVar[str] = "snapshot"


Writing = Put | Cas | Delete | SetAll | DeleteAll
Reading = Get | GetAll
Operating = Join | Leave | Transfer | TakeSnapshot
Question = Writing | Reading | Operating
"""What one client or operator asks of one node."""


class Told(NamedTuple):
    """What a client is told in answer to its question."""

    outcome: Outcome
    reason: str = ""
    """Why it is not OK: the node's word for it, or the client's own."""
    result: str | Mapping[str, str] | None = None
    """A read's value, None for a missing key; for a read of several keys, those that exist; for a transfer, the new
    leader."""
    modify_index: int | None = None
    """Where a write stands in the log; after a CAS mismatch, the key's own modify_index."""
    message: str = ""
    """What else the node said about why it is not OK, for people."""
    elsewhere: str = ""
    """The node that the client was sent to instead."""

    @property
    def decided(self) -> bool:
        """Whether a state machine decided this: asking again would tell nothing more."""
        return self.outcome is Outcome.OK or self.reason in DECISIONS


NO_ANSWER = Told(Outcome.UNKNOWN, "no answer yet")
"""For a question still under way."""


class Try(NamedTuple):
    node: str
    invoked_s: float


class Operation(msgspec.Struct, frozen=True, gc=False):
    """One question of one client, or all the tries of one write, and what came of it.

    From `invoked_s` to `completed_s`, in seconds on the clock that the whole run is told on.
    """

    client: int
    node: str
    """The node that the client asked last."""
    asked: Question
    told: Told
    invoked_s: float
    completed_s: float
    """Infinity while no answer has come."""
    tries: tuple[Try, ...] = ()
    """Each try of a write that was retried."""

    def __repr__(self) -> str:
        """In a line, as a failed assertion shows it."""
        because = f" ({self.reason})" if self.reason else ""
        return f"<client {self.client} asked {self.node}: {self.asked}: {self.outcome.value}{because}>"

    @property
    def outcome(self) -> Outcome:
        return self.told.outcome

    @property
    def reason(self) -> str:
        return self.told.reason

    @property
    def value(self) -> str | None:
        """What a read of one key found."""
        assert not isinstance(self.told.result, Mapping), "several values were found"
        return self.told.result

    @property
    def values(self) -> Mapping[str, str]:
        """What a read of several keys found."""
        return self.told.result if isinstance(self.told.result, Mapping) else {}

    @property
    def modify_index(self) -> int | None:
        return self.told.modify_index

    @property
    def decided(self) -> bool:
        return self.told.decided

    @property
    def questions(self) -> tuple[Try, ...]:
        """When this was sent, and to which node: each try, or the only one."""
        return self.tries or (Try(self.node, self.invoked_s),)


def key_by_key(operation: Operation) -> Iterator[Operation]:
    """The operation as operations of one key each; none if it names no key.

    A batch takes effect at one instant, so its parts are operations of their keys like any other, and a check of one
    key need not know of batches.
    """
    match operation.asked:
        case Put() | Cas() | Delete() | Get():
            yield operation
        case SetAll(items=items) | DeleteAll(items=items):
            told = operation.told
            for item in items:
                yield msgspec.structs.replace(operation, asked=_written(item), told=told)
        case GetAll(keys=keys):
            for key in keys:
                told = operation.told._replace(result=operation.values.get(key))
                yield msgspec.structs.replace(operation, asked=Get(key), told=told)


def _written(item: Item) -> Put | Cas | Delete:
    if item.value is None:
        return Delete(item.key, item.expected_index)
    if item.expected_index is None:
        return Put(item.key, item.value)
    return Cas(item.key, item.value, item.expected_index)


def acknowledged_keys(operations: Iterable[Operation]) -> list[str]:
    """Every key of an acknowledged write, each once."""
    parts = (part for operation in operations if operation.outcome is Outcome.OK for part in key_by_key(operation))
    return list(dict.fromkeys(part.asked.key for part in parts if isinstance(part.asked, Put | Cas | Delete)))


NO_KEYS = (".", "..")
"""What a path of a URL does not carry as it is."""
NO_TEXT = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of what ends lines, controls terminals, or is no character."""


def check_key(key: str) -> str:
    """The same key. Raises ValueError for one that cannot be named in a URL, or not be shown in a line."""
    if not key or "/" in key or key in NO_KEYS or any(unicodedata.category(letter) in NO_TEXT for letter in key):
        raise ValueError(f"{key!r} is no key; a key is not empty, not . or .., and has no slash or control character")
    return key


Q = TypeVar("Q", bound=msgspec.Struct)


def with_changes(asked: Q, **changes: object) -> Q:
    """The same question with other fields."""
    return msgspec.structs.replace(asked, **changes)
