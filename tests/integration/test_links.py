"""A cut between real nodes cuts, whatever the addresses are called; and what went past a link is seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.case import Plan
from bench.checkers import faults_touched_traffic
from bench.evidence import Evidence
from bench.live.cluster import LiveCluster
from bench.operations import Join, Outcome
from bench.scenarios.steps import write
from bench.verdict import Finding, Verdict
from faults.links import Mode
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
    assert [record for record in cluster.timeline if record["event"] == "bypass"] == []


def test_a_member_is_not_joined_at_an_address_to_which_there_is_no_link(cluster: LiveCluster) -> None:
    """Not even where it could be dialled: the port for clients answers, and has no link between nodes."""
    victim = follower_of(cluster)
    for port in (cluster.node_plan(victim).http.port, 9):
        refused = cluster.client(cluster.wait_for_leader()).ask(Join(victim, f"localhost:{port}"))
        assert (refused.outcome, refused.reason) == (Outcome.FAILED, "unreachable")
