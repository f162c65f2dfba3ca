"""What a node says of itself over HTTP: who leads, its status, its peers, whether it is well. Pure.

Every `now` is a reading of the node's own clock, by which a leader knows whether its lease still holds.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.status import Status
from node.web.replies import NO_LEADER, NOT_CLUSTERED, Reply, raft_address


def leader(status: Status | None, now: float) -> Reply:
    """GET /cluster/leader; `status` is None without a cluster."""
    if status is None:
        return NOT_CLUSTERED
    leader = status.leader_at(now)
    if leader is None:
        return NO_LEADER
    addressed = {"leader_id": leader, "leader_addr": raft_address(status, leader)}
    return Reply(200, {**addressed, "is_self": leader == status.node_id})


def peers(status: Status | None, now: float) -> Reply:
    """GET /cluster/peers"""
    if status is None:
        return NOT_CLUSTERED
    found = _peers(status)
    return Reply(200, {"peers": found, "count": len(found)})


def alive(status: Status | None, now: float) -> Reply:
    """GET /health: always well, as long as it answers."""
    return Reply(200, {"status": "ok", "cluster": _cluster(status, now)})


def ready(status: Status | None, now: float) -> Reply:
    """GET /health/ready: well if it knows of a leader, or needs none."""
    if status is None or status.leader_at(now) is not None:
        return alive(status, now)
    return Reply(503, {"status": "no leader", "cluster": _cluster(status, now)})


def described(status: Status, messages_sent: Mapping[str, int], now: float) -> dict[str, object]:
    """GET /cluster/status"""
    leader = status.leader_at(now)
    return {
        "node_id": status.node_id,
        "state": status.state_at(now),
        "leader_id": leader,
        "leader_addr": raft_address(status, leader) if leader else None,
        "peers": _peers(status),
        "last_index": status.last_index,
        "applied_index": status.applied_index,
        "commit_index": status.commit_index,
        "stats": {
            "term": status.term,
            "last_log_index": status.last_index,
            "last_log_term": status.last_term,
            "commit_index": status.commit_index,
            "applied_index": status.applied_index,
            "fsm_pending": status.commit_index - status.applied_index,
            "last_snapshot_index": status.snapshot_index,
            "last_snapshot_term": status.snapshot_term,
            "num_peers": max(0, len(status.configuration.servers) - 1),
            "log_digest": status.digest.hex(),
            "messages_sent": messages_sent,
        },
    }


def _cluster(status: Status | None, now: float) -> dict[str, object]:
    if status is None:
        return {"enabled": False}
    return {"enabled": True, "state": status.state_at(now), "leader": status.leader_at(now)}


def _peers(status: Status) -> list[dict[str, str]]:
    return [
        {"id": server.id, "address": server.address, "state": server.suffrage.value}
        for server in status.configuration.servers
    ]
