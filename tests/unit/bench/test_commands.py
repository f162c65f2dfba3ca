"""What `run` and `explore` print, in virtual time."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import cli
from bench.cluster import Cluster
from bench.scenarios import SCENARIOS


def doomed(_: Cluster) -> None:
    raise AssertionError("it was not to be")


def test_the_last_lines_of_a_run_say_where_each_broken_story_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    monkeypatch.setitem(
        SCENARIOS, "doomed", replace(SCENARIOS["three_nodes"], name="doomed", family="doomed", play=doomed)
    )
    done = CliRunner().invoke(cli, ["run", "three_nodes", "doomed", "--world", "simulated", "--seeds", "0-1"])
    *_, summary, first, second = done.output.splitlines()
    assert (done.exit_code, summary.partition(";")[0]) == (1, "2 of 4 VALID")
    for line in (first, second):
        verdict, name, folder = line.split()
        assert (verdict, name) == ("INVALID", "doomed:")
        assert json.loads((Path(folder) / "verdict.json").read_text())["verdict"] == "INVALID"


def test_a_story_of_three_nodes_is_not_played_with_two() -> None:
    done = CliRunner().invoke(cli, ["run", "three_nodes", "--nodes", "2", "--world", "simulated"])
    assert (done.exit_code, "needs at least 3 nodes" in done.output) == (2, True)


def test_an_exploration_says_its_outcome_in_the_first_line_elsewhere_than_on_a_terminal() -> None:
    done = CliRunner().invoke(cli, ["explore", "--seeds", "1", "--jobs", "1", "--nodes", "3"])
    assert done.output.startswith("VALID  1 schedules of 3 nodes")
