"""What follows, once for all worlds, from what each world can do."""

from __future__ import annotations

import pickle
from contextlib import ExitStack

import pytest

from bench.case import Settings, plan
from bench.cluster import NodeStatus, PromiseBrokenError, WaitTimeoutError, members_of
from bench.scenarios.steps import followers
from bench.simulated.cluster import SimulatedCluster
from faults.cuts import between
from faults.links import CLIENT, Link
from faults.nodes import NodeKind, NodeState


def test_a_leader_whom_no_more_than_half_can_be_seen_to_follow_is_none_to_build_on() -> None:
    with SimulatedCluster(plan(4, seed=1)) as cluster:
        leader = cluster.wait_for_leader()
        for follower in [node for node in cluster.nodes if node != leader][:2]:
            cluster.pause(follower)
        with pytest.raises(WaitTimeoutError, match="a leader that a majority follows"):
            cluster.wait_for_leader(timeout_s=0.05)
        assert cluster.leads(leader)


def test_a_node_that_is_started_again_on_its_way_up_is_up_as_late_as_that() -> None:
    cluster = SimulatedCluster(plan(1, seed=1, settings=Settings(start_s=1.0)))
    with cluster.opened():
        cluster.start("n1")
        cluster.pass_time(0.9)
        with cluster.node_faults.lasting("n1", NodeKind.DOWN, NodeState(down=True)):
            assert not cluster.is_running("n1")
        cluster.pass_time(1.8)
        assert (cluster.is_running("n1"), cluster.status("n1")) == (True, None)
        cluster.wait_until(lambda: cluster.status("n1"), "n1 is up", timeout_s=1.2)


def test_a_node_that_two_faults_kill_in_one_save_is_down_until_both_are_over() -> None:
    with SimulatedCluster(plan(3, seed=1)) as cluster:
        leader = cluster.wait_for_leader()
        with ExitStack() as first, ExitStack() as second:
            first.enter_context(cluster.torn(leader))
            second.enter_context(cluster.torn(leader))
            cluster.client(leader).put("k", "v")
            assert not cluster.is_running(leader)
            first.close()
            assert not cluster.is_running(leader)
        assert cluster.is_running(leader)


def test_a_story_can_wait_until_a_fault_has_met_traffic() -> None:
    with SimulatedCluster(plan(3, seed=1)) as cluster:
        leader = cluster.wait_for_leader()
        others = followers(cluster, leader)
        silent, used = sorted(between(*others)), [Link(leader, peer) for peer in others]
        with cluster.network.delayed(silent, 1), cluster.network.delayed(used, 1):
            assert not any(cluster.network.met().values())
            with pytest.raises(WaitTimeoutError, match=f"a message goes the way of a faulty link: {silent[0]}"):
                cluster.wait_until_met(silent, timeout_s=5)
            cluster.wait_until_met(timeout_s=5)
            assert all(cluster.network.met(used).values())


@pytest.mark.parametrize("source", ["n2", CLIENT])
def test_waiting_for_traffic_on_links_that_no_fault_between_nodes_is_on_is_a_mistake(source: str) -> None:
    with SimulatedCluster(plan(3, seed=1)) as cluster:
        cluster.wait_for_leader()
        with cluster.network.cutting([Link(CLIENT, "n1")]), pytest.raises(ValueError, match="no link between nodes"):
            cluster.wait_until_met([Link(source, "n1")])


def test_a_clock_that_has_drifted_runs_at_its_own_rate_again() -> None:
    cluster = SimulatedCluster(plan(1, seed=1))
    clock = cluster.world.nodes["n1"].clock
    own = clock.rate
    with cluster.node_faults.lasting("n1", NodeKind.CLOCK, NodeState(clock_rate=1.5)):
        assert clock.rate == 1.5
    assert clock.rate == own != 1.0


def test_a_promise_that_was_broken_in_another_process_is_told_as_it_was_there() -> None:
    told = pickle.loads(pickle.dumps(PromiseBrokenError("logs_match", "n1 and n2 differ")))
    assert (told.promise, told.words, str(told)) == ("logs_match", "n1 and n2 differ", "logs_match: n1 and n2 differ")


def seen(role: str, term: int, members: str, *staged: str, last_index: int = 1) -> NodeStatus:
    addresses = {f"n{number}": "" for number in members}
    return NodeStatus("n1", role, term, None, last_index, 0, 0, "", addresses, staged)


@pytest.mark.parametrize(
    ("statuses", "members"),
    [
        ([], {}),
        ([None, seen("Follower", 0, "")], {}),
        ([None, seen("Leader", 1, "12", "n2")], {"n1": "voter", "n2": "staged"}),
        ([seen("Follower", 3, "123"), seen("Leader", 2, "1")], {"n1": "voter"}),
        ([seen("Leader", 2, "123"), seen("Leader", 3, "1")], {"n1": "voter"}),
        ([seen("Candidate", 3, "1"), seen("Follower", 3, "12", last_index=2)], {"n1": "voter", "n2": "voter"}),
    ],
)
def test_who_is_a_member_is_what_the_newest_leader_sees_or_else_who_knows_most(
    statuses: list[NodeStatus | None], members: dict[str, str]
) -> None:
    assert members_of(statuses) == members
