"""The replicated state machine: a flat key-value store. Pure: the same commands in the same order give the same state.

Every write is a `Command`, encoded as JSON in the log. A command that names its client and a sequence number is
applied once, however often it is in the log. A client that lost its answer asks again with the same number and is told
the first answer (Raft §8). Without this, a retried write could undo a newer one.

"Once" has a limit. The last answer is kept for the `SESSIONS` clients seen most recently, which the order of the log
makes the same on every server. A client that asks again after so many others have written is taken for a new one, and
its write takes effect again. In thesis 6.3 clients register, so that a client whose session is gone is told so.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import ItemsView, Iterable, Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

SESSIONS = 10_000
"""How many clients' last answers are kept. Part of the state machine: it must be the same on every server."""

Index = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class SetKey(msgspec.Struct, frozen=True, tag="set"):
    key: str
    value: str
    flags: Index = 0
    cas: Index | None = None
    """Only if the key's modify_index is this; 0 means only if the key does not exist."""


class DeleteKey(msgspec.Struct, frozen=True, tag="delete"):
    key: str
    cas: Index | None = None


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """Several writes in one log entry, all or none: if one CAS does not hold, nothing is changed.

    Every `cas` refers to the store as it was before the batch. Each key is in the batch once. To delete a key that does
    not exist is no failure here: the batch asks for the key to be gone.
    """

    operations: tuple[SetKey | DeleteKey, ...]


class Command(msgspec.Struct, frozen=True):
    operation: SetKey | DeleteKey | Batch
    client_id: str = ""
    sequence: Index = 0
    """Counts the client's writes from 1; 0 means a write that is never retried."""

    def encode(self) -> bytes:
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> Command:
        return _DECODER.decode(data)

    @property
    def kind(self) -> str:
        """The `command_type` of the metrics; a batch has that of its first operation."""
        if isinstance(self.operation, Batch):
            return f"batch_{_kind(self.operation.operations[0])}"
        return _kind(self.operation)


_DECODER = msgspec.json.Decoder(Command)


def _kind(operation: SetKey | DeleteKey) -> str:
    name = "set" if isinstance(operation, SetKey) else "delete"
    return name if operation.cas is None else f"{name}_cas"


class Decision(StrEnum):
    DONE = "done"
    MISSING = "missing"
    CONFLICT = "conflict"
    SUPERSEDED = "superseded"
    """A later write of the same client is before this one in the log; whether this one took effect is forgotten."""


class Value(msgspec.Struct, frozen=True, gc=False, array_like=True):
    value: str
    flags: int
    create_index: int
    modify_index: int


class Result(msgspec.Struct, frozen=True):
    """The result of a command; `modify_index` is the log index where it took effect, or what a CAS found instead."""

    status: Decision
    modify_index: int
    conflicts: dict[str, int] = {}
    """For a batch that was refused: each key whose CAS did not hold, with the modify_index found."""


class Session(msgspec.Struct, frozen=True, array_like=True):
    """The last write of a client, and what it was told."""

    sequence: int
    answer: Result


class KeyValueStore:
    def __init__(
        self,
        values: Mapping[str, Value] | Iterable[tuple[str, Value]] = (),
        sessions: Mapping[str, Session] | Iterable[tuple[str, Session]] = (),
    ) -> None:
        self._values = dict(values)
        self._sessions = OrderedDict(sessions)
        self._changes = 0
        """Odd while an operation is changing its keys, one after the other."""

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        return self._values.get(key)

    def get_all(self, keys: Iterable[str]) -> dict[str, Value | None]:
        """All the values at one instant, whichever thread asks: never half a batch, and never a later write without an
        earlier one."""
        keys = tuple(keys)
        while True:
            changes, values = self._changes, self._values
            found = {key: values.get(key) for key in keys}
            if changes == self._changes and not changes % 2:
                return found

    def copy(self) -> KeyValueStore:
        """A copy of the store as it is now; cheap, because values are never changed in place."""
        return KeyValueStore(self._values, self._sessions)

    def replace(self, other: KeyValueStore) -> None:
        """Become what `other` is, at once: a reader on another thread sees either the old store or the new one."""
        self._values, self._sessions = other._values, other._sessions

    def values(self) -> ItemsView[str, Value]:
        return self._values.items()

    def sessions(self) -> ItemsView[str, Session]:
        """The client seen longest ago comes first."""
        return self._sessions.items()

    def apply(self, index: int, command: Command) -> Result:
        """Apply the command at `index`, once."""
        if not command.sequence:
            return self._perform(index, command.operation)
        session = self._sessions.get(command.client_id)
        if session is None or command.sequence > session.sequence:
            session = Session(command.sequence, self._perform(index, command.operation))
        elif command.sequence < session.sequence:
            return Result(Decision.SUPERSEDED, 0)
        self._sessions[command.client_id] = session
        self._sessions.move_to_end(command.client_id)
        if len(self._sessions) > SESSIONS:
            self._sessions.popitem(last=False)
        return session.answer

    def _perform(self, index: int, operation: SetKey | DeleteKey | Batch) -> Result:
        if isinstance(operation, Batch):
            return self._perform_all(index, operation.operations)
        found = self._modify_index(operation.key)
        if not self._cas_holds(operation):
            return Result(Decision.CONFLICT, found)
        if isinstance(operation, DeleteKey) and not found:
            return Result(Decision.MISSING, 0)
        self._change(index, (operation,))
        return Result(Decision.DONE, index)

    def _perform_all(self, index: int, operations: tuple[SetKey | DeleteKey, ...]) -> Result:
        conflicts = {each.key: self._modify_index(each.key) for each in operations if not self._cas_holds(each)}
        if conflicts:
            return Result(Decision.CONFLICT, 0, conflicts)
        self._change(index, operations)
        return Result(Decision.DONE, index)

    def _modify_index(self, key: str) -> int:
        """0 for a key that does not exist."""
        value = self._values.get(key)
        return value.modify_index if value else 0

    def _cas_holds(self, operation: SetKey | DeleteKey) -> bool:
        return operation.cas is None or operation.cas == self._modify_index(operation.key)

    def _change(self, index: int, operations: tuple[SetKey | DeleteKey, ...]) -> None:
        self._changes += 1
        for operation in operations:
            self._change_one(index, operation)
        self._changes += 1

    def _change_one(self, index: int, operation: SetKey | DeleteKey) -> None:
        if isinstance(operation, DeleteKey):
            self._values.pop(operation.key, None)
            return
        old = self._values.get(operation.key)
        created = old.create_index if old else index
        self._values[operation.key] = Value(operation.value, operation.flags, created, index)
