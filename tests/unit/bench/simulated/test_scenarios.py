"""Every scenario in virtual time; the same source as `python -m bench run --world simulated`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.runner import run
from bench.scenarios import SCENARIOS, Scenario
from bench.verdict import Verdict
from bench.worlds import SimulatedWorld


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_the_promise_is_kept(scenario: Scenario, seed: int, tmp_path: Path) -> None:
    finished = run(scenario, runs=tmp_path, world=SimulatedWorld(seed))
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
