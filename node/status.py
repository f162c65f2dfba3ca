"""`Status`: what a node says of itself, as a frozen value that every thread may read. Pure.

All fields are of one instant: the applied index and the digest belong together, and the lease is the one in the trace.
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
"""Konsul's name for each role, which /cluster/status shows."""
SHUTDOWN = "Shutdown"
"""The state of a node whose server has ended: it has no role any more."""
NOBODY: Mapping[str, int] = {}


class Elsewhere(NamedTuple):
    """The leader, and where it serves its clients."""

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
    """As leader, how far each follower's log was known to match when anything was last noted in the trace."""
    http_addresses: Mapping[str, str]
    """Where the leader and the members that were heard from serve their clients (`node.server` says whose word is taken
    for it)."""
    ended: bool = False
    """Whether there will be no further round: the node is stopping, or has failed."""

    def is_leader_at(self, now: float) -> bool:
        """Whether this node may call itself leader at `now`: the role alone is not enough, the lease must hold."""
        return self.role is Role.LEADER and now < self.lease_until_s and not self.ended

    def leader_at(self, now: float) -> str | None:
        """The leader to send a client to; None on a node that has ended, which hears of no leader any more."""
        if self.ended:
            return None
        if self.role is Role.LEADER:
            return self.node_id if self.is_leader_at(now) else None
        return self.leader

    def elsewhere_at(self, now: float) -> Elsewhere | None:
        """Where to send a client that is not served here; None when this node does not know, or leads itself by now."""
        leader = self.leader_at(now)
        if leader is None or leader == self.node_id:
            return None
        address = self.http_addresses.get(leader)
        return Elsewhere(leader, address) if address else None

    def state_at(self, now: float) -> str:
        """The state that this node may report: a leader past its lease is a follower that has not noticed yet."""
        if self.ended:
            return SHUTDOWN
        return STATES[Role.FOLLOWER if self.role is Role.LEADER and not self.is_leader_at(now) else self.role]


def lets_in(configuration: Configuration, cluster_id: str, sender: str, senders_id: str) -> bool:
    """Whether a server of the cluster `cluster_id` listens to `sender`, which says that it belongs to `senders_id`.

    It listens to its own cluster, whatever the sender's name (`node.raft.membership` says why). It also listens to a
    member that has just been let in and has no log yet from which to know its cluster. A server that knows no cluster
    listens to anybody."""
    return not cluster_id or senders_id == cluster_id or (not senders_id and configuration.get(sender) is not None)
