"""konsul_raft_*, read from the driver's `Status` at the moment of the scrape, so that `is_leader` is true when told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from node.driver import Status
from node.raft import Role

STATES = {Role.FOLLOWER: 0, Role.PRE_CANDIDATE: 1, Role.CANDIDATE: 1, Role.LEADER: 2}

GAUGES: dict[str, tuple[str, Callable[[Status, float], float]]] = {
    "state": ("0 Follower, 1 Candidate, 2 Leader, 3 Shutdown", lambda status, now: STATES[role_at(status, now)]),
    "is_leader": ("1 if this node is the leader", lambda status, now: status.is_leader_at(now)),
    "peers_total": ("Peers in the cluster, this node included", lambda status, _: len(status.configuration.servers)),
    "last_index": ("Last log index", lambda status, _: status.last_index),
    "commit_index": ("Last committed log index", lambda status, _: status.commit_index),
    "applied_index": ("Last applied log index", lambda status, _: status.applied_index),
}


def role_at(status: Status, now: float) -> Role:
    """The role this node may report: a leader past its lease is a follower that has not noticed yet."""
    return Role.FOLLOWER if status.role is Role.LEADER and not status.is_leader_at(now) else status.role


class Metrics:
    """What GET /metrics answers."""

    def __init__(self, status: Callable[[], Status]) -> None:
        self._status = status
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        status, now = self._status(), time.monotonic()
        for name, (text, read) in GAUGES.items():
            gauge = GaugeMetricFamily(f"konsul_raft_{name}", text, labels=["node_id"])
            gauge.add_metric([status.node_id], float(read(status, now)))
            yield gauge
        changes = CounterMetricFamily(
            "konsul_raft_leader_changes", "Transitions of this node to and from leader", labels=["node_id"]
        )
        changes.add_metric([status.node_id], status.leader_changes)
        yield changes

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry)
