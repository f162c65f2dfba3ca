"""Splitting the brain, in every shape, direction and manner that the links know; and links that are bad, not cut."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from functools import partial

from bench.checkers import CLIENTS, SAFETY
from bench.cluster import Cluster
from bench.operations import Outcome
from bench.scenarios.registry import scenario
from bench.scenarios.steps import WRITES, come_back, followers, read_back, write, write_more
from faults import cuts
from faults.links import Link, Mode, peer_links

Side = Collection[str]


def leader_alone(leader: str, others: list[str]) -> tuple[Side, Side]:
    return [leader], others


def leader_with_minority(leader: str, others: list[str]) -> tuple[Side, Side]:
    return [leader, others[0]], others[1:]


def two_halves(leader: str, others: list[str]) -> tuple[Side, Side]:
    return [leader, others[0]], others[1:]


def both_ways(near: Side, far: Side) -> frozenset[Link]:
    return cuts.split(near, far)


def nothing_out(near: Side, far: Side) -> frozenset[Link]:
    """The leader's side is heard by nobody on the other side, and hears it."""
    return cuts.one_way(near, far)


def nothing_in(near: Side, far: Side) -> frozenset[Link]:
    """The leader's side is heard on the other side, and hears nothing from it."""
    return cuts.one_way(far, near)


SIZES = {leader_alone: 3, leader_with_minority: 5, two_halves: 4}


@scenario(
    nodes=lambda shape, **_: SIZES[shape],
    checks=[*SAFETY, *CLIENTS],
    each={"shape": list(SIZES), "direction": [both_ways, nothing_out, nothing_in], "mode": list(Mode)},
)
def split_brain(
    cluster: Cluster,
    shape: Callable[[str, list[str]], tuple[Side, Side]],
    direction: Callable[[Side, Side], frozenset[Link]],
    mode: Mode,
) -> None:
    """A leader without a majority acknowledges nothing, a majority goes on, and after healing all are of one mind."""
    old = write(cluster, "before")
    near, far = shape(old, [node for node in cluster.nodes if node != old])
    with cluster.network.cutting(direction(near, far), mode=mode):
        early = cluster.client(old).put("early", "lost")
        assert early.outcome is not Outcome.OK, "a leader without a majority acknowledged a write"
        cluster.wait_until(lambda: not cluster.leads(old), f"{old} notices that it has lost its majority")
        if len(far) * 2 > len(cluster.nodes):
            write(cluster, "meanwhile", among=list(far))
        late = [cluster.client(node).put(f"late-{node}", "lost") for node in _without_majority(cluster, near, far)]
        assert not [put for put in late if put.outcome is Outcome.OK], "a minority acknowledged a write"
        # A leader on a starved machine may have lost its majority just before: then nobody sends until an election.
        cluster.wait_until_met()
    cluster.wait_until_agreed()
    write(cluster, "after")
    cluster.wait_until_agreed()
    read_back(cluster)


def _without_majority(cluster: Cluster, near: Side, far: Side) -> list[str]:
    return [node for side in (near, far) for node in side if len(side) * 2 <= len(cluster.nodes)]


@scenario(nodes=5, checks=[*SAFETY, *CLIENTS])
def majorities_ring(cluster: Cluster) -> None:
    """Every node hears a majority, and no two hear the same one: one of them leads, writes go on, and none is lost."""
    write(cluster, "before")
    with cluster.network.cutting(cuts.majorities_ring(cluster.nodes)), cluster.writing() as load:
        write_more(cluster, load)
        old = cluster.kill(cluster.wait_for_leader())
        cluster.restart(old)
        write_more(cluster, load)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS])
def flapping_network(cluster: Cluster) -> None:
    """Each node in turn is cut off and back again and again, the leader too: writes go on, and none is lost."""
    with cluster.writing() as load:
        for node in [*cluster.nodes, *cluster.nodes]:
            with cluster.network.isolated(node):
                write_more(cluster, load, 10)
            write_more(cluster, load, 10)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=5, checks=[*SAFETY, *CLIENTS], needs=["noise"])
def noisy_network(cluster: Cluster) -> None:
    """A tenth of the messages is lost, doubled and overtaken, and a leader killed: nothing acknowledged is lost."""
    with cluster.writing() as load, cluster.noise(loss=0.1, duplication=0.1, reordering=0.1):
        write_more(cluster, load)
        old = cluster.kill(cluster.wait_for_leader())
        cluster.wait_for_leader(other_than=old)
        write_more(cluster, load)
        come_back(cluster, old)
        write_more(cluster, load)
    cluster.wait_until_agreed()
    read_back(cluster)


def late(cluster: Cluster, links: Collection[Link]) -> AbstractContextManager[None]:
    return cluster.network.delayed(links, latency_ms=100, jitter_ms=50)


def little(cluster: Cluster, links: Collection[Link]) -> AbstractContextManager[None]:
    """A tenth of what it would hear."""
    return cluster.network.limited(links, rate_kib_s=16)


def held_back(cluster: Cluster, links: Collection[Link]) -> AbstractContextManager[None]:
    return cluster.network.cutting(links, Mode.HOLD)


def lost(cluster: Cluster, links: Collection[Link]) -> AbstractContextManager[None]:
    return cluster.network.cutting(links, Mode.BLACKHOLE)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], each={"how": [late, little, held_back, lost]})
def lagging_follower(
    cluster: Cluster, how: Callable[[Cluster, Collection[Link]], AbstractContextManager[None]]
) -> None:
    """A follower that hears late, little, or nothing for long, holds nobody up and catches up when it hears again."""
    leader = write(cluster, "before")
    follower = followers(cluster, leader)[0]
    links = [link for link in peer_links(cluster.nodes) if follower in (link.source, link.target)]
    with cluster.writing() as load:
        with how(cluster, links):
            write_more(cluster, load, 5 * WRITES)
        cluster.wait_until(partial(cluster.caught_up, follower), f"{follower} has caught up")
    cluster.wait_until_agreed()
    read_back(cluster)


TAIL = 8
"""Clients that each leave a write undecided: more entries than a new leader needs to acknowledge one."""


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS])
def conflicting_tails(cluster: Cluster) -> None:
    """What a leader that was cut off still wrote to its own log, however long, gives way to what a majority has.

    Raft §5.3 and §5.4.1: the one other node that has the acknowledged write must win, though its log is shorter.
    """
    old = write(cluster, "before")
    others = followers(cluster, old)
    with cluster.network.partitioned([old], others):
        with cluster.writing(TAIL, nodes=[old]):
            cluster.wait_until(lambda: not cluster.leads(old), f"{old} notices that it has lost its majority")
        new = write(cluster, "meanwhile", among=others)
        cluster.kill(new)
    cluster.wait_for_leader(other_than=new)
    cluster.restart(new)
    cluster.wait_until_agreed()
    read_back(cluster)
