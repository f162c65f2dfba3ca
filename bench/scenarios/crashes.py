"""Killing nodes, and what must not get lost."""

from __future__ import annotations

from functools import partial

from bench.checkers import acknowledged_writes_survive
from bench.cluster import Cluster, Load
from bench.scenarios.elections import SAFETY
from bench.scenarios.registry import scenario
from bench.scenarios.steps import read_back

WRITES = 30
"""Enough to have several under way whenever something happens."""


@scenario(nodes=3, checks=[*SAFETY, acknowledged_writes_survive])
def kill_leader(cluster: Cluster) -> None:
    """kill -9 of the leader under writes: another takes over, nothing acknowledged is lost, the old one catches up."""
    old = cluster.wait_for_leader()
    with cluster.writing() as load:
        _write_more(cluster, load)
        cluster.kill(old)
        cluster.wait_for_leader(other_than=old)
        _write_more(cluster, load)
        cluster.restart(old)
        cluster.wait_until(lambda: cluster.status(old) is not None, f"{old} answers again")
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, acknowledged_writes_survive])
def rolling_restart(cluster: Cluster) -> None:
    """Every node killed and started again, one after the other, under writes: nothing acknowledged is lost."""
    cluster.wait_for_leader()
    with cluster.writing() as load:
        for node in cluster.nodes:
            _write_more(cluster, load)
            cluster.restart(node)
            cluster.wait_for_leader()
            cluster.wait_until(partial(cluster.caught_up, node), f"{node} has caught up")
    cluster.wait_until_agreed()
    read_back(cluster)


def _write_more(cluster: Cluster, load: Load) -> None:
    goal = load.acknowledged() + WRITES
    cluster.wait_until(lambda: load.acknowledged() >= goal, f"{WRITES} more writes")
