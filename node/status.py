"""`Status`: what a node says of itself, as a frozen value that every thread may read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.raft import Configuration, Role

STATES = {
    Role.FOLLOWER: "Follower",
    Role.PRE_CANDIDATE: "Candidate",
    Role.CANDIDATE: "Candidate",
    Role.LEADER: "Leader",
}
"""What Konsul calls each role, and so what /cluster/status does."""
SHUTDOWN = "Shutdown"
"""The state of a node whose driver has ended: it has no role any more."""


@dataclass(frozen=True)
class Status:
    """What the node says of itself after a round of its driver."""

    node_id: str
    role: Role
    term: int
    leader: str | None
    lease_until_s: float
    last_index: int
    last_term: int
    commit_index: int
    applied_index: int
    snapshot_index: int
    snapshot_term: int
    log_digest: str
    configuration: Configuration
    cluster_id: str
    leader_changes: int
    lag: Mapping[str, int] = field(default_factory=dict)
    """As leader, how many entries each follower is not known to have."""
    http_addresses: Mapping[str, str] = field(default_factory=dict)
    """Where each peer that was heard from serves its clients."""
    messages_sent: dict[str, int] = field(default_factory=dict)
    """How many messages this process tried to send to each peer; a cut link shows here as any other does."""
    ended: bool = False
    """Whether there will be no further round: the node is stopping, or its driver has failed."""

    def is_leader_at(self, now: float) -> bool:
        """Whether this node may call itself leader at `now`: the role alone is not enough, the lease must hold."""
        return self.role is Role.LEADER and now < self.lease_until_s and not self.ended

    def leader_at(self, now: float) -> str | None:
        """Whom to send a client to; a node whose driver has ended hears of no leader any more."""
        if self.ended:
            return None
        if self.role is Role.LEADER:
            return self.node_id if self.is_leader_at(now) else None
        return self.leader

    def state_at(self, now: float) -> str:
        """What this node may report of itself: a leader past its lease is a follower that has not noticed yet."""
        if self.ended:
            return SHUTDOWN
        return STATES[Role.FOLLOWER if self.role is Role.LEADER and not self.is_leader_at(now) else self.role]
