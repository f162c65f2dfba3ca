"""Who belongs to the cluster, and who leads it, by request."""

from __future__ import annotations

from bench.checkers import CLIENTS, SAFETY, leadership_is_handed_over, nobody_disturbs_a_leader
from bench.cluster import Cluster
from bench.operations import Join, Leave, Outcome
from bench.scenarios.registry import scenario
from bench.scenarios.steps import (
    bring_in,
    carry_on_without,
    followers,
    hand_over,
    let_go,
    members,
    read_back,
    write,
    write_more,
)
from bench.workload import Script

CHANGES = 100


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], spare=1, needs=["join", "leave"])
def join_and_leave(cluster: Cluster) -> None:
    """A node joins through the leader and through nobody else, is given everything, and leaves again, under writes."""
    leader = write(cluster, "before")
    (newcomer,) = (node for node in cluster.nodes if node not in members(cluster))
    for follower in followers(cluster, leader):
        assert cluster.client(follower).join(newcomer).outcome is Outcome.FAILED, f"{follower} does not lead"
    assert newcomer not in members(cluster)
    with cluster.writing() as load:
        write_more(cluster, load)
        bring_in(cluster, newcomer)
        write_more(cluster, load)
    cluster.wait_until_agreed()
    assert newcomer in members(cluster)
    read_back(cluster)
    with cluster.writing() as load:
        write_more(cluster, load)
        let_go(cluster, newcomer)
        write_more(cluster, load)
    cluster.wait_until_agreed()
    assert newcomer not in members(cluster)
    read_back(cluster)


@scenario(nodes=4, checks=[*SAFETY, *CLIENTS, nobody_disturbs_a_leader], needs=["leave"])
def removed_node(cluster: Cluster) -> None:
    """A node that was let go while it was cut off, and does not know that, disturbs nobody (thesis 4.2.3)."""
    leader = write(cluster, "before")
    cluster.wait_until_agreed()
    removed, *stayed = followers(cluster, leader)
    with cluster.network.isolated(removed):
        term = cluster.term(removed)
        let_go(cluster, removed)
        cluster.wait_until(lambda: cluster.role(removed) == "Candidate", f"{removed} stands for election")
    with cluster.writing(nodes=[leader, *stayed]) as load:
        write_more(cluster, load, 300)
    assert cluster.term(removed) == term, "a node that is no member spent a term, which would depose a leader"
    assert cluster.client(removed).put("outside", "lost").outcome is not Outcome.OK
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], needs=["join", "leave"])
def leader_leaves(cluster: Cluster) -> None:
    """A leader that is let go leads until that is committed; then another does, and it may come back (thesis 4.2.2)."""
    with cluster.writing() as load:
        write_more(cluster, load)
        old = cluster.wait_for_leader()
        let_go(cluster, old)
        new = cluster.wait_for_leader(other_than=old)
        assert old not in members(cluster)
        write_more(cluster, load)
        bring_in(cluster, old)
        write_more(cluster, load)
    cluster.wait_until_agreed()
    assert {old, new} < set(members(cluster))
    read_back(cluster)


def comes_and_goes(node: str) -> Script:
    while True:
        yield Join(node)
        yield Leave(node)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], spare=2, needs=["join", "leave"])
def many_changes(cluster: Cluster) -> None:
    """A hundred joins and leaves, two of them at any time, under writes: one configuration is left, and all is kept."""
    cluster.wait_for_leader()
    founders = members(cluster)
    spare = [node for node in cluster.nodes if node not in founders]
    with cluster.writing(nodes=founders), cluster.working(list(map(comes_and_goes, spare)), founders) as changes:
        write_more(cluster, changes, CHANGES)
    for node in spare:
        bring_in(cluster, node)
    cluster.wait_until_agreed()
    told = {status.members for node in cluster.nodes if (status := cluster.status(node)) is not None}
    assert len(told) == 1, f"the nodes have {told} for members"
    assert set(told.pop()) == set(cluster.nodes)
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS, leadership_is_handed_over], needs=["transfer"])
def leadership_transfer(cluster: Cluster) -> None:
    """Leadership goes to each node that an operator names, under writes, and nobody has to time out (thesis 3.10)."""
    with cluster.writing() as load:
        for node in (*cluster.nodes, *cluster.nodes):
            hand_over(cluster, node)
            write_more(cluster, load)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS, leadership_is_handed_over], needs=["transfer"])
def rolling_restart_in_order(cluster: Cluster) -> None:
    """Every node told to stop and started again: a leader hands over first, so nobody waits for a time-out."""
    with cluster.writing() as load:
        for node in cluster.nodes:
            write_more(cluster, load)
            cluster.shut_down(node)
            carry_on_without(cluster, load, node)
    cluster.wait_until_agreed()
    read_back(cluster)
