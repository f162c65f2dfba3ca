"""Killing nodes, and what must not get lost."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

from bench.checkers import CLIENTS, ONE_STORY, SAFETY
from bench.cluster import Cluster, DidNotStartError
from bench.operations import Outcome, Put
from bench.scenarios.registry import scenario
from bench.scenarios.steps import carry_on_without, come_back, followers, read_back, write, write_more
from bench.workload import Script
from faults.links import peer_links

LARGE = "x" * 10_000


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS])
def kill_leader(cluster: Cluster) -> None:
    """kill -9 of the leader under writes: another takes over, nothing acknowledged is lost, the old one catches up."""
    old = cluster.wait_for_leader()
    with cluster.writing() as load:
        write_more(cluster, load)
        cluster.kill(old)
        cluster.wait_for_leader(other_than=old)
        write_more(cluster, load)
        cluster.restart(old)
        cluster.wait_until(lambda: cluster.status(old) is not None, f"{old} answers again")
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS])
def rolling_restart(cluster: Cluster) -> None:
    """Every node killed and started again, one after the other, under writes: nothing acknowledged is lost."""
    cluster.wait_for_leader()
    with cluster.writing() as load:
        for node in cluster.nodes:
            write_more(cluster, load)
            cluster.restart(node)
            cluster.wait_for_leader()
            cluster.wait_until(partial(cluster.caught_up, node), f"{node} has caught up")
    cluster.wait_until_agreed()
    read_back(cluster)


def everybody(cluster: Cluster) -> list[str]:
    return list(cluster.nodes)


def all_followers(cluster: Cluster) -> list[str]:
    leader = cluster.wait_for_leader()
    return [node for node in cluster.nodes if node != leader]


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], each={"victims_of": [everybody, all_followers]})
def restart_at_once(cluster: Cluster, victims_of: Callable[[Cluster], list[str]]) -> None:
    """All nodes, or all followers, are down at once: nobody acknowledges anything, and nothing acknowledged is lost."""
    with cluster.writing() as load:
        write_more(cluster, load)
        victims = victims_of(cluster)
        for node in victims:
            cluster.kill(node)
        cluster.wait_until(lambda: not any(map(cluster.leads, cluster.nodes)), "nobody leads without a majority")
        refused = [cluster.client(node).put(f"alone-{node}", "lost") for node in cluster.nodes if node not in victims]
        assert not [put for put in refused if put.outcome is Outcome.OK], "a minority acknowledged a write"
        for node in victims:
            cluster.restart(node)
        write_more(cluster, load)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=5, checks=[*SAFETY, *CLIENTS])
def cascading_failures(cluster: Cluster) -> None:
    """One leader after the other is killed: the rest goes on while it is a majority, and then waits to be one again."""
    fallen: list[str] = []
    with cluster.writing() as load:
        while 2 * (len(fallen) + 1) < len(cluster.nodes):
            write_more(cluster, load)
            fallen.append(cluster.kill(cluster.wait_for_leader()))
        write_more(cluster, load)
        last = cluster.kill(cluster.wait_for_leader())
        rest = [node for node in cluster.nodes if node not in (*fallen, last)]
        refused = [cluster.client(node).put(f"alone-{node}", "lost") for node in rest]
        assert not [put for put in refused if put.outcome is Outcome.OK], "a minority acknowledged a write"
        cluster.restart(last)
        write_more(cluster, load)
        for node in fallen:
            come_back(cluster, node)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=5, checks=[*SAFETY, *CLIENTS])
def several_faults_at_once(cluster: Cluster) -> None:
    """One node dead, one stopped, one that hears late and is heard late: the majority that is left loses nothing."""
    leader = write(cluster, "before")
    dead, stopped, late, *_ = (node for node in cluster.nodes if node != leader)
    slow = {link for link in peer_links(cluster.nodes) if late in (link.source, link.target)}
    with cluster.writing() as load, cluster.network.delayed(slow, latency_ms=40, jitter_ms=20):
        cluster.pause(stopped)
        cluster.kill(dead)
        write_more(cluster, load)
        cluster.restart(dead)
        cluster.kill(leader)
        cluster.resume(stopped)
        cluster.wait_for_leader(other_than=leader)
        write_more(cluster, load)
        cluster.restart(leader)
    cluster.wait_until_agreed()
    read_back(cluster)


def leader_of(cluster: Cluster) -> str:
    return cluster.wait_for_leader()


def follower_of(cluster: Cluster) -> str:
    return all_followers(cluster)[0]


def goes_on_without(cluster: Cluster, strike: Callable[[], str]) -> None:
    """Amid writes a node is struck and stops; the others go on, it comes back, and nothing is lost."""
    with cluster.writing() as load:
        write_more(cluster, load)
        carry_on_without(cluster, load, strike())
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(
    nodes=3,
    checks=[*SAFETY, *CLIENTS],
    each={"victim_of": [leader_of, follower_of]},
    needs=["full_disk"],
)
def full_disk(cluster: Cluster, victim_of: Callable[[Cluster], str]) -> None:
    """A node whose disk is full stops instead of acknowledging what it cannot keep; the others go on without it."""
    goes_on_without(cluster, lambda: cluster.fill_disk(victim_of(cluster)))


@scenario(
    nodes=3,
    checks=[*SAFETY, *CLIENTS],
    each={"victim_of": [leader_of, follower_of]},
    needs=["failed_save"],
)
def failed_save(cluster: Cluster, victim_of: Callable[[Cluster], str]) -> None:
    """A node one of whose saves fails stops, though its disk is well again: it cannot know what it has saved."""
    goes_on_without(cluster, lambda: cluster.fail_save(victim_of(cluster)))


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], needs=["older_disk"])
def older_disk(cluster: Cluster) -> None:
    """A follower that comes back with an older copy of its disk is given what it lacks, while the others hold all."""
    with cluster.writing() as load:
        write_more(cluster, load)
        victim = cluster.kill(follower_of(cluster))
        cluster.copy_disk(victim)
        carry_on_without(cluster, load, victim)
        write_more(cluster, load)
        cluster.kill(victim)
        cluster.restart(victim, older=True)
        cluster.wait_until(partial(cluster.caught_up, victim), f"{victim} has caught up")
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(nodes=3, checks=[*SAFETY, *CLIENTS], needs=["lost_files", "snapshot"])
def lost_log(cluster: Cluster) -> None:
    """A node that has snapshots and no log does not start: it cannot know for whom it has voted. The others go on."""
    with cluster.writing() as load:
        write_more(cluster, load)
        victim = follower_of(cluster)
        cluster.client(victim).snapshot()
        try:
            cluster.restart(victim, without="log")
        except DidNotStartError:
            cluster.kill(victim)
        else:
            raise AssertionError(f"{victim} has started without its log")
        write_more(cluster, load)
    cluster.restart(victim, wipe=True)
    cluster.wait_until_agreed()
    read_back(cluster)


@scenario(
    nodes=3,
    checks=[*SAFETY, *CLIENTS],
    each={"victim_of": [leader_of, follower_of]},
    needs=["memory_limit"],
)
def memory_pressure(cluster: Cluster, victim_of: Callable[[Cluster], str]) -> None:
    """A node that gets no more memory stops and acknowledges nothing that is lost; the others go on without it."""
    with cluster.writing() as load, cluster.working([large_values(client) for client in range(2)]):
        write_more(cluster, load)
        victim = cluster.exhaust_memory(victim_of(cluster))
        carry_on_without(cluster, load, victim)
    cluster.wait_until_agreed()
    read_back(cluster)


def large_values(client: int) -> Script:
    """What fills a memory within seconds, and is not too much to be read back."""
    for count in itertools.count():
        yield Put(f"large-{client}-{count}", LARGE)


@scenario(
    nodes=3,
    checks=[*SAFETY, *CLIENTS],
    each={"victim_of": [leader_of, follower_of]},
    needs=["slow_disk"],
)
def slow_disk(cluster: Cluster, victim_of: Callable[[Cluster], str]) -> None:
    """A disk that takes long to save delays what is acknowledged, and loses none of it."""
    with cluster.writing() as load:
        write_more(cluster, load)
        victim = cluster.slow_disk(victim_of(cluster), latency_ms=150)
        write_more(cluster, load)
        cluster.slow_disk(victim, latency_ms=0)
        cluster.wait_until(partial(cluster.caught_up, victim), f"{victim} has caught up")
    cluster.wait_until_agreed()
    read_back(cluster)


def hangs_on(cluster: Cluster, node: str) -> None:
    """Until the end of the run."""


def is_killed(cluster: Cluster, node: str) -> None:
    cluster.kill(node)


@scenario(nodes=3, checks=[*SAFETY, *ONE_STORY], each={"then": [hangs_on, is_killed]}, needs=["slow_disk"])
def hung_disk(cluster: Cluster, then: Callable[[Cluster, str], None]) -> None:
    """A leader whose disk hangs says no more that it leads once its lease is over, and others lead and write on."""
    old = write(cluster, "before")
    others = followers(cluster, old)
    cluster.slow_disk(old, latency_ms=30_000)
    lost = cluster.client(old).put("lost", "x")
    cluster.wait_until(lambda: not cluster.leads(old), f"{old} leads no more")
    write(cluster, "after", among=others)
    then(cluster, old)
    assert lost.outcome is Outcome.UNKNOWN
