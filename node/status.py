"""`Status`: what a node says of itself, as a frozen value that every thread may read. Pure.

All of it is of one instant: the index that is applied and the digest of what was applied belong together, and the
lease is the one that the trace has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from node.raft import Configuration, Role

STATES = {
    Role.FOLLOWER: "Follower",
    Role.PRE_CANDIDATE: "Candidate",
    Role.CANDIDATE: "Candidate",
    Role.LEADER: "Leader",
}
"""What Konsul calls each role, and so what /cluster/status does."""
SHUTDOWN = "Shutdown"
"""The state of a node whose server has ended: it has no role any more."""
NOBODY: Mapping[str, int] = {}


class Elsewhere(NamedTuple):
    """Who leads, and where it serves its clients."""

    leader: str
    http_address: str


class Status(msgspec.Struct, frozen=True):
    """What the node says of itself after a round of its server."""

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
    digest: bytes
    """Chains every entry up to `applied_index`."""
    configuration: Configuration
    cluster_id: str
    leader_changes: int
    matched: Mapping[str, int]
    """As leader, up to where each follower was known to have the log when anything was last noted in the trace."""
    http_addresses: Mapping[str, str]
    """Where each peer that was heard from serves its clients."""
    ended: bool = False
    """Whether there will be no further round: the node is stopping, or has failed."""

    def is_leader_at(self, now: float) -> bool:
        """Whether this node may call itself leader at `now`: the role alone is not enough, the lease must hold."""
        return self.role is Role.LEADER and now < self.lease_until_s and not self.ended

    def leader_at(self, now: float) -> str | None:
        """Whom to send a client to; a node that has ended hears of no leader any more."""
        if self.ended:
            return None
        if self.role is Role.LEADER:
            return self.node_id if self.is_leader_at(now) else None
        return self.leader

    def elsewhere_at(self, now: float) -> Elsewhere | None:
        """Where a client is served that is not served here; None where nobody knows."""
        leader = self.leader_at(now)
        address = self.http_addresses.get(leader) if leader else None
        return Elsewhere(leader, address) if leader and address else None

    def state_at(self, now: float) -> str:
        """What this node may report of itself: a leader past its lease is a follower that has not noticed yet."""
        if self.ended:
            return SHUTDOWN
        return STATES[Role.FOLLOWER if self.role is Role.LEADER and not self.is_leader_at(now) else self.role]


def lets_in(configuration: Configuration, cluster_id: str, sender: str, senders_id: str) -> bool:
    """Whether a server of this cluster listens to who says that it belongs to `senders_id` (`node.raft.membership` says
    why its name is not asked for): to those of its own cluster, and to a member that has just been let in and has no
    log yet to know a cluster from. Who knows no cluster listens to anybody."""
    return not cluster_id or senders_id == cluster_id or (not senders_id and configuration.get(sender) is not None)
