"""Snapshots: the state machine's bytes in place of a prefix of the log (Raft §7).

Raft does not look into `Snapshot.data`. The data may be bytes or anything that slices to bytes, such as a mapped file,
so a snapshot need not fit in memory twice. A snapshot travels in chunks. Each chunk says which snapshot it belongs to,
and `Incoming` puts the chunks together again.
"""

from __future__ import annotations

import hashlib
import mmap
from dataclasses import dataclass
from functools import cached_property

import msgspec

from node.raft.membership import Configuration
from node.raft.messages import Count, InstallSnapshot

Data = bytes | memoryview | mmap.mmap


class SnapshotMeta(msgspec.Struct, frozen=True):
    """What a snapshot stands for: every entry up to `index`, and the configuration in force there."""

    index: Count
    term: Count
    configuration: Configuration
    configuration_index: Count


@dataclass(frozen=True)
class Snapshot:
    meta: SnapshotMeta
    data: Data

    @cached_property
    def checksum(self) -> str:
        """Of the data; a snapshot that arrives in chunks is checked against it."""
        return hashlib.blake2b(self.data, digest_size=16).hexdigest()

    def chunk(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])


class Incoming:
    """A snapshot on its way in, chunk by chunk."""

    def __init__(self, first: InstallSnapshot) -> None:
        self._meta = SnapshotMeta(
            first.last_index,
            first.last_term,
            Configuration.decode(first.configuration),
            first.configuration_index,
        )
        self._total = first.total
        self._checksum = first.checksum
        self._data = bytearray()

    @property
    def received(self) -> int:
        """How many bytes are here, from the beginning without a gap: the offset of the next chunk wanted."""
        return len(self._data)

    @property
    def complete(self) -> bool:
        return self.received == self._total

    def is_of(self, chunk: InstallSnapshot) -> bool:
        """Whether the chunk belongs to this snapshot: two servers' snapshots of one index may differ in their bytes."""
        mine = (self._meta.index, self._meta.term, self._total, self._checksum)
        return mine == (chunk.last_index, chunk.last_term, chunk.total, chunk.checksum)

    def take(self, chunk: InstallSnapshot) -> None:
        """Add the chunk if it is the next one wanted; one that comes twice or too early is dropped."""
        if chunk.offset == self.received:
            self._data += chunk.data

    def finished(self) -> Snapshot | None:
        """The snapshot, or None when its bytes do not have the checksum that they were sent with."""
        snapshot = Snapshot(self._meta, bytes(self._data))
        return snapshot if snapshot.checksum == self._checksum else None
