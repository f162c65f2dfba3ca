"""The bodies that the HTTP API takes: JSON whatever the header says, with every field checked as it is decoded."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from node.machine.kv import Batch, DeleteKey, Index, SetKey
from node.raft.messages import Name
from node.wire import HostPort, check_address

MAX_KEYS = 1000
MAX_CLIENT_ID = 128

Key = Annotated[str, msgspec.Meta(min_length=1)]
Keys = Annotated[list[Key], msgspec.Meta(min_length=1, max_length=MAX_KEYS)]
Items = Annotated[dict[Key, str], msgspec.Meta(min_length=1, max_length=MAX_KEYS)]


def check_session(client_id: str, sequence: int) -> None:
    """Raises ValueError for what would make one client of two, so that the second is told the first one's answer."""
    if len(client_id) > MAX_CLIENT_ID:
        raise ValueError(f"client_id is longer than {MAX_CLIENT_ID} characters")
    if sequence and not client_id:
        raise ValueError("a sequence counts the writes of a client, so it needs a client_id")


class WriteBody(msgspec.Struct, kw_only=True):
    """`sequence` counts the writes of `client_id`, so that each of them takes effect once."""

    client_id: Annotated[str, msgspec.Meta(max_length=MAX_CLIENT_ID)] = ""
    sequence: Index = 0

    def __post_init__(self) -> None:
        check_session(self.client_id, self.sequence)


class BatchBody(WriteBody, kw_only=True):
    """What all batches of writes have in common."""

    DONE: ClassVar[str]
    """The word for what was done to the keys."""

    def batch(self) -> Batch:
        raise NotImplementedError


class PutBody(WriteBody, kw_only=True):
    value: str
    cas: Index | None = None
    flags: Index = 0


class BatchGetBody(msgspec.Struct):
    """{"keys": ["a", "b"]}"""

    keys: Keys


class BatchSetBody(BatchBody, kw_only=True):
    """{"items": {"a": "1", "b": "2"}}, with "flags": {"a": 7} for keys that have flags."""

    DONE: ClassVar[str] = "set"
    items: Items
    flags: dict[Key, Index] = {}

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_covered("flags", self.flags, self.items)

    def batch(self) -> Batch:
        return Batch(tuple(SetKey(key, value, self.flags.get(key, 0)) for key, value in self.items.items()))


class BatchSetCasBody(BatchSetBody, kw_only=True):
    """Beside `items`, "expected_indices": {"a": 0, "b": 17}: each key's modify_index, 0 for one that must not exist."""

    expected_indices: dict[Key, Index]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_alike(self.expected_indices, self.items)

    def batch(self) -> Batch:
        expected = self.expected_indices
        return Batch(
            tuple(SetKey(key, value, self.flags.get(key, 0), expected[key]) for key, value in self.items.items())
        )


class BatchDeleteBody(BatchBody, kw_only=True):
    """{"keys": ["a", "b"]}"""

    DONE: ClassVar[str] = "deleted"
    keys: Keys

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.keys)) != len(self.keys):
            raise ValueError("a key is in the batch twice")

    def batch(self) -> Batch:
        return Batch(tuple(DeleteKey(key) for key in self.keys))


class BatchDeleteCasBody(BatchDeleteBody, kw_only=True):
    """Beside `keys`, "expected_indices": {"a": 17, "b": 18}."""

    expected_indices: dict[Key, Index]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_alike(self.expected_indices, self.keys)

    def batch(self) -> Batch:
        return Batch(tuple(DeleteKey(key, self.expected_indices[key]) for key in self.keys))


class JoinBody(msgspec.Struct):
    node_id: Name
    address: HostPort

    def __post_init__(self) -> None:
        check_address(self.address)


class TransferBody(msgspec.Struct, forbid_unknown_fields=True):
    """No other field is allowed: a misspelt `to` would be ignored, and leadership would go to another server."""

    to: Name | None = None


def _check_covered(name: str, given: dict[str, int], keys: dict[str, str]) -> None:
    strays = [key for key in given if key not in keys]
    if strays:
        raise ValueError(f"{name} names {strays[0]!r}, which is not in the batch")


def _check_alike(expected: dict[str, int], keys: dict[str, str] | list[str]) -> None:
    if set(expected) != set(keys):
        raise ValueError("expected_indices must name every key of the batch and no other")


PUT = msgspec.json.Decoder(PutBody)
BATCH_GET = msgspec.json.Decoder(BatchGetBody)
BATCHES: dict[str, msgspec.json.Decoder[BatchBody]] = {
    "set": msgspec.json.Decoder(BatchSetBody),
    "set-cas": msgspec.json.Decoder(BatchSetCasBody),
    "delete": msgspec.json.Decoder(BatchDeleteBody),
    "delete-cas": msgspec.json.Decoder(BatchDeleteCasBody),
}
"""By the last part of the path."""
JOIN = msgspec.json.Decoder(JoinBody)
TRANSFER = msgspec.json.Decoder(TransferBody)
