"""`Meters`: what a node counts and times while it runs; what can be read off its state is in `node.metrics`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Meters:
    """Every meter may be used from any thread."""

    def __init__(self, node_id: str) -> None:
        self.registry = CollectorRegistry()
        self.apply_s = self._histogram(node_id, "apply", "Applying to the state machine what one round committed")
        self.commit_s = self._histogram(node_id, "commit", "From the proposal of a write to its commit, on the leader")
        self.snapshot_s = self._histogram(node_id, "snapshot", "Taking a snapshot, from the copy to the synced file")
        self.snapshots = self._counter(node_id, "snapshot", "Snapshots taken by this node")
        self.restores = self._counter(node_id, "restore", "Times the state machine was restored from a snapshot")

    def _histogram(self, node_id: str, name: str, text: str) -> Histogram:
        name = f"konsul_raft_{name}_duration_seconds"
        return Histogram(name, text, ["node_id"], registry=self.registry, buckets=SECONDS).labels(node_id)

    def _counter(self, node_id: str, name: str, text: str) -> Counter:
        return Counter(f"konsul_raft_{name}", text, ["node_id"], registry=self.registry).labels(node_id)
