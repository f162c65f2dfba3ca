"""Every scenario in virtual time; the same source as `python -m bench run --world simulated`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.runner import run
from bench.scenarios import SCENARIOS, Scenario
from bench.simulated.cluster import SimulatedCluster
from bench.simulated.invariants import Invariants
from bench.verdict import Verdict
from bench.worlds import SimulatedWorld
from node import flaws
from node.raft import Entry, EntryKind

SEED = 7
"""One each, so that the suite stays quick; `bench run --world simulated --seeds 0-99` walks more."""


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_the_promise_is_kept(scenario: Scenario, tmp_path: Path) -> None:
    finished = run(scenario, runs=tmp_path, world=SimulatedWorld(SEED))
    assert finished.verdict in (Verdict.VALID, Verdict.SKIPPED), finished.explain()


def test_a_scenario_that_the_world_cannot_play_is_skipped_with_the_reason(tmp_path: Path) -> None:
    def play(cluster: object) -> None:
        raise AssertionError("it was played")

    scenario = Scenario("s", "s", 3, 3, (), play, "", {"simulated": "there are no sockets"})
    finished = run(scenario, runs=tmp_path, world=SimulatedWorld(1))
    assert (finished.verdict, finished.verdict.exit_status) == (Verdict.SKIPPED, 0)
    assert "there are no sockets" in finished.explain()


def test_a_broken_promise_is_invalid_with_the_line_and_the_last_events(tmp_path: Path) -> None:
    def play(cluster: object) -> None:
        raise AssertionError("the sky is green")

    finished = run(Scenario("s", "s", 3, 3, (), play, ""), runs=tmp_path, world=SimulatedWorld(1))
    assert finished.verdict is Verdict.INVALID
    assert "the sky is green" in finished.explain()
    assert "AppendEntries" in finished.explain(), "the end of the log is shown"


def test_a_promise_broken_between_two_lines_of_the_story_is_seen_at_once(tmp_path: Path) -> None:
    def play(cluster: SimulatedCluster) -> None:
        leader = cluster.wait_for_leader()
        cluster.client(leader).put("x", "1")
        cluster.world.observer.applied(leader, Entry(1, 1, EntryKind.COMMAND, b""), b"another", 0.0)

    scenario = Scenario("s", "s", 3, 3, (), play, "")
    finished = run(scenario, runs=tmp_path, world=SimulatedWorld(1))
    assert finished.verdict is Verdict.INVALID
    assert "state_machines_agree" in finished.explain()


class Unprotected(flaws.load("no_pre_vote"), flaws.load("heed_every_candidate")):  # type: ignore[misc]
    """Raft as in the paper: whoever times out stands, and is heard."""


@pytest.mark.parametrize("name", ["removed_node", "minority_never_elects"])
def test_who_disturbs_a_leader_is_found_by_the_scenario_that_promises_that_nobody_does(name: str) -> None:
    scenario = SCENARIOS[name]
    with SimulatedCluster(nodes=scenario.nodes, seed=SEED, setup=scenario.setup, core=Unprotected) as cluster:
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
        SimulatedCluster(nodes=story.nodes, seed=SEED, core=core) as cluster,
        pytest.raises(AssertionError, match="is committed"),
    ):
        story.play(cluster)


def test_noise_is_on_every_link_until_its_block_ends_in_whatever_way() -> None:
    with SimulatedCluster(nodes=3, seed=1) as cluster:
        links = cluster.network.clear()
        with pytest.raises(AssertionError, match="the story ends"):
            lose_everything(cluster)
        assert cluster.network.clear() == links
        assert not any(link.rough for link in cluster.network.links.values())


def lose_everything(cluster: SimulatedCluster) -> None:
    with cluster.noise(loss=1.0, duplication=0.5, reordering=0.5):
        assert cluster.network.clear() == frozenset()
        cluster.wait_until(lambda: not any(map(cluster.leads, cluster.nodes)), "nobody hears of a leader any more")
        raise AssertionError("the story ends")


def test_a_wiped_node_is_filled_again() -> None:
    with SimulatedCluster(nodes=3, seed=1, observer=Invariants()) as cluster:
        cluster.client(cluster.wait_for_leader()).put("x", "1")
        follower = cluster.resolve("follower")
        cluster.restart(follower, wipe=True)
        cluster.wait_until(lambda: cluster.client(follower).get("x").result == "1", f"{follower} is filled again")
        cluster.wait_until_agreed()
