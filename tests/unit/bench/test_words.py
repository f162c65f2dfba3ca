"""What a person is told when nobody leads, or a question was not answered as hoped."""

from __future__ import annotations

import pytest

from bench.case import plan
from bench.cluster import NoSuchNodeError, WaitTimeoutError
from bench.operations import Delete, Get, Operation, Outcome, Put, Question, Told
from bench.simulated.cluster import SimulatedCluster
from bench.words import Hindered, hindrances, nobody, not_served
from faults.cuts import between, isolate, split
from faults.links import Link

NODES = ("n1", "n2", "n3", "n4", "n5")


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (Hindered(), ""),
        (Hindered(paused=["n1"], down=["n2"]), "n1 is paused, n2 is down"),
        (Hindered(cut=sorted(isolate("n2", NODES[:3]))), "n2 is cut off from n1 and n3"),
        (
            Hindered(cut=sorted(split(NODES[:2], NODES[2:]))),
            "n1 and n2 are cut off from n3, n4 and n5",
        ),
        (Hindered(cut=[Link("n1", "n2")]), "n1 is cut off from n2"),
        (Hindered(down=["n1"], cut=sorted(isolate("n1", NODES[:2]))), "n1 is down and cut off from n2"),
        (
            Hindered(["n1"], ["n2"], sorted(between("n3", "n4") | between("n3", "n5"))),
            "n1 is paused, n2 is down, n3 is cut off from n4 and n5",
        ),
    ],
)
def test_who_is_hindered_alike_is_named_together_and_each_pair_once(why: Hindered, said: str) -> None:
    assert hindrances(why) == said


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (Hindered(), "nobody follows right now; try again, or name one of n1, n2"),
        (Hindered(paused=["n1"]), "nobody follows right now: n1 is paused; resume, or name one of n1, n2"),
        (
            Hindered(["n1"], ["n2"], [Link("n1", "n2")]),
            "nobody follows right now: n1 is paused and cut off from n2, n2 is down; "
            "resume, restart or heal, or name one of n1, n2",
        ),
    ],
)
def test_what_to_do_is_what_mends_it(why: Hindered, said: str) -> None:
    assert nobody("follower", NODES[:2], why) == said


def test_who_asks_for_a_leader_that_nobody_is_hears_of_the_paused_the_dead_and_the_cut_off() -> None:
    with SimulatedCluster(plan(5, seed=1)) as cluster:
        leader = cluster.wait_for_leader()
        first, second, third, fourth = (node for node in cluster.nodes if node != leader)
        cluster.network.cut(between(third, fourth))
        cluster.kill(leader)
        cluster.pause(first)
        cluster.kill(second)
        with pytest.raises(WaitTimeoutError, match=f"{third} is cut off from {fourth}$"):
            cluster.wait_for_leader(timeout_s=5)
        with pytest.raises(NoSuchNodeError) as told:
            cluster.resolve("leader")
        said = str(told.value)
        dead = " and ".join(sorted([leader, second]))
        assert all(words in said for words in (f"{dead} are down", f"{first} is paused")), said
        assert f"{third} is cut off from {fourth}; resume, restart or heal, or name one of n1, n2" in said


@pytest.mark.parametrize(
    ("asked", "told", "said"),
    [
        (Delete("k"), Told(Outcome.FAILED, "key not found"), "there is no key k"),
        (
            Put("k", "v"),
            Told(Outcome.FAILED, "no leader", message="Nobody leads."),
            "n1 refused: Nobody leads (n2 is down); nothing was changed, try again once a node leads",
        ),
        (
            Get("k"),
            Told(Outcome.FAILED, "no leader"),
            "n1 refused: no leader (n2 is down); nothing was read, --consistency default needs no leader",
        ),
        (
            Get("k"),
            Told(Outcome.UNKNOWN, "ReadTimeout"),
            "n1 gave no answer: ReadTimeout (n2 is down); nothing was read, ask another with --node",
        ),
        (
            Put("k", "v"),
            Told(Outcome.UNKNOWN, "ReadTimeout"),
            "n1 did not say: ReadTimeout (n2 is down); put k = v may or may not have happened, "
            "look with: python -m bench get k --consistency consistent",
        ),
    ],
)
def test_a_question_that_was_not_served_leaves_no_doubt_of_what_is_known(
    asked: Question, told: Told, said: str
) -> None:
    assert not_served(Operation(0, "n1", asked, told, 0, 1), "n2 is down") == said
