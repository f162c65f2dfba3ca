"""Snapshots: taken while writes go on, started from, given to nodes that are too far behind, damaged."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from bench.case import Settings
from bench.checkers import CLIENTS, SAFETY
from bench.cluster import Cluster
from bench.operations import Item, SetAll
from bench.scenarios.registry import scenario
from bench.scenarios.steps import bring_in, come_back, followers, members, read_back, write, write_more
from bench.workload import Script

OFTEN = Settings(snapshot_threshold=60, trailing_logs=10)
BY_HAND = Settings(trailing_logs=1)
BATCH = 100
RETAINED = 2
"""How many snapshots a node keeps; its log reaches back to the older one."""


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], settings=OFTEN)
def snapshots_under_writes(cluster: Cluster) -> None:
    """Nodes take snapshots by themselves while writes go on, and each starts again from one and what followed."""
    with cluster.writing() as load:
        for node in cluster.nodes:
            cluster.wait_until(partial(snapshot_index, cluster, node), f"{node} takes a snapshot")
            write_more(cluster, load)
            come_back(cluster, node)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], needs=["snapshot"])
def snapshot_by_hand(cluster: Cluster) -> None:
    """A node asked for a snapshot takes one, under writes; when all are killed at once, nothing is lost."""
    with cluster.writing() as load:
        write_more(cluster, load)
        for node in cluster.nodes:
            take_snapshot(cluster, node)
        write_more(cluster, load)
        for node in cluster.nodes:
            cluster.kill(node)
        for node in cluster.nodes:
            cluster.restart(node)
        write_more(cluster, load)
    cluster.wait_until_agreed()
    assert all(snapshot_index(cluster, node) for node in cluster.nodes)
    read_back(cluster)


@contextmanager
def joined(cluster: Cluster) -> Iterator[str]:
    """A node that was never there before."""
    newcomer = next(node for node in cluster.nodes if node not in members(cluster))
    yield newcomer
    bring_in(cluster, newcomer)


@contextmanager
def wiped(cluster: Cluster) -> Iterator[str]:
    """A node that has lost all it had."""
    victim = followers(cluster, cluster.wait_for_leader())[0]
    yield victim
    cluster.restart(victim, wipe=True)


@contextmanager
def away(cluster: Cluster) -> Iterator[str]:
    """A node that was cut off all the time."""
    victim = followers(cluster, cluster.wait_for_leader())[0]
    with cluster.network.isolated(victim):
        yield victim


@scenario(
    nodes=3,
    checks=[*SAFETY, *CLIENTS],
    each={"behind": [joined, wiped, away]},
    spare=1,
    needs=["join", "snapshot", "batches"],
    settings=BY_HAND,
)
def snapshot_is_installed(cluster: Cluster, behind: Callable[[Cluster], AbstractContextManager[str]]) -> None:
    """A node that lacks entries which no log has any more is given a snapshot, and then what followed (Raft §7)."""
    write(cluster, "before")
    cluster.wait_until_agreed()
    with behind(cluster) as node:
        others = [other for other in members(cluster) if other != node]
        for series in range(RETAINED):
            with cluster.working([batches(series, client) for client in range(2)], others) as load:
                write_more(cluster, load, 5)
            for other in others:
                take_snapshot(cluster, other)
    with cluster.writing(nodes=others) as load:
        cluster.wait_until(lambda: snapshot_index(cluster, node) > 0, f"{node} is given a snapshot")
        cluster.wait_until(partial(cluster.caught_up, node), f"{node} has caught up")
        write_more(cluster, load)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(
    nodes=3,
    checks=[*SAFETY, *CLIENTS],
    needs=["snapshot", "snapshot_files"],
    settings=BY_HAND,
)
def damaged_snapshot(cluster: Cluster) -> None:
    """Two snapshots are kept; with a bit of the newest turned over, a node starts from the one before and the log."""
    victim = followers(cluster, cluster.wait_for_leader())[0]
    for _ in range(2 * RETAINED):
        with cluster.writing() as load:
            write_more(cluster, load)
        take_snapshot(cluster, victim)
    assert cluster.snapshots(victim) == RETAINED
    cluster.kill(victim)
    cluster.damage_snapshot(victim)
    come_back(cluster, victim)
    assert cluster.snapshots(victim) == RETAINED - 1
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], needs=["batches"], settings=OFTEN)
def ten_thousand_keys(cluster: Cluster) -> None:
    """Ten thousand keys, written while snapshots are taken, all come back after every node was killed at once."""
    with cluster.working([batches(0, client) for client in range(4)]) as load:
        write_more(cluster, load, 10_000 // BATCH)
        cluster.wait_until(lambda: all(snapshot_index(cluster, node) for node in cluster.nodes), "snapshots everywhere")
    for node in cluster.nodes:
        cluster.kill(node)
    for node in cluster.nodes:
        cluster.restart(node)
    write(cluster, "after")
    cluster.wait_until_agreed()
    read_back(cluster)


def batches(series: int, client: int) -> Script:
    """Keys that are never written twice, a hundred at a time."""
    for count in itertools.count():
        yield SetAll(tuple(Item(f"b{series}-{client}-{count}-{number}", "kept") for number in range(BATCH)))


def snapshot_index(cluster: Cluster, node: str) -> int:
    status = cluster.status(node)
    return status.snapshot_index if status is not None else 0


def take_snapshot(cluster: Cluster, node: str) -> None:
    """Have the node take a snapshot of more than its last one."""
    before = snapshot_index(cluster, node)

    def taken() -> bool:
        cluster.client(node).snapshot()
        return snapshot_index(cluster, node) > before

    cluster.wait_until(taken, f"{node} takes a snapshot")
