"""konsul_raft_*: what the driver's `Status` says at the moment of the scrape, so that `is_leader` is true when told,
and what `node.meters` has counted and timed.

replication_lag, on the leader, has one sample for each follower: the entries that the follower is not known to have.
apply_total counts commands applied here, on every node and not only on the leader; a retry that was answered from
memory counts too.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from node.machine.kv import Decision
from node.meters import Meters
from node.status import Status

STATES = {"Follower": 0, "Candidate": 1, "Leader": 2, "Shutdown": 3}

GAUGES: dict[str, tuple[str, Callable[[Status, float], float]]] = {
    "state": ("0 Follower, 1 Candidate, 2 Leader, 3 Shutdown", lambda status, now: STATES[status.state_at(now)]),
    "is_leader": ("1 if this node is the leader", lambda status, now: status.is_leader_at(now)),
    "peers_total": ("Peers in the cluster, this node included", lambda status, _: len(status.configuration.servers)),
    "last_index": ("Last log index", lambda status, _: status.last_index),
    "commit_index": ("Last committed log index", lambda status, _: status.commit_index),
    "applied_index": ("Last applied log index", lambda status, _: status.applied_index),
    "fsm_pending": ("Committed entries not applied yet", lambda status, _: status.commit_index - status.applied_index),
}


class Metrics:
    """What GET /metrics answers."""

    def __init__(
        self, status: Callable[[], Status], outcomes: Callable[[], Mapping[tuple[str, str], int]], meters: Meters
    ) -> None:
        self._status = status
        self._outcomes = outcomes
        self._meters = meters
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
        lag = GaugeMetricFamily(
            "konsul_raft_replication_lag", "Entries that a follower is not known to have", labels=["node_id", "peer"]
        )
        for peer, index in status.matched.items():
            lag.add_metric([status.node_id, peer], status.last_index - index)
        yield lag
        yield from self._applied(status.node_id)

    def _applied(self, node_id: str) -> Iterator[Metric]:
        applied = CounterMetricFamily(
            "konsul_raft_apply", "Commands applied to the state machine", labels=["node_id", "command_type"]
        )
        errors = CounterMetricFamily(
            "konsul_raft_apply_errors",
            "Commands that the state machine refused",
            labels=["node_id", "command_type", "error_type"],
        )
        totals: Counter[str] = Counter()
        for (command, outcome), count in self._outcomes().items():
            totals[command] += count
            if outcome != Decision.DONE:
                errors.add_metric([node_id, command, outcome], count)
        for command, count in totals.items():
            applied.add_metric([node_id, command], count)
        yield from (applied, errors)

    def render(self) -> bytes:
        """The Prometheus text format."""
        return generate_latest(self._registry) + generate_latest(self._meters.registry)
