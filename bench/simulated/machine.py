"""The state machine of a simulated node: the store, and the digest over everything applied to it."""

from __future__ import annotations

import copy
import hashlib
import pickle

from node.kv import Command, KeyValueStore, Result
from node.raft import Entry, EntryKind


class Frozen:
    def __init__(self, store: KeyValueStore, digest: bytes) -> None:
        self._content = (store, digest)

    def encode(self) -> bytes:
        return pickle.dumps(self._content, protocol=5)


class StateMachine:
    def __init__(self) -> None:
        self.store = KeyValueStore()
        self.digest = bytes(8)

    def apply(self, entry: Entry) -> Result | None:
        """None for an entry that is no command."""
        head = b"%s:%d:%d:%s:" % (self.digest, entry.index, entry.term, entry.kind.value.encode())
        self.digest = hashlib.blake2b(head + entry.data, digest_size=8).digest()
        if entry.kind is EntryKind.COMMAND:
            return self.store.apply(entry.index, Command.decode(entry.data))
        return None

    def freeze(self) -> Frozen:
        return Frozen(copy.deepcopy(self.store), self.digest)

    def restore(self, data: bytes) -> None:
        self.store, self.digest = pickle.loads(data)
