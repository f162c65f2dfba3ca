"""`Progress`: what a leader knows of one follower, and what it owes it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from node.raft.snapshot import Snapshot

LONG_AGO = -math.inf


@dataclass(slots=True)
class Sending:
    """A snapshot on its way to a follower. It is kept although a newer one may have been taken meanwhile."""

    snapshot: Snapshot
    sent: int = 0
    answered: int = 0
    started: bool = False
    """An empty snapshot is one chunk too."""

    @property
    def total(self) -> int:
        return len(self.snapshot.data)

    def has_room(self, bytes_in_flight: int) -> bool:
        return not self.started or (self.sent < self.total and self.sent - self.answered < bytes_in_flight)


@dataclass(slots=True)
class Progress:
    """nextIndex and matchIndex of Figure 2, and how messages to this follower flow.

    As long as its log is not known to match it is *probing*: one message at a time. Then entries are sent ahead of
    their answers. A follower that needs entries which are only in a snapshot any more is *sending* that.
    """

    next_index: int
    match_index: int = 0
    answered_sent_at_s: float = LONG_AGO
    """When the latest message that the follower answered was sent: the base of the lease."""
    matched_at_s: float = LONG_AGO
    """When we last heard that it had accepted something."""
    probing: bool = True
    probing_since_s: float = LONG_AGO
    """When it was last begun to be looked for: a refusal of what was sent before tells nothing new."""
    awaiting_probe: bool = False
    told_commit: int = 0
    heartbeat_due: bool = False
    under_way: deque[tuple[int, int]] = field(default_factory=deque)
    """Messages with entries sent ahead, oldest first: the last index of each, and its bytes."""
    bytes_under_way: int = 0
    sending: Sending | None = None

    @property
    def standing(self) -> tuple[int, float]:
        """How good a successor this follower would be."""
        return (self.match_index, self.answered_sent_at_s)

    def probe_from(self, index: int, now: float) -> None:
        self.next_index = index
        self.probing, self.probing_since_s, self.awaiting_probe = True, now, False
        self.under_way.clear()
        self.bytes_under_way = 0
        self.sending = None

    def send_again(self, first_index: int, now: float) -> None:
        """What was sent ahead may be lost: begin behind what the follower is known to have, but no earlier than the log
        does; if it lacks what is gone from there, it will say so."""
        if not self.probing and self.sending is None:
            self.probe_from(max(self.match_index + 1, first_index), now)

    def note_sent(self, last_index: int, size: int) -> None:
        """Entries up to `last_index`, of `size` bytes, were sent ahead."""
        self.next_index = last_index + 1
        self.under_way.append((last_index, size))
        self.bytes_under_way += size

    def take_match(self, index: int) -> bool:
        """The follower's log is known to match up to `index`; whether that is news."""
        self.next_index = max(self.next_index, index + 1)
        self.probing = self.awaiting_probe = False
        if index <= self.match_index:
            return False
        self.match_index = index
        while self.under_way and self.under_way[0][0] <= index:
            self.bytes_under_way -= self.under_way.popleft()[1]
        return True

    def take_install(self, offset: int) -> bool:
        """The follower has so many bytes of the snapshot; whether that was all of it, which proves a match."""
        assert self.sending is not None
        self.sending.answered = offset
        if offset < self.sending.total:
            return False
        index = self.sending.snapshot.meta.index
        self.sending = None
        self.next_index = max(self.match_index, index) + 1
        return self.take_match(index)
