"""What several scenarios end with."""

from __future__ import annotations

from bench.cluster import Cluster
from bench.history import Outcome


def read_back(cluster: Cluster) -> None:
    """Read every acknowledged key from every node; to be called when all agree. The checker judges what came back."""
    keys = [put.key for put in cluster.history if put.kind == "put" and put.outcome is Outcome.OK]
    for node in cluster.nodes:
        client = cluster.client(node)
        for key in keys:
            read = client.get(key)
            assert read.outcome is Outcome.OK, f"{node} did not answer a read of {key}: {read.reason}"
