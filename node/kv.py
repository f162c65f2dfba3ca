"""The replicated state machine: a flat key-value store. Pure: the same commands in the same order give the same state.

Every write is a `Command`, encoded as JSON in the log. A command that names its client and a sequence number is
applied once, however often it stands in the log: a client that lost its answer asks again with the same number and is
told the first answer (Raft §8; without it a retried write could undo a newer one). The last answer of each client is
kept, for the `SESSIONS` clients seen most recently, which the log's order makes the same everywhere.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

SESSIONS = 10_000

Index = Annotated[int, msgspec.Meta(ge=0)]


class Put(msgspec.Struct, frozen=True, tag="set"):
    key: str
    value: str
    flags: Index = 0
    cas: Index | None = None
    """Only if the key's modify_index is this; 0 is only if there is no such key."""


class Delete(msgspec.Struct, frozen=True, tag="delete"):
    key: str
    cas: Index | None = None


class Command(msgspec.Struct, frozen=True):
    operation: Put | Delete
    client_id: str = ""
    sequence: Index = 0
    """Counts the client's writes from 1; 0 is a write that is never retried."""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Command:
        return msgspec.json.decode(data, type=cls)

    @property
    def kind(self) -> str:
        """The `command_type` of the metrics."""
        name = "set" if isinstance(self.operation, Put) else "delete"
        return name if self.operation.cas is None else f"{name}_cas"


class Status(StrEnum):
    DONE = "done"
    MISSING = "missing"
    CONFLICT = "conflict"


@dataclass(frozen=True)
class Value:
    value: str
    flags: int
    create_index: int
    modify_index: int


@dataclass(frozen=True)
class Result:
    """What came of a command; `modify_index` is the log index it took effect at, or what a CAS found instead."""

    status: Status
    modify_index: int


class KeyValueStore:
    def __init__(self) -> None:
        self._values: dict[str, Value] = {}
        self._answers: OrderedDict[str, tuple[int, Result]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        return self._values.get(key)

    def apply(self, index: int, command: Command) -> Result:
        """Apply the command that stands at `index`, once."""
        if not command.sequence:
            return self._perform(index, command.operation)
        sequence, answer = self._answers.get(command.client_id, (0, None))
        if answer is None or command.sequence > sequence:
            answer = self._perform(index, command.operation)
            sequence = command.sequence
        self._answers[command.client_id] = (sequence, answer)
        self._answers.move_to_end(command.client_id)
        if len(self._answers) > SESSIONS:
            self._answers.popitem(last=False)
        return answer

    def _perform(self, index: int, operation: Put | Delete) -> Result:
        old = self._values.get(operation.key)
        found = old.modify_index if old else 0
        if operation.cas is not None and operation.cas != found:
            return Result(Status.CONFLICT, found)
        if isinstance(operation, Put):
            created = old.create_index if old else index
            self._values[operation.key] = Value(operation.value, operation.flags, created, index)
            return Result(Status.DONE, index)
        if old is None:
            return Result(Status.MISSING, 0)
        del self._values[operation.key]
        return Result(Status.DONE, index)
