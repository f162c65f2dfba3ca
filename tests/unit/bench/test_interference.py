"""What the bench does to a cluster and nobody has asked for is told, and no verdict on the nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench.checkers import the_bench_did_not_interfere
from bench.cluster import Cluster, PromiseBrokenError, WaitTimeoutError
from bench.evidence import Evidence
from bench.runner import run_scenario
from bench.scenarios import SCENARIOS
from bench.verdict import Verdict
from bench.worlds import SimulatedWorld
from faults.links import RESTARTED


def restarts_toxiproxy(cluster: Cluster) -> None:
    cluster.note(RESTARTED, links="n1->n2", detail="Toxiproxy does not answer")


def waits_in_vain(cluster: Cluster) -> None:
    raise WaitTimeoutError("not within 20 s: a leader")


def is_disappointed(cluster: Cluster) -> None:
    raise AssertionError("n1 still leads")


def sees_two_leaders(cluster: Cluster) -> None:
    raise PromiseBrokenError("one_leader_in_a_term", "n1 and n2 lead term 7")


def test_a_proxy_that_the_bench_had_to_start_again_is_named_with_when_and_why() -> None:
    record = {"event": RESTARTED, "at_s": 3.5, "links": "", "detail": "Toxiproxy does not answer"}
    found = the_bench_did_not_interfere(Evidence((), {}, (record,)))
    assert found.verdict is Verdict.UNKNOWN
    assert "at 3.5000" in found.reason
    assert "Toxiproxy does not answer" in found.reason
    assert the_bench_did_not_interfere(Evidence((), {}, ())).verdict is Verdict.VALID


@pytest.mark.parametrize("fails", [waits_in_vain, is_disappointed])
def test_what_did_not_come_about_in_time_is_not_held_against_nodes_that_the_bench_got_in_the_way_of(
    fails: Callable[[Cluster], None], tmp_path: Path
) -> None:
    def disturbed(cluster: Cluster) -> None:
        restarts_toxiproxy(cluster)
        fails(cluster)

    for play, verdict in ((fails, Verdict.INVALID), (disturbed, Verdict.UNKNOWN)):
        done = run_scenario(replace(SCENARIOS["three_nodes"], play=play), runs=tmp_path, world=SimulatedWorld())
        story = done.findings[0]
        assert (story.check, story.verdict, done.verdict) == ("outcome", verdict, verdict)
        assert ("the bench had to start Toxiproxy again" in story.reason) is (verdict is Verdict.UNKNOWN)


def test_no_interference_excuses_a_broken_promise_of_safety(tmp_path: Path) -> None:
    def play(cluster: Cluster) -> None:
        restarts_toxiproxy(cluster)
        sees_two_leaders(cluster)

    done = run_scenario(replace(SCENARIOS["three_nodes"], play=play), runs=tmp_path, world=SimulatedWorld())
    assert (done.findings[0].check, done.verdict) == ("one_leader_in_a_term", Verdict.INVALID)
