"""What `run` and `explore` print, in virtual time."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import store
from bench.cli import cli
from bench.commands import running
from bench.runner import Run
from bench.scenarios import SAFETY, SCENARIOS, Cluster, Finding, Scenario, Verdict, scenario
from bench.scenarios.registry import scenarios_of
from bench.simulated.cluster import CANNOT


@scenario(nodes=3, checks=SAFETY)
def doomed(_: Cluster) -> None:
    """It is to be."""
    raise AssertionError("it was not to be")


def test_the_last_lines_of_a_run_say_where_each_broken_story_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    monkeypatch.setitem(SCENARIOS, "doomed", scenarios_of(doomed)[0])
    done = CliRunner().invoke(cli, ["run", "three_nodes", "doomed", "--world", "simulated", "--seeds", "0-1"])
    *_, summary, folder, title, first, second = done.output.splitlines()
    assert (done.exit_code, summary.partition(";")[0], folder) == (1, "2 of 4 VALID", f"  {tmp_path}")
    assert title.split()[:2] == ["INVALID", "doomed:"]
    for seed, kept in enumerate((first, second)):
        manifest = store.read(Path(kept.strip())).manifest
        assert (manifest.verdict, manifest.plan.seed) == (Verdict.INVALID, seed)


def test_a_story_of_three_nodes_is_not_played_with_two() -> None:
    done = CliRunner().invoke(cli, ["run", "three_nodes", "--nodes", "2", "--world", "simulated"])
    assert (done.exit_code, "needs at least 3 nodes" in done.output) == (2, True)


def test_however_many_runs_go_wrong_the_first_are_named_and_the_others_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = itertools.count()

    def one_in_two(*_: object, **__: object) -> Run:
        verdict = Verdict.UNKNOWN if next(numbers) % 2 else Verdict.VALID
        return Run("three_nodes", tmp_path, (Finding("outcome", verdict, ""),), 0.001, None)

    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    monkeypatch.setattr(running, "run_scenario", one_in_two)
    monkeypatch.setattr(Run, "explain", lambda _: "")
    done = CliRunner().invoke(cli, ["run", "three_nodes", "--world", "simulated", "--seeds", "0-9999"])
    assert done.exit_code == 2
    _, _, summary = done.output.partition("5000 of 10000 VALID")
    lines = summary.splitlines()[2:]
    assert (len(lines), lines[-1]) == (running.MOST_NAMED + 2, f"and {5000 - running.MOST_NAMED} more")
    seeds = "1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 4990 more"
    assert f"UNKNOWN   10.0 s  three_nodes: 5000 of 10000 seeds came out UNKNOWN: {seeds}\n" in done.output


def test_of_many_seeds_the_first_that_fails_is_told_in_full_and_all_by_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = {2: Verdict.UNKNOWN, 5: Verdict.INVALID, 6: Verdict.INVALID, 7: Verdict.INVALID}

    def some(*_: object, seed: int, **__: object) -> Run:
        return Run("a", tmp_path / str(seed), (Finding("outcome", verdicts.get(seed, Verdict.VALID), ""),), 0.1, None)

    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    monkeypatch.setattr(running, "run_scenario", some)
    monkeypatch.setattr(Run, "explain", lambda run: f"why {run.folder.name}")
    done = CliRunner().invoke(cli, ["run", "three_nodes", "--world", "simulated", "--seeds", "0,2,5-9,20"])
    assert done.output.splitlines()[:2] == [
        "why 2",
        "INVALID    0.8 s  three_nodes: 3 of 8 seeds failed: 5-7; 1 of 8 seeds came out UNKNOWN: 2",
    ]
    assert done.exit_code == 1


def test_what_a_pattern_fits_is_run_and_so_is_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def well(scenario: Scenario, **_: object) -> Run:
        return Run(scenario.name, tmp_path, (Finding("outcome", Verdict.VALID, ""),), 0.0, None)

    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    monkeypatch.setattr(running, "run_scenario", well)
    for names, count in ((["all"], len(SCENARIOS)), (["split_brain[*hold]", "split_brain[two_halves*"], 15)):
        done = CliRunner().invoke(cli, ["run", *names, "--world", "simulated"])
        assert f"{count} of {count} VALID" in done.output
        listed = CliRunner().invoke(cli, ["list", "--all", *names])
        assert len(listed.output.splitlines()) == count + 1


def test_a_flaw_is_noticed_and_kept_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    arguments = ["run", "kill_leader", "--world", "simulated", "--flaw", "commit_old_term"]
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, "only_the_leaders_term_is_counted" in done.output) == (1, True), done.output
    (run,) = store.runs_in(tmp_path).runs
    assert run.manifest.plan.flaw == "commit_old_term"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--world", "simulated", "--seed", "1", "--seeds", "0-9"], "--seed is one and --seeds are several"),
        (["--world", "simulated", "--seed", "0-9"], "'0-9' is more than one seed; write --seeds 0-9"),
        (["--world", "simulated", "--seed", "x"], "'x' is no seed"),
        (["--world", "simulated", "--seeds", "9-0"], "'9-0' ends before it begins"),
        (["--world", "simulated", "--seeds", "0-" + "9" * 5000], "a seed of more than 18 digits"),
        (["--world", "simulated", "--seeds", "0,,5"], "'' is no seed; write 7, or several as 0-99 or 0,5,7-9"),
        (["--world", "simulated", "--flaw", "vote_twise"], "there is no flaw 'vote_twise'; did you mean vote_twice"),
        (["--json", "--keep"], "--keep waits for somebody to look, and --json is for programs"),
        (["--world", "simulated", "--keep"], "--keep is for real processes"),
        (["--world", "simulated", "--limit", "0s"], "no scenario ends within"),
        (["--world", "simulated", "--limit", "soon"], "'soon' is no duration"),
        (["--seed", "1"], "real processes have no seed"),
        (["--seeds", "0-9"], "real processes have no seed"),
        (["no_such.py", "--world", "simulated"], "no_such.py is not there"),
        (["kil_leader"], "did you mean kill_leader"),
        (["xyz*"], "there is no scenario 'xyz*'. See: python -m bench list"),
    ],
)
def test_what_cannot_be_run_as_asked_is_refused_in_a_sentence(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    done = CliRunner().invoke(cli, ["run", "three_nodes", *arguments])
    assert (done.exit_code, words in done.output, len(done.output.splitlines())) == (2, True, 1), done.output
    assert not (tmp_path / "runs").exists()


def test_a_flaw_that_a_system_cannot_have_leaves_the_scenario_unplayed_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path))
    monkeypatch.setitem(CANNOT, "flaws", "nobody knows how to break it")
    done = CliRunner().invoke(cli, ["run", "kill_leader", "--world", "simulated", "--flaw", "forget_vote"])
    assert done.exit_code == 0
    assert "SKIPPED    0.0 s  kill_leader; flaws: nobody knows how to break it" in done.output


def test_the_list_has_each_family_once_and_each_member_when_asked() -> None:
    short, whole = (CliRunner().invoke(cli, ["list", *more]).output for more in ([], ["--all"]))
    assert "split_brain (27)" in short
    assert "split_brain[two_halves-both_ways-hold]" in whole
    assert len(whole.splitlines()) == len(SCENARIOS) + 1


def test_an_exploration_says_its_outcome_in_the_first_line_elsewhere_than_on_a_terminal() -> None:
    done = CliRunner().invoke(cli, ["explore", "--seeds", "1", "--jobs", "1", "--nodes", "3"])
    assert done.output.startswith("VALID  1 schedules of 3 nodes")
