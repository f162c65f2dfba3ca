"""The values Raft keeps and sends. All are frozen, and all can be decoded from JSON with every field checked.

A response is a message of its own, travelling on the reverse link. `sent_at_s` is a reading of the sender's clock, and
the response echoes it. The leader counts its lease and its reads from it, and nobody else interprets it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]


class EntryKind(StrEnum):
    COMMAND = "command"
    NOOP = "noop"
    """What a leader appends on its election, to learn what is committed (§8)."""
    CONFIGURATION = "configuration"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One place in the log. `data` means nothing to Raft unless the kind is CONFIGURATION."""

    index: Count
    term: Count
    kind: EntryKind
    data: bytes


class HardState(msgspec.Struct, frozen=True):
    """What must survive a crash besides the log (Figure 2, persistent state)."""

    current_term: Count = 0
    voted_for: Name | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What every message carries: its sender, its recipient, and the sender's term."""

    sender: Name
    recipient: Name
    term: Count


class PreVote(Message, frozen=True, kw_only=True):
    """Would you vote for me in `next_term`? Asked before a term is spent (thesis 9.6)."""

    next_term: Count
    last_log_index: Count
    last_log_term: Count


class PreVoteResponse(Message, frozen=True, kw_only=True):
    next_term: Count
    granted: bool


class RequestVote(Message, frozen=True, kw_only=True):
    """§5.2, Figure 2."""

    last_log_index: Count
    last_log_term: Count
    leadership_transfer: bool = False
    """The leader asked for this election and no longer leads, so nobody needs to protect it (thesis 4.2.3)."""
    sent_at_s: float


class RequestVoteResponse(Message, frozen=True, kw_only=True):
    granted: bool
    sent_at_s: float


class AppendEntries(Message, frozen=True, kw_only=True):
    """§5.3, Figure 2; with no entries, a heartbeat. Its entries follow `prev_log_index` without a gap."""

    prev_log_index: Count
    prev_log_term: Count
    entries: tuple[Entry, ...]
    leader_commit: Count
    sent_at_s: float

    def __post_init__(self) -> None:
        index, term = self.prev_log_index, self.prev_log_term
        for entry in self.entries:
            if entry.index != index + 1 or not term <= entry.term <= self.term:
                raise ValueError(
                    f"entry ({entry.index}, term {entry.term}) cannot follow ({index}, term {term}) "
                    f"in a message of term {self.term}"
                )
            index, term = entry.index, entry.term

    @property
    def last_index(self) -> int:
        """The last index this message speaks for."""
        return self.prev_log_index + len(self.entries)


class AppendEntriesResponse(Message, frozen=True, kw_only=True):
    """`match_index` is how far the request proved the logs equal, never more: a tail after that proves nothing.

    On failure `conflict_index` is where the leader should try next: the first index of the conflicting term, or one
    past the follower's last entry (§5.3, the paragraph on reducing rejected messages).
    """

    success: bool
    prev_log_index: Count
    match_index: Count
    conflict_index: Count
    sent_at_s: float


class InstallSnapshot(Message, frozen=True, kw_only=True):
    """One chunk of a snapshot (§7, Figure 13). `configuration` is encoded; `checksum` is of the whole data."""

    last_index: Count
    last_term: Count
    configuration: bytes
    configuration_index: Count
    total: Count
    checksum: str
    offset: Count
    data: bytes
    sent_at_s: float

    def __post_init__(self) -> None:
        if self.offset + len(self.data) > self.total or self.configuration_index > self.last_index:
            raise ValueError(f"chunk of {len(self.data)} bytes at {self.offset} in a snapshot of {self.total}")


class InstallSnapshotResponse(Message, frozen=True, kw_only=True):
    """`offset` is how many bytes the follower has without a gap: all, once the snapshot is installed and durable."""

    last_index: Count
    offset: Count
    sent_at_s: float


class TimeoutNow(Message, frozen=True, kw_only=True):
    """Stand for election at once: I have ceased to lead (thesis 3.10)."""


AnyMessage = (
    PreVote
    | PreVoteResponse
    | RequestVote
    | RequestVoteResponse
    | AppendEntries
    | AppendEntriesResponse
    | InstallSnapshot
    | InstallSnapshotResponse
    | TimeoutNow
)
