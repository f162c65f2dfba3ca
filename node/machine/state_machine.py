"""What a log does to a server besides Raft: the key-value store, and a digest by which two servers can be compared.

Pure, and the same in every world: the live driver and the simulated one apply the same entries to it and get the same
state, the same answers and the same snapshot, byte for byte.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import msgspec

from node.machine.kv import Command, KeyValueStore, Result, Session, Value
from node.raft import Entry, EntryKind
from node.raft.snapshot import Data

T = TypeVar("T")

FORMAT = 1
ROWS_PER_LINE = 500
"""A line is encoded in one call, during which no other thread of the process runs: half a millisecond or so."""


class ContentHead(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of a snapshot; lines of values and then lines of sessions follow."""

    format: int
    digest: str
    values: int
    sessions: int


_HEAD = msgspec.json.Decoder(ContentHead)
_VALUES = msgspec.json.Decoder(list[tuple[str, Value]])
_SESSIONS = msgspec.json.Decoder(list[tuple[str, Session]])


@dataclass(frozen=True)
class Frozen:
    """The state at one instant."""

    store: KeyValueStore
    digest: bytes

    def lines(self) -> Iterator[bytes]:
        """The same bytes on every server that has applied the same entries. May run beside the state machine."""
        values, sessions = self.store.values(), self.store.sessions()
        yield msgspec.json.encode(ContentHead(FORMAT, self.digest.hex(), len(values), len(sessions))) + b"\n"
        yield from _lines(values)
        yield from _lines(sessions)

    def encode(self) -> bytes:
        """All lines at once."""
        return b"".join(self.lines())

    @classmethod
    def decode(cls, data: Data) -> Frozen:
        """The state that `encode` was called on. Raises ValueError for data that cannot be one."""
        try:
            lines = iter(io.BytesIO(data))
            head = _HEAD.decode(next(lines, b""))
            if head.format != FORMAT:
                raise ValueError(f"it has format {head.format}, not {FORMAT}")
            digest = bytes.fromhex(head.digest)
            store = KeyValueStore(
                _rows(lines, head.values, _VALUES),
                _rows(lines, head.sessions, _SESSIONS),
            )
        except (msgspec.MsgspecError, ValueError) as error:
            raise ValueError(f"no snapshot of a key-value store: {error}") from error
        if (len(store), len(store.sessions()), next(lines, None)) != (head.values, head.sessions, None):
            raise ValueError(f"no snapshot of a key-value store: not the {head.values} values that it names")
        return cls(store, digest)


class StateMachine:
    """`store` may be read from any thread; everything else belongs to the owner's."""

    def __init__(self) -> None:
        self.store = KeyValueStore()
        self.digest = bytes(8)
        """Chains every entry applied so far: two servers that agree on it agree on all of them."""
        self.outcomes: Counter[tuple[str, str]] = Counter()
        """How many commands of each kind ended in each way, in this process."""

    def apply(self, entry: Entry) -> Result | None:
        """The result of the entry; None when it is not a command."""
        self.digest = _chain(self.digest, entry)
        if entry.kind is not EntryKind.COMMAND:
            return None
        command = Command.decode(entry.data)
        result = self.store.apply(entry.index, command)
        self.outcomes[command.kind, result.status] += 1
        return result

    def freeze(self) -> Frozen:
        return Frozen(self.store.copy(), self.digest)

    def restore(self, frozen: Frozen) -> None:
        """Become this state, at once; the state machine owns it from now on."""
        self.store.replace(frozen.store)
        self.digest = frozen.digest


def _lines(rows: Iterable[tuple[str, T]]) -> Iterator[bytes]:
    rows = iter(rows)
    while batch := list(islice(rows, ROWS_PER_LINE)):
        yield msgspec.json.encode(batch) + b"\n"


def _rows(
    lines: Iterator[bytes], count: int, decoder: msgspec.json.Decoder[list[tuple[str, T]]]
) -> Iterator[tuple[str, T]]:
    for line in islice(lines, -(-count // ROWS_PER_LINE)):
        yield from decoder.decode(line)


def _chain(digest: bytes, entry: Entry) -> bytes:
    head = b"%s:%d:%d:%s:" % (digest, entry.index, entry.term, entry.kind.value.encode())
    return hashlib.blake2b(head + entry.data, digest_size=8).digest()
