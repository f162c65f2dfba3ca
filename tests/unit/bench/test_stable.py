"""What rests on stable storage is held against nobody whose disk has forgotten something."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.case import plan
from bench.checkers import acknowledged_writes_survive, logs_agree, one_leader_at_a_time, one_leader_per_term
from bench.cluster import Cluster, PromiseBrokenError
from bench.evidence import Evidence, Record
from bench.operations import Freshness, Get, Operation, Outcome, Put, Told
from bench.runner import run_scenario
from bench.scenarios import SAFETY, scenario, write
from bench.scenarios.registry import scenarios_of
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants
from bench.verdict import Check, Verdict
from bench.worlds import SimulatedWorld

TRACES: dict[str, tuple[Record, ...]] = {
    node: (
        {"event": "role", "at_s": at_s, "role": "Leader", "term": 2},
        {"event": "lease", "at_s": at_s, "until_s": 9.0, "term": 2},
        {"event": "applied", "at_s": at_s, "term": 2, "index": 7, "digest": digest},
    )
    for node, at_s, digest in (("n1", 1.0, "aa"), ("n2", 4.0, "bb"))
}
"""Two leaders of one term at one time, who applied two logs."""
HISTORY = (
    Operation(0, "n1", Put("k", "v"), Told(Outcome.OK, modify_index=5), 1.0, 1.5),
    Operation(1, "n2", Get("k", Freshness.LINEARIZABLE), Told(Outcome.OK), 5.0, 5.5),
)
"""What was acknowledged is not read."""
RESTING: tuple[Check, ...] = (one_leader_per_term, one_leader_at_a_time, logs_agree, acknowledged_writes_survive)


def restarted(**how: Any) -> Record:
    return {"event": "restart", "at_s": 3.0, "node": "n3", **how}


@pytest.mark.parametrize("check", RESTING)
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"wipe": True}, "at 3.0000 n3 came back with an empty disk"),
        ({"older": True}, "at 3.0000 n3 came back with an older copy of its disk"),
        ({"without": "log"}, "at 3.0000 n3 came back without its log"),
    ],
)
def test_what_is_broken_after_a_disk_forgot_is_not_known_to_be_the_nodes_fault(
    check: Check, how: dict[str, Any], words: str
) -> None:
    kept = check(Evidence(HISTORY, TRACES, (restarted(wipe=False, older=False, without=""),)))
    assert kept.verdict is Verdict.INVALID
    forgot = check(Evidence(HISTORY, TRACES, (restarted(**how),)))
    assert (forgot.verdict, forgot.reason) == (
        Verdict.UNKNOWN,
        f"{kept.reason}; but {words}, and this rests on stable storage",
    )


def test_what_holds_all_the_same_is_valid() -> None:
    led = {"n1": TRACES["n1"]}
    assert one_leader_per_term(Evidence((), led, (restarted(wipe=True),))).verdict is Verdict.VALID


def cluster() -> SimulatedCluster:
    return SimulatedCluster(plan(3, seed=1, profile="low-latency"), observer=Invariants())


def test_a_node_comes_back_as_it_was_when_its_disk_was_copied() -> None:
    with cluster() as found:
        leader = write(found, "before")
        found.wait_until_agreed()
        victim = found.kill(next(node for node in found.nodes if node != leader))
        found.copy_disk(victim)
        found.restart(victim)
        write(found, "after")
        found.wait_until_agreed()
        found.kill(victim)
        status = found.status(leader)
        assert status is not None
        with found.network.isolated(victim):
            found.restart(victim, older=True)
            older = found.status(victim)
            assert older is not None
            assert older.last_index < status.last_index
        found.wait_until_agreed()


def test_a_disk_is_copied_while_its_node_is_down_and_comes_back_if_it_was_copied() -> None:
    with cluster() as found:
        with pytest.raises(ValueError, match="n1 runs, and may be writing; kill it"):
            found.copy_disk("n1")
        with pytest.raises(ValueError, match="there is no copy of the disk of n1"):
            found.restart("n1", older=True)
        with pytest.raises(ValueError, match="exclude one another"):
            found.restart("n1", older=True, wipe=True)


def test_a_save_that_fails_stops_the_node_and_the_next_ones_succeed() -> None:
    with cluster() as found, found.writing():
        victim = found.fail_save("follower")
        assert not found.is_running(victim)
        found.restart(victim)
        found.wait_until(lambda: found.caught_up(victim), f"{victim} has caught up")


def test_an_invariant_convicts_nobody_of_what_a_disk_forgot(tmp_path: Path) -> None:
    def told(older: bool) -> Verdict:
        @scenario(nodes=3, checks=SAFETY)
        def breaks(cluster: Cluster) -> None:
            """It breaks a promise."""
            write(cluster, "k")
            cluster.copy_disk(cluster.kill("n2"))
            cluster.restart("n2", older=older)
            raise PromiseBrokenError("committed_stays", "it does not")

        (made,) = scenarios_of(breaks)
        return run_scenario(made, runs=tmp_path, world=SimulatedWorld()).verdict

    assert (told(False), told(True)) == (Verdict.INVALID, Verdict.UNKNOWN)
