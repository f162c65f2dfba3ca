"""Every scenario in virtual time; the same source as `python -m bench run --world simulated`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.case import Case, Plan, plan
from bench.checkers import SAFETY, acknowledged_writes_survive
from bench.cluster import PromiseBrokenError
from bench.judging import judge_again
from bench.runner import run_case, run_scenario
from bench.scenarios import SCENARIOS, Scenario
from bench.schedule import Clients, Cut, Drift, Schedule
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants
from bench.store import Recording, read
from bench.verdict import Verdict
from bench.worlds import SimulatedWorld
from node import flaws
from node.machine.kv import KeyValueStore, Result
from node.raft import Entry, EntryKind

SEED = 7
"""One each, so that the suite stays quick; `python -m bench run --world simulated --seeds 0-99` walks more."""


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_the_promise_is_kept(scenario: Scenario, tmp_path: Path) -> None:
    finished = run_scenario(scenario, runs=tmp_path, world=SimulatedWorld(), seed=SEED)
    assert finished.verdict in (Verdict.VALID, Verdict.SKIPPED), finished.explain()
    assert judge_again(read(finished.folder)).agrees


def told(play: Callable[..., None], **more: Any) -> Scenario:
    """A story of three nodes, which nothing else is asked of."""
    return Scenario(name="s", family="s", nodes=3, minimum=3, checks=(), play=play, promise="", **more)


def test_a_scenario_that_the_world_cannot_play_is_skipped_with_the_reason(tmp_path: Path) -> None:
    def play(cluster: object) -> None:
        raise AssertionError("it was played")

    finished = run_scenario(told(play, needs=("memory_limit",)), runs=tmp_path, world=SimulatedWorld())
    assert (finished.verdict, finished.verdict.exit_status) == (Verdict.SKIPPED, 0)
    assert "share the memory of one process" in finished.explain()


def test_a_broken_promise_is_invalid_with_the_line_and_the_last_events(tmp_path: Path) -> None:
    def play(cluster: object) -> None:
        raise AssertionError("the sky is green")

    finished = run_scenario(told(play), runs=tmp_path, world=SimulatedWorld())
    assert finished.verdict is Verdict.INVALID
    assert "the sky is green" in finished.explain()
    assert "AppendEntries" in finished.explain(), "the end of the log is shown"


def test_a_promise_broken_between_two_lines_of_the_story_is_seen_at_once(tmp_path: Path) -> None:
    def play(cluster: SimulatedCluster) -> None:
        leader = cluster.wait_for_leader()
        cluster.client(leader).put("x", "1")
        cluster.world.observer.applied(leader, Entry(1, 1, EntryKind.COMMAND, b""), b"another", 0.0)

    finished = run_scenario(told(play), runs=tmp_path, world=SimulatedWorld())
    assert finished.verdict is Verdict.INVALID
    assert "state_machines_agree" in finished.explain()


class Biased(Invariants):
    """Has it that nobody may perform a command."""

    def performed(self, name: str, entry: Entry, result: Result, store: KeyValueStore, at_s: float) -> None:
        raise PromiseBrokenError("nobody_performs_anything", f"{name} has performed {entry.index}")


class BiasedWorld(SimulatedWorld):
    def cluster(self, plan: Plan, recording: Recording) -> SimulatedCluster:
        return SimulatedCluster(plan, recording, observer=Biased())


def test_a_story_cannot_keep_a_broken_promise_to_itself(tmp_path: Path) -> None:
    def play(cluster: SimulatedCluster) -> None:
        with contextlib.suppress(Exception):
            cluster.client(cluster.wait_for_leader()).put("x", "1")

    finished = run_scenario(told(play), runs=tmp_path, world=BiasedWorld())
    assert finished.findings[0].check == "nobody_performs_anything"


def test_a_story_that_breaks_what_a_promise_rests_on_is_told_so_and_the_rest_is_judged(tmp_path: Path) -> None:
    scenario = replace(SCENARIOS["clock_stands_still"], checks=(*SAFETY, acknowledged_writes_survive))
    finished = run_scenario(scenario, runs=tmp_path, world=SimulatedWorld(), seed=SEED)
    unknown = [finding for finding in finished.findings if finding.verdict is not Verdict.VALID]
    assert [(one.check, one.verdict) for one in unknown] == [("one_leader_at_a_time", Verdict.UNKNOWN)]
    assert "this rests on clocks that run about alike" in unknown[0].reason


@pytest.mark.parametrize("seed", range(5))
def test_a_case_in_which_a_leaders_clock_stands_still_is_unknown_for_that_alone(seed: int, tmp_path: Path) -> None:
    faults = (
        Clients(at_s=0, for_s=8, number=4),
        Drift(at_s=1.5, for_s=4, node="leader", rate=0),
        Cut(at_s=2, for_s=3, sources=("leader",)),
    )
    nodes = ("n1", "n2", "n3")
    case = Case(schedule=Schedule(nodes=nodes, members=nodes, length_s=8, faults=faults), seed=seed)
    finished = run_case(case, runs=tmp_path, world=SimulatedWorld())
    assert finished.verdict is Verdict.UNKNOWN, finished.explain()
    assert {one.check for one in finished.findings if one.verdict is not Verdict.VALID} == {"one_leader_at_a_time"}


class Unprotected(flaws.load("no_pre_vote"), flaws.load("heed_every_candidate")):  # type: ignore[misc]
    """Raft as in the paper: whoever times out stands, and is heard."""


@pytest.mark.parametrize("name", ["removed_node", "minority_never_elects"])
def test_who_disturbs_a_leader_is_found_by_the_scenario_that_promises_that_nobody_does(name: str) -> None:
    scenario = SCENARIOS[name]
    with SimulatedCluster(scenario.plan(seed=SEED, profile="default"), core=Unprotected) as cluster:
        with pytest.raises(AssertionError, match=r"spent a term|term was spent"):
            scenario.play(cluster)
        cluster.wait_until_agreed()
        found = [check(cluster.evidence()) for check in scenario.checks]
    invalid = [finding.check for finding in found if finding.verdict is Verdict.INVALID]
    assert invalid == ["nobody_disturbs_a_leader"]


def test_a_follower_that_forgets_what_a_late_message_does_not_have_is_found_where_messages_overtake() -> None:
    """Raft §5.3: an entry that a majority has is erased by an older AppendEntries; in order there is none."""
    story, core = SCENARIOS["noisy_network"], flaws.load("erase_on_stale_append")
    with (
        SimulatedCluster(story.plan(seed=SEED, profile="default"), core=core) as cluster,
        pytest.raises(PromiseBrokenError, match="is committed"),
    ):
        story.play(cluster)


def test_noise_is_on_every_link_until_its_block_ends_in_whatever_way() -> None:
    with SimulatedCluster(plan(3, seed=1)) as cluster:
        links = {*cluster.network.clear()}
        with pytest.raises(AssertionError, match="the story ends"):
            lose_everything(cluster)
        assert {*cluster.network.clear()} == links
        assert not any(link.rough for link in cluster.network.links.values())


def lose_everything(cluster: SimulatedCluster) -> None:
    with cluster.noise(loss=1.0, duplication=0.5, reordering=0.5):
        assert cluster.network.clear() == {}
        cluster.wait_until(lambda: not any(map(cluster.leads, cluster.nodes)), "nobody hears of a leader any more")
        raise AssertionError("the story ends")


def test_a_wiped_node_is_filled_again() -> None:
    with SimulatedCluster(plan(3, seed=1), observer=Invariants()) as cluster:
        cluster.client(cluster.wait_for_leader()).put("x", "1")
        follower = cluster.resolve("follower")
        cluster.restart(follower, wipe=True)
        cluster.wait_until(lambda: cluster.client(follower).get("x").value == "1", f"{follower} is filled again")
        cluster.wait_until_agreed()
