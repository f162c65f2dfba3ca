"""Elections: one leader, and none without a majority."""

from __future__ import annotations

import itertools

from bench.checkers import CLIENTS, SAFETY, nobody_disturbs_a_leader
from bench.cluster import Cluster
from bench.operations import Outcome
from bench.scenarios.registry import scenario
from bench.scenarios.steps import hand_over, read_back, write


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS])
def three_nodes(cluster: Cluster) -> None:
    """Three nodes elect exactly one leader and replicate what it acknowledges."""
    write(cluster, "x")
    cluster.wait_until(lambda: sum(map(cluster.leads, cluster.nodes)) == 1, "exactly one node leads")
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=5, minimum=3, checks=[*SAFETY, nobody_disturbs_a_leader])
def minority_never_elects(cluster: Cluster) -> None:
    """Nodes cut off with fewer than a majority elect nobody and disturb nobody (Raft §5.2, thesis 9.6)."""
    leader = cluster.wait_for_leader()
    # One that has not even heard of the cluster yet would never stand.
    cluster.wait_until_agreed()
    minority = [node for node in cluster.nodes if node != leader][: (len(cluster.nodes) - 1) // 2]
    majority = [node for node in cluster.nodes if node not in minority]
    terms = {node: cluster.term(node) for node in minority}
    with cluster.network.partitioned(minority, majority), cluster.writing(nodes=majority) as load:
        cluster.wait_until(
            lambda: all(cluster.role(node) == "Candidate" for node in minority), f"{minority} stand for election"
        )
        written = load.acknowledged()
        cluster.wait_until(lambda: load.acknowledged() > written + 50, "the majority goes on")
        assert not any(cluster.leads(node) for node in minority)
        assert {node: cluster.term(node) for node in minority} == terms, "a term was spent, which would depose a leader"
    cluster.wait_until_agreed()


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS])
def redirected_clients(cluster: Cluster) -> None:
    """Whomever a client asks, it is sent to who leads, also when that is another, and never in a circle."""
    for leader in cluster.nodes:
        hand_over(cluster, leader)
        for node in cluster.nodes:
            put_by_way_of(cluster, node, f"{leader}-{node}")
    sent = {(operation.node, operation.told.elsewhere) for operation in cluster.history if operation.told.elsewhere}
    assert sent, "nobody was sent anywhere"
    astray = [f"{node} to {there}" for node, there in sent if there == node or there not in cluster.nodes]
    assert not astray, f"clients were sent astray: {astray}"
    cluster.wait_until_agreed()
    read_back(cluster)


def put_by_way_of(cluster: Cluster, node: str, key: str) -> None:
    """Have a write acknowledged for which this node is asked first. On a starved machine not each one is."""
    keys = (f"{key}-{number}" for number in itertools.count())

    def acknowledged() -> bool:
        return cluster.follower_of_redirects(node).put(next(keys), "kept").outcome is Outcome.OK

    cluster.wait_until(acknowledged, f"a write is acknowledged by way of {node}")
