"""Clocks that disagree about how long a second is."""

from __future__ import annotations

from bench.checkers import CLIENTS, SAFETY, logs_agree, one_leader_per_term
from bench.cluster import Cluster
from bench.operations import Outcome
from bench.scenarios.registry import scenario
from bench.scenarios.steps import followers, put, read_back, read_newest, write, write_more

FAST, SLOW = 1.2, 0.8
"""A lease is half a time-out; so by a slow clock it ends before a time-out by another, up to twice as fast."""


@scenario(
    nodes=3,
    checks=[*SAFETY, *CLIENTS],
    each={"leader_rate": [FAST, SLOW]},
    needs=["clocks"],
)
def clock_skew(cluster: Cluster, leader_rate: float) -> None:
    """Clocks that run fast and slow make no two leaders, neither when the leader is cut off nor when it is stopped."""
    old = write(cluster, "before")
    others = followers(cluster, old)
    cluster.set_clock_rate(old, leader_rate)
    for node in others:
        cluster.set_clock_rate(node, FAST + SLOW - leader_rate)
    with cluster.writing() as load:
        write_more(cluster, load)
        with cluster.network.partitioned([old], others):
            new = cluster.wait_for_leader(among=others)
            write_more(cluster, load)
        cluster.pause(new)
        cluster.wait_for_leader(other_than=new)
        write_more(cluster, load)
        cluster.resume(new)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[one_leader_per_term, logs_agree, *CLIENTS], needs=["clocks"])
def clock_stands_still(cluster: Cluster) -> None:
    """A leader whose clock stands still takes itself for the leader, acknowledges nothing and reads nothing old."""
    old = put(cluster, "x", "old")
    others = followers(cluster, old)
    cluster.set_clock_rate(old, 0)
    with cluster.network.partitioned([old], others):
        put(cluster, "x", "new", among=others)
        assert cluster.leads(old), "its lease ends by its own clock"
        assert cluster.client(old).put("x", "lost").outcome is not Outcome.OK, "it acknowledged a write"
        assert cluster.client(old).get("x", consistent=True).outcome is not Outcome.OK, "it answered a stale read"
    cluster.set_clock_rate(old, 1)
    cluster.wait_until_agreed()
    assert read_newest(cluster, "x") == "new"
    read_back(cluster)
