"""Every scenario against real nodes behind the real Toxiproxy; the same source as `python -m bench run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.judging import judge_again
from bench.runner import run_scenario
from bench.scenarios import SCENARIOS, Scenario
from bench.verdict import Verdict
from bench.worlds import LiveWorld


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_the_promise_is_kept_and_the_stored_run_says_so_again(
    scenario: Scenario, tmp_path: Path, toxiproxy: Path
) -> None:
    finished = run_scenario(scenario, runs=tmp_path, world=LiveWorld(toxiproxy))
    assert finished.verdict in (Verdict.VALID, Verdict.SKIPPED), finished.explain()
    again = judge_again(store.read(finished.folder))
    assert (again.verdict, again.agrees) == (finished.verdict, True)
