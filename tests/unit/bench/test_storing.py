"""What `runs`, `show` and `check` say of what is kept."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import judging, store
from bench.case import plan
from bench.checkers import SAFETY
from bench.cli import cli
from bench.cluster import Cluster
from bench.commands import histories, showing
from bench.evidence import Evidence
from bench.manifest import RunKind
from bench.runner import run_scenario
from bench.scenarios import SCENARIOS
from bench.store import Findings
from bench.verdict import Finding, Verdict
from bench.worlds import SimulatedWorld

LONG = "split_brain[leader_with_minority-nothing_out-blackhole]"


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def played(runs: Path, name: str = "three_nodes", **changes: object) -> Path:
    scenario = replace(SCENARIOS[name], **changes)  # type: ignore[arg-type]
    return run_scenario(scenario, runs=runs, world=SimulatedWorld(), seed=7).folder


def doomed(cluster: Cluster) -> None:
    raise AssertionError("it was not to be")


def going_on(runs: Path) -> store.Recording:
    """An `up`, which nobody judges."""
    checks = [check.__name__ for check in SAFETY]
    return store.begin(runs, kind=RunKind.UP, name="up-default", world="live", plan=plan(3), checks=checks)


# The list


def test_runs_are_listed_newest_first_in_a_hundred_columns(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "PIPE_WIDTH", 100)
    first, second, third = played(runs), played(runs, LONG, play=doomed), played(runs, "memory_pressure[leader_of]")
    heading, *printed = bench("runs").output.splitlines()
    assert heading.split() == ["run", "what", "world", "verdict", "age", "size"]
    # A long name goes on below, in its column.
    lines, below = ([line for line in printed if line.startswith(" ") is indented] for indented in (False, True))
    assert "".join([lines[1].split()[1], *(line.strip() for line in below)]) == LONG
    assert [line.split()[0] for line in lines] == [folder.name for folder in (third, second, first)]
    assert [line.split()[3] for line in lines] == ["SKIPPED", "INVALID", "VALID"]
    assert all(len(line) <= 100 for line in lines)


def test_what_has_no_verdict_says_why(runs: Path) -> None:
    with going_on(runs):
        assert "going on" in bench("runs").output
    assert "cut off" in bench("runs").output


def test_a_program_is_told_the_same(runs: Path) -> None:
    folder = played(runs)
    (told,) = json.loads(bench("runs", "--json").output)
    wanted = {"id": folder.name, "name": "three_nodes", "seed": 7, "verdict": "VALID", "folder": str(folder)}
    assert told.items() >= wanted.items()
    assert (told["state"], told["size_bytes"] > 1000) == ("ended", True)


def test_without_runs_there_is_a_sentence_and_an_empty_list(runs: Path) -> None:
    assert bench("runs").output == f"no runs in {runs}\n"
    assert json.loads(bench("runs", "--json").output) == []
    assert not runs.exists()


def test_a_run_that_cannot_be_read_is_named_beside_those_that_can(runs: Path) -> None:
    good, bad = played(runs), played(runs)
    (bad / "manifest.json").write_text('{"format": 99}')
    done = bench("runs")
    assert done.exit_code == 0
    assert good.name in done.stdout
    assert f"{bad / 'manifest.json'}: a run of format 99" in done.stderr


def test_pruning_says_what_went_and_how_much_that_freed(runs: Path) -> None:
    folders = [played(runs) for _ in range(3)]
    with going_on(runs) as recording:
        lines = bench("runs", "--prune", 1).output.splitlines()
        assert [line.split()[:3] for line in lines[:-1]] == [
            ["removed", folder.name, "three_nodes"] for folder in reversed(folders)
        ]
        assert lines[-1].startswith("3 runs removed, ")
        assert bench("runs", "--prune", 0).output == "nothing to remove\n"
        assert recording.folder.exists()


# Showing


def test_a_run_is_shown_with_its_findings_its_timeline_and_the_end_of_its_log(runs: Path) -> None:
    folder = played(runs, "kill_leader")
    for name in ("last", folder.name, f"kill_leader/{folder.name}", folder):
        done = bench("show", name)
        assert done.exit_code == 0
        for words in ("simulated: n1, n2, n3", "seed 7", "VALID   one_leader_per_term", "kills n", "Leader in term"):
            assert words in done.output
        assert f"  {folder}" in done.output.splitlines()
        assert done.output.splitlines()[-1].strip() == "python -m bench run kill_leader --world simulated --seed 7"


def test_a_run_that_goes_on_is_shown_as_far_as_it_went(runs: Path) -> None:
    with going_on(runs) as recording:
        recording.note({"event": "kill", "at_s": 1.0, "node": "n2"})
        shown = bench("show", "last").output
    assert "still going on, in process " in shown
    assert "kills n2" in shown
    assert "it did not end" in bench("show", "last").output


def test_of_a_run_that_did_not_end_a_fault_that_nobody_knows_is_shown_as_it_stands_there(runs: Path) -> None:
    with going_on(runs) as recording:
        recording.note({"event": "begins", "at_s": 1.0, "fault": {"fault": "Flood", "node": "n2"}})
    done = bench("show", "last")
    assert (done.exit_code, "begins fault={'fault': 'Flood', 'node': 'n2'}" in done.output) == (0, True)


@pytest.mark.parametrize("command", ["show", "check"])
@pytest.mark.parametrize("name", ["nobody", "", "last", "../..", "x" * 5000])
def test_a_run_that_is_not_there_is_a_sentence(command: str, name: str, runs: Path) -> None:
    done = bench(command, name)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert done.output.startswith("bench: ")


# Judging again


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [({}, Verdict.VALID), ({"play": doomed}, Verdict.INVALID), ({"needs": ("memory_limit",)}, Verdict.SKIPPED)],
)
def test_a_check_agrees_with_the_run_and_ends_as_it_did(
    changes: dict[str, object], verdict: Verdict, runs: Path
) -> None:
    done = bench("check", played(runs, "three_nodes", **changes).name)
    assert done.exit_code == verdict.exit_status
    assert done.output.splitlines()[-1] == f"{verdict}, as the run said"


def test_a_finding_that_differs_is_told_with_what_the_run_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when a check has been mended since."""

    def mended(_: Evidence) -> Finding:
        return Finding("logs_agree", Verdict.INVALID, "they do not")

    played(runs)
    monkeypatch.setitem(judging.OURS, "logs_agree", mended)
    done = bench("check", "last")
    assert done.exit_code == 1
    lines = done.output.splitlines()
    found = lines.index("  INVALID logs_agree: they do not")
    assert lines[found + 1].strip().startswith("the run said VALID: ")
    assert lines[-1] == "INVALID, the run: VALID"


def test_a_run_that_is_still_going_on_is_not_judged(runs: Path) -> None:
    with going_on(runs) as recording:
        done = bench("check", "last")
    assert done.exit_code == 2
    assert f"{recording.folder.name} is still going on" in done.output
    assert not any(verdict in done.output for verdict in Verdict)


def test_a_run_that_did_not_end_is_judged_by_what_it_left(runs: Path) -> None:
    with going_on(runs):
        pass
    done = bench("check", "last")
    assert (done.exit_code, "UNKNOWN outcome: the run did not end" in done.output) == (2, True)
    assert "UNKNOWN logs_agree: " in done.output
    assert "the run said nothing of it" in done.output


def test_what_ended_unjudged_is_judged_now(runs: Path) -> None:
    with going_on(runs) as recording:
        recording.trace("n1", [{"event": "role", "at_s": 1.0, "term": 1, "role": "Leader"}])
        recording.finish(Findings())
    done = bench("check", "last")
    assert "VALID   one_leader_per_term: " in done.output
    assert done.output.splitlines()[-1] == "UNKNOWN, the run: ended, without a verdict"


@pytest.mark.parametrize("file", ["history.jsonl", "timeline.jsonl", "nodes/n1/trace.jsonl", "verdict.json"])
@pytest.mark.parametrize("command", ["check", "show"])
def test_of_a_run_that_was_changed_file_and_line_are_named_and_no_verdict(command: str, file: str, runs: Path) -> None:
    folder = played(runs, "kill_leader")
    lines = (folder / file).read_text().splitlines(keepends=True)
    (folder / file).write_text("".join([lines[0], lines[1][:-2] + " \n", *lines[2:]]))
    done = bench(command, "last")
    assert (done.exit_code, done.output) == (2, f"bench: {folder / file}, line 2: changed after the run ended\n")


OWN = """
from bench.scenarios import *

def somebody_wrote(evidence):
    wrote = len([one for one in evidence.history if isinstance(one.asked, Put)])
    return Finding("somebody_wrote", Verdict.VALID if wrote else Verdict.INVALID, f"{wrote} writes")

@scenario(nodes=3, checks=[somebody_wrote, logs_agree])
def writes(cluster):
    "It writes."
    cluster.client(cluster.wait_for_leader()).put("k", "v")
    cluster.wait_until_agreed()
"""


@pytest.fixture
def own_file(tmp_path: Path) -> Path:
    """Which was run."""
    file = tmp_path / "mine.py"
    file.write_text(OWN)
    assert bench("run", file, "--world", "simulated").exit_code == 0
    return file


def test_a_check_of_ones_own_is_looked_for_in_ones_own_file_alone(own_file: Path) -> None:
    without = bench("check", "last")
    assert (without.exit_code, "say with --scenarios in which file it is" in without.output) == (2, True)
    with_file = bench("check", "last", "--scenarios", own_file)
    assert (with_file.exit_code, with_file.output.splitlines()[-1]) == (0, "VALID, as the run said")


MADE = """
from functools import partial
from bench.scenarios import *

def at_least(number):
    def wrote(evidence):
        writes = len([one for one in evidence.history if isinstance(one.asked, Put)])
        return Finding("wrote", Verdict.VALID if writes >= number else Verdict.INVALID, f"{writes} of {number} writes")
    return wrote

def led(verdict, evidence):
    return Finding("led", verdict, "so it is said")

@scenario(nodes=3, checks=[at_least(1), at_least(9), partial(led, Verdict.VALID), partial(led, Verdict.UNKNOWN)])
def writes(cluster):
    "It writes."
    cluster.client(cluster.wait_for_leader()).put("k", "v")
"""


def test_checks_of_ones_own_that_share_a_name_are_each_asked_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(MADE)
    assert bench("run", file, "--world", "simulated").exit_code == 1
    done = bench("check", "last", "--scenarios", file)
    assert (done.exit_code, done.output.splitlines()[-1]) == (1, "INVALID, as the run said")
    for words in ("VALID   wrote: 1 of 1 writes", "INVALID wrote: 1 of 9 writes", "UNKNOWN led: so it is said"):
        assert words in done.output


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import no_such_thing", "no_such_thing"),
        (OWN.replace("def writes", "def reads"), "no scenario 'writes'"),
        (
            OWN.replace("nodes=3", "nodes=3, each={'how': [1, 2]}").replace("(cluster):", "(cluster, how):"),
            "writes is a family",
        ),
    ],
)
def test_a_file_without_the_runs_scenario_is_the_users_to_mend(content: str, words: str, own_file: Path) -> None:
    own_file.write_text(content)
    done = bench("check", "last", "--scenarios", own_file)
    assert (done.exit_code, words in done.output) == (2, True)


@pytest.mark.parametrize("command", ["runs", "show", "check"])
def test_each_has_an_example_in_its_help(command: str) -> None:
    assert f"Example: python -m bench {command}" in bench(command, "--help").output


# A history of another tool

ASKED = '{:process 0, :type :invoke, :f :%s, :key "k", :value %s}\n'
TOLD = ASKED.replace(":invoke", ":ok")
WRITTEN = ASKED % ("put", '"a"') + TOLD % ("put", '"a"') + ASKED % ("get", "nil")
MODEL = """\
from bench.models import ILLEGAL, Model

def step(state, call):
    if call.does == "put":
        return call.value
    {then}

register = Model("mine", None, step)
"""


def kept(tmp_path: Path, text: str, name: str = "history.edn") -> Path:
    file = tmp_path / name
    file.write_text(text)
    return file


def test_a_file_with_a_history_is_judged_by_a_model(tmp_path: Path) -> None:
    right = bench("check", kept(tmp_path, WRITTEN + TOLD % ("get", '"a"')))
    assert (right.exit_code, right.output) == (0, "VALID 2 calls have an order\n")
    wrong = bench("check", kept(tmp_path, WRITTEN + TOLD % ("get", '"b"')), "--model", "register")
    assert wrong.exit_code == 1
    assert "INVALID get of k by client 0, completed at 3.0000, fits into no order" in wrong.output
    assert "client 0 get k: told b" in wrong.output


def test_a_file_that_is_no_history_is_named_with_the_line(tmp_path: Path) -> None:
    file = kept(tmp_path, WRITTEN + WRITTEN)
    found = bench("check", file)
    assert found.exit_code == 2
    assert f"bench: {file}: line 4: client 0 asks, and its call of line 3 is open" in found.output


def test_a_history_is_judged_by_a_model_of_ones_own(tmp_path: Path) -> None:
    history = kept(tmp_path, WRITTEN + TOLD % ("get", '"a"'))
    for then, told in {
        "return state if call.told == state else ILLEGAL": "VALID 2 calls have an order",
        "return [state]": "UNKNOWN the model mine failed at get of client 0: TypeError: unhashable type: 'list'",
        "while True: pass": "UNKNOWN the model mine does not return: it was stopped after 0.1 s",
    }.items():
        file = kept(tmp_path, MODEL.format(then=then), "mine.py")
        assert bench("check", history, "--model", f"{file}::register", "--seconds", "0.1").output.strip() == told


def test_a_model_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    history = kept(tmp_path, WRITTEN)
    assert "there is no model kvv; there are register, kv, append" in bench("check", history, "--model", "kvv").output
    file = kept(tmp_path, "x = 1", "mine.py")
    assert f"{file} has no Model called x" in bench("check", history, "--model", f"{file}::x").output


@pytest.mark.parametrize("kind", ["empty", "fifo", "too large"])
def test_what_cannot_be_read_as_a_history_is_a_sentence(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "history"
    os.mkfifo(file) if kind == "fifo" else file.write_text("" if kind == "empty" else WRITTEN)
    monkeypatch.setattr(histories, "LARGEST", 20)
    words = {"empty": "there is nothing in it", "fifo": "it is no file", "too large": "it has more than 20 bytes"}
    done = bench("check", file)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert done.output.startswith(f"bench: {file}: {words[kind]}")


def test_a_model_that_ends_the_program_has_judged_nothing(tmp_path: Path) -> None:
    history = kept(tmp_path, WRITTEN + TOLD % ("get", '"a"'))
    for error in ("SystemExit(0)", "BaseException(0)"):
        file = kept(tmp_path, MODEL.format(then=f"raise {error}"), "mine.py")
        done = bench("check", history, "--model", f"{file}::register")
        assert (done.exit_code, done.output.startswith("UNKNOWN the model mine failed")) == (2, True)


def test_the_history_file_of_a_run_is_judged_by_itself(runs: Path) -> None:
    file = played(runs, "kill_leader") / "history.jsonl"
    done = bench("check", file, "--model", "kv")
    assert (done.exit_code, done.output.startswith("VALID ")) == (0, True)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:1], *lines[2:1:-1], *lines]))
    done = bench("check", file)
    assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
    assert done.output.startswith(f"bench: {file}: line ")


def test_the_history_of_a_run_is_written_in_other_forms_and_judged_again(runs: Path, tmp_path: Path) -> None:
    folder = played(runs)
    written = bench("check", folder, "--to", "jepsen")
    assert (written.exit_code, written.output.count(":type :invoke") > 0) == (0, True)
    assert bench("check", kept(tmp_path, written.output)).output.startswith("VALID")
    assert "is for a file with a history" in bench("check", folder, "--model", "kv").output
