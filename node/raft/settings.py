"""How long Raft waits, and how much it sends before it is answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Konsul's three timeouts and its commit timeout, in seconds."""

    heartbeat_timeout_s: float = 1.0
    """A follower stands for election after once to twice this long without contact. A voter that heard from a leader
    refuses other candidates for this long."""
    election_timeout_s: float = 1.0
    """A candidate gives up an election after once to twice this long, and a leader a transfer after once."""
    leader_lease_timeout_s: float = 0.5
    """A leader stops leading this long after it sent what a majority last answered."""
    commit_timeout_s: float = 0.05
    """Followers are sent a new commit index within this time, even if there is nothing else to send."""

    def __post_init__(self) -> None:
        assert self.election_timeout_s >= self.heartbeat_timeout_s >= self.leader_lease_timeout_s > 0

    @property
    def heartbeat_interval_s(self) -> float:
        return self.heartbeat_timeout_s / 10


@dataclass(frozen=True)
class FlowLimits:
    """How much a leader sends to one follower without an answer, and how much a server applies at once."""

    entries_per_message: int = 64
    bytes_per_message: int = 256 * 1024
    entries_in_flight: int = 8192
    bytes_in_flight: int = 1024 * 1024
    """Of entries' data; as much as a transport takes on. The last message may exceed this and the number of entries."""
    entries_applied_at_once: int = 128
    """A follower that has much to catch up on receives more entries between the batches that it applies."""
    snapshot_chunk_bytes: int = 128 * 1024
    snapshot_bytes_in_flight: int = 512 * 1024
