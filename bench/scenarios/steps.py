"""What several scenarios begin or end with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from bench.cluster import Client, Cluster, Workers
from bench.operations import Operation, Outcome, Writing, acknowledged_keys

WRITES = 30
"""Enough to have several under way whenever something happens."""
AT_ONCE = 500
"""How many keys are read in one request."""


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


def put(cluster: Cluster, key: str, value: str, among: Sequence[str] | None = None) -> str:
    """As `write`, for a key that is written again and again; returns who acknowledged this value of it."""

    def acknowledged() -> str | None:
        leader = cluster.wait_for_leader(among=among)
        return leader if cluster.client(leader).put(key, value).outcome is Outcome.OK else None

    return cluster.wait_until(acknowledged, f"a leader acknowledges {key} = {value}") or ""


def decide(cluster: Cluster, write: Writing) -> Operation:
    """What became of a write that names its client: it may be asked for until somebody knows."""

    def decided() -> Operation | None:
        told = cluster.client(cluster.wait_for_leader()).ask(write)
        return told if told.decided else None

    return cluster.wait_until(decided, f"a leader decides {write}")


def read_newest(cluster: Cluster, key: str, among: Sequence[str] | None = None) -> str | None:
    """What a linearizable read of it has, once a leader answers one."""
    reads: list[Operation] = []

    def answered() -> bool:
        reads.append(cluster.client(cluster.wait_for_leader(among=among)).get(key, consistent=True))
        return reads[-1].outcome is Outcome.OK

    cluster.wait_until(answered, f"a leader reads {key}")
    return reads[-1].value


def read_back(cluster: Cluster) -> None:
    """Read every acknowledged key from every member; to be called when all agree. The checker judges what came back."""
    keys = acknowledged_keys(cluster.history)
    for node in members(cluster):
        client = cluster.client(node)
        for start in range(0, len(keys), AT_ONCE):
            read = client.get_all(keys[start : start + AT_ONCE])
            assert read.outcome is Outcome.OK, f"{node} did not answer a read: {read.reason}"


def write_more(cluster: Cluster, load: Workers, count: int = WRITES) -> None:
    goal = load.acknowledged() + count
    cluster.wait_until(lambda: load.acknowledged() >= goal, f"{count} more writes")


def come_back(cluster: Cluster, node: str) -> None:
    """Start a node again, and wait until it has what the others have."""
    cluster.restart(node)
    cluster.wait_until(partial(cluster.caught_up, node), f"{node} has caught up")


def carry_on_without(cluster: Cluster, load: Workers, gone: str) -> None:
    """The others write on without a node that has gone down, and then it comes back."""
    cluster.wait_for_leader(other_than=gone)
    write_more(cluster, load)
    come_back(cluster, gone)


def undisturbed(cluster: Cluster, story: Callable[[Client, str], Sequence[Operation]]) -> list[Operation]:
    """What a leader answers to all of a story, told of a key of its own, when it was leader until the end."""
    keys = (f"story-{number}" for number in itertools.count())

    def told() -> list[Operation]:
        operations = list(story(cluster.client(cluster.wait_for_leader()), next(keys)))
        return operations if all(operation.decided for operation in operations) else []

    return cluster.wait_until(told, "a leader that answers all")


# Members


def members(cluster: Cluster) -> tuple[str, ...]:
    """As the leader has them."""
    status = cluster.wait_until(lambda: cluster.status(cluster.wait_for_leader()), "a leader that answers")
    return status.members if status else ()


def followers(cluster: Cluster, leader: str) -> list[str]:
    return [node for node in members(cluster) if node != leader]


def bring_in(cluster: Cluster, node: str) -> None:
    """Join the node, asking again where a leader could not see to it; who votes already is told that all is well."""

    def votes() -> bool:
        return cluster.client(cluster.wait_for_leader()).join(node).outcome is Outcome.OK

    cluster.wait_until(votes, f"{node} has joined")


def let_go(cluster: Cluster, node: str) -> None:
    """Have the node leave, asking again until it is no member any more."""

    def gone() -> bool:
        left = cluster.client(cluster.wait_for_leader()).leave(node)
        return left.outcome is Outcome.OK or node not in members(cluster)

    cluster.wait_until(gone, f"{node} has left")


def hand_over(cluster: Cluster, to: str) -> None:
    """Have this node lead."""

    def leads() -> bool:
        leader = cluster.wait_for_leader()
        return leader == to or cluster.client(leader).transfer(to).outcome is Outcome.OK

    cluster.wait_until(leads, f"leadership goes to {to}")
    cluster.wait_for_leader(among=[to])
