"""What several scenarios begin or end with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from bench.cluster import Cluster
from bench.history import Outcome


def write(cluster: Cluster, key: str, among: Sequence[str] | None = None) -> str:
    """Have a write acknowledged, and return by whom. This is what a majority owes: that a write succeeds before long.

    Not that the first one does: on a starved machine a leader goes without answers for longer than its lease, steps
    down as it must, and the write is refused. Each try has a key of its own, since one that failed may yet take effect.
    """
    keys = (f"{key}-{number}" for number in itertools.count())

    def acknowledged() -> str | None:
        leader = cluster.wait_for_leader(among=among)
        return leader if cluster.client(leader).put(next(keys), "kept").outcome is Outcome.OK else None

    return cluster.wait_until(acknowledged, f"a leader acknowledges the write of {key}") or ""


def read_back(cluster: Cluster) -> None:
    """Read every acknowledged key from every node; to be called when all agree. The checker judges what came back."""
    keys = [put.key for put in cluster.history if put.kind == "put" and put.outcome is Outcome.OK]
    for node in cluster.nodes:
        client = cluster.client(node)
        for key in keys:
            read = client.get(key)
            assert read.outcome is Outcome.OK, f"{node} did not answer a read of {key}: {read.reason}"
