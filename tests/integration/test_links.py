"""A cut between real nodes cuts, whatever the addresses are called; and what went past a link is seen."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bench.case import Plan
from bench.checkers import faults_touched_traffic
from bench.evidence import Evidence
from bench.live.cluster import LiveCluster
from bench.live.control import Commands, HealAsked
from bench.live.waiting import wait_until
from bench.operations import Join, Outcome
from bench.scenarios.steps import hand_over, write
from bench.systems.konsul import KonsulSystem
from bench.systems.module import NodeProcess
from bench.systems.protocol import NodePlan
from bench.verdict import Finding, Verdict
from faults import cuts
from faults.links import BYPASS, Link, Mode
from tests.integration.live import unopened

PLAN = Plan(nodes=("ada", "bo", "cy"), members=("ada", "bo", "cy"))


@pytest.fixture
def cluster(tmp_path: Path, toxiproxy: Path) -> Iterator[LiveCluster]:
    with unopened(PLAN, tmp_path, toxiproxy) as found, found:
        yield found


def follower_of(cluster: LiveCluster) -> str:
    leader = cluster.wait_for_leader()
    return next(node for node in cluster.nodes if node != leader)


def judged(cluster: LiveCluster) -> Finding:
    return faults_touched_traffic(Evidence((), {}, tuple(cluster.timeline)))


def applied(cluster: LiveCluster, node: str) -> int:
    return cluster.wait_until(lambda: cluster.status(node), f"{node} answers").applied_index


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("host", ["LOCALHOST", "127.0.0.93"])
def test_a_member_that_is_joined_again_by_another_name_is_cut_off_by_a_cut(
    cluster: LiveCluster, host: str, mode: Mode
) -> None:
    """It once went on as if there were no cut, because its links were known by one spelling alone."""
    victim = follower_of(cluster)
    again = Join(victim, f"{host}:{cluster.node_plan(victim).raft.port}")
    others = [node for node in cluster.nodes if node != victim]
    assert cluster.client(cluster.wait_for_leader()).ask(again).outcome is Outcome.OK
    cluster.wait_until_agreed()
    with cluster.network.isolated(victim, mode):
        before = applied(cluster, victim)
        for number in range(4):
            write(cluster, f"unheard-{number}", among=others)
        assert applied(cluster, victim) == before
    cluster.wait_until_agreed()
    assert applied(cluster, victim) > before
    assert judged(cluster).verdict is Verdict.VALID, cluster.timeline
    assert [record for record in cluster.timeline if record["event"] == BYPASS] == []


def test_a_member_is_not_joined_at_an_address_to_which_there_is_no_link(cluster: LiveCluster) -> None:
    """Not even where it could be dialled: the port for clients answers, and has no link between nodes."""
    victim = follower_of(cluster)
    for port in (cluster.node_plan(victim).http.port, 9):
        refused = cluster.client(cluster.wait_for_leader()).ask(Join(victim, f"localhost:{port}"))
        assert (refused.outcome, refused.reason) == (Outcome.FAILED, "unreachable")


class Unled(KonsulSystem):
    """Nodes of which one, `stray`, is told of no links, and dials its peers where they are."""

    def __init__(self, stray: str) -> None:
        super().__init__()
        self._stray = stray

    def start(
        self, node: NodePlan, cluster: Plan, *, founders: Sequence[NodePlan], stream: logging.Handler
    ) -> NodeProcess:
        led = replace(node, dial={}) if node.name == self._stray else node
        return super().start(led, cluster, founders=founders, stream=stream)


@pytest.fixture
def unled(tmp_path: Path, toxiproxy: Path) -> Iterator[LiveCluster]:
    with unopened(PLAN, tmp_path, toxiproxy) as found:
        found.system = Unled("cy")
        with found:
            yield found


def lead(cluster: LiveCluster, node: str) -> None:
    hand_over(cluster, node)
    cluster.wait_until_agreed()


def test_who_goes_past_a_cut_link_is_seen_when_it_heals_and_no_cut_is_believed(unled: LiveCluster) -> None:
    lead(unled, "cy")
    commands = Commands(unled, lambda _: None)
    with unled.network.isolated("bo"):
        before = applied(unled, "bo")
        write(unled, "heard", among=["cy", "ada"])
        unled.wait_until(lambda: applied(unled, "bo") > before, "bo hears of it all the same")
        assert commands.status()["links"]["cy->bo"] == "cut (blackhole), bypassed"
        assert commands.status()["links"]["ada->bo"] == "cut (blackhole)"
        _, heal = commands.table["heal"]
        assert heal(HealAsked("cy", "bo"))["bypassed"] == ["cy->bo"]
    bo = unled.node_plan("bo").raft
    past = [record for record in unled.timeline if record["event"] == BYPASS and record["links"] == "cy->bo"]
    assert [record["detail"].partition(" to ")[2] for record in past] == [str(bo)]
    found = judged(unled)
    assert found.verdict is Verdict.UNKNOWN
    assert past[0]["detail"] in found.reason


@pytest.mark.parametrize("end", ["heal", "kill", "kill the other", "stop", "down"])
def test_who_went_past_is_seen_at_the_latest_when_it_ends(unled: LiveCluster, end: str) -> None:
    lead(unled, "cy")
    unled.network.cut(cuts.isolate("bo", PLAN.nodes))
    write(unled, "heard", among=["cy", "ada"])
    ends: dict[str, Callable[[], object]] = {
        "heal": unled.network.heal,
        "kill": lambda: unled.kill("cy"),
        "kill the other": lambda: unled.kill("bo"),
        "stop": lambda: unled.shut_down("cy"),
        "down": unled.stop,
    }
    ends[end]()

    def noted() -> bool:
        return any(record["links"] == "cy->bo" for record in unled.timeline if record["event"] == BYPASS)

    # What heals is looked at beside the story; what ends, before it does.
    assert wait_until(noted, "it is noted") if end == "heal" else noted()
    assert judged(unled).verdict is Verdict.UNKNOWN


def test_what_went_past_a_link_did_not_meet_its_fault(unled: LiveCluster) -> None:
    lead(unled, "cy")
    with unled.network.cutting([Link("cy", "bo")]):
        write(unled, "heard", among=["cy", "ada"])
    (healed,) = [record["attempted"] for record in unled.timeline if record["event"] == "heal"]
    assert healed == 0
