"""A user's own scenarios, run: whatever they do, the run ends, nothing is left, and what came of it is stored."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import store
from bench.cli import cli
from bench.verdict import Verdict

HEADING = """
import sys, threading, time
from bench.scenarios import *

story = scenario(nodes=3, checks=SAFETY)
"""

LIMIT = "300ms"
ENDLESS = "it did not end within 0.3 s"

LINE = 5 + len(HEADING.splitlines())
"""In which the first story of a file does what it does."""

STORIES = {
    "sleeps": ("time.sleep(600)", Verdict.UNKNOWN, ENDLESS),
    "turns_in_a_loop": ("while True: pass", Verdict.UNKNOWN, ENDLESS),
    "waits_for_ever": ("threading.Event().wait()", Verdict.UNKNOWN, ENDLESS),
    "goes_on_in_virtual_time": (
        "while True: cluster.wait_for_leader()",
        Verdict.UNKNOWN,
        ENDLESS,
    ),
    "hangs_in_its_blocks": (
        "with cluster.writing(), cluster.network.isolated(cluster.wait_for_leader()): time.sleep(600)",
        Verdict.UNKNOWN,
        ENDLESS,
    ),
    "raises": ("{}['k']", Verdict.UNKNOWN, "KeyError: 'k'"),
    "exits": ("sys.exit(0)", Verdict.UNKNOWN, "SystemExit: 0"),
    "is_cancelled": ("import asyncio; raise asyncio.CancelledError", Verdict.UNKNOWN, "CancelledError"),
    "mistypes": ("cluster.kil('n1')", Verdict.UNKNOWN, "no attribute 'kil'"),
    "names_nobody": ("cluster.kill('n9')", Verdict.UNKNOWN, "there is no node n9"),
    "asserts_in_vain": ("assert cluster.wait_for_leader() == 'n9', 'n9 leads'", Verdict.INVALID, "n9 leads"),
    "asserts_what_no_file_can_hold": ("assert not cluster.nodes, 'half \\ud800'", Verdict.INVALID, "half \\ud800"),
    "fails_with_what_no_file_can_hold": ("raise ValueError('half \\ud800')", Verdict.UNKNOWN, "half \\ud800"),
    "asserts_without_words": ("assert not cluster.nodes", Verdict.INVALID, "assert not cluster.nodes"),
    "waits_in_vain": (
        "cluster.wait_until(lambda: cluster.leads('n1') and cluster.leads('n2'), 'two lead')",
        Verdict.INVALID,
        "not within 20 s: two lead",
    ),
}
"""By name: what a story does, and what is to come of it."""

RunFile = Callable[..., Result]


@pytest.fixture
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFile:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))

    def run(content: str, *arguments: str, name: str = "") -> Result:
        path = tmp_path / "my_scenarios.py"
        path.write_text(HEADING + content)
        return CliRunner().invoke(cli, ["run", f"{path}{name}", "--world", "simulated", *arguments])

    return run


@pytest.fixture
def runs(tmp_path: Path) -> Callable[[], list[store.StoredRun]]:
    """The runs that are stored, oldest first."""
    return lambda: [store.read(run.folder) for run in reversed(store.runs_in(tmp_path / "runs").runs)]


def own_threads() -> set[threading.Thread]:
    """Those that somebody has to end; the spinner on the terminal ends by itself."""
    return {thread for thread in threading.enumerate() if not thread.daemon}


def told(name: str, does: str) -> str:
    return f"\n@story\ndef {name}(cluster):\n    'It ends.'\n    {does}\n"


@pytest.mark.parametrize("name", STORIES)
def test_whatever_a_story_does_the_run_ends_and_says_what_it_did(
    name: str, run_file: RunFile, runs: Callable[[], list[store.StoredRun]]
) -> None:
    does, verdict, words = STORIES[name]
    threads = own_threads()
    done = run_file(told(name, does), *(["--limit", LIMIT] if words == ENDLESS else []))
    assert (done.exit_code, words in done.output) == (verdict.exit_status, True), done.output
    (run,) = runs()
    assert run.manifest.verdict is verdict
    findings = run.findings()
    assert findings is not None
    assert findings.told[0].reason.startswith(f"my_scenarios.py:{LINE} "), "the user's own line"
    assert run.evidence().traces.keys() == {"n1", "n2", "n3"}
    assert own_threads() == threads


SHOWN = {
    "both sides": (
        "assert cluster.wait_for_leader() == 'n9'",
        [f"my_scenarios.py:{LINE} assert 'n", "' == 'n9'", ">   assert cluster.wait_for_leader() == 'n9'"],
    ),
    "the author's words first": (
        "assert cluster.nodes == (), 'somebody is there'",
        [f"my_scenarios.py:{LINE} somebody is there", "    assert ('n1', 'n2', 'n3') == ()"],
    ),
    "where a value comes from": (
        "assert cluster.wait_for_leader() in ()",
        ["' = wait_for_leader()", "where wait_for_leader = <cluster of n1, n2, n3>.wait_for_leader"],
    ),
    "an operation in a line": (
        "write = cluster.client('n1').get('k'); assert write.outcome is Outcome.FAILED",
        ["= <client 0 asked n1: Get(key='k'): ok>.outcome"],
    ),
    "all lines of an assertion": (
        "assert (\n        cluster.nodes\n        == ()\n    )",
        [">   assert (", ">       cluster.nodes", ">       == ()", ">   )"],
    ),
    "what was waited for and what each node said": (
        "cluster.pause('n3'); cluster.wait_until(lambda: cluster.leads('n3'), 'n3 leads', 2)",
        [
            "not within 2 s: n3 leads. Seen last:",
            ">   cluster.pause('n3'); cluster.wait_until(",
            "  n3: paused, and silent",
            "n3 is paused",
        ],
    ),
    "the faults that were in force": (
        "cluster.wait_for_leader()\n    with cluster.network.isolated('n2'): assert cluster.leads('n2') is None",
        ["in force then: since ", "n1<->n2, n2<->n3 are cut (blackhole)"],
    ),
    "where it was when its time was up": ("while True: pass", [">   while True: pass"]),
    "the traceback of a mistake": (
        "cluster.kil('n1')",
        ["Traceback (most recent call last):", f", line {LINE}, in fails", "    cluster.kil('n1')"],
    ),
}
"""What a story that fails does, and what is shown of it."""


@pytest.mark.parametrize("what", SHOWN)
def test_a_failure_shows_the_authors_line_and_the_values_there(what: str, run_file: RunFile) -> None:
    does, shown = SHOWN[what]
    output = run_file(told("fails", does), *(["--limit", LIMIT] if "while True" in does else [])).output
    assert [words for words in shown if words not in output] == [], output


def test_a_failure_ends_with_the_command_that_repeats_it(run_file: RunFile, tmp_path: Path) -> None:
    options = ["--seed", "7", "--nodes", "5", "--profile", "default", "--limit", "90s", "--flaw", "forget_vote"]
    done = run_file(told("fails", "assert not cluster.nodes"), *options, name="::fails")
    lines = done.output.splitlines()
    again = lines[lines.index("once more") + 1].strip()
    file = tmp_path / "my_scenarios.py"
    assert again == f"python -m bench run {file}::fails --world simulated {' '.join(options)}"
    first, second = (run_file(told("fails", "assert not cluster.nodes"), *options, name="::fails") for _ in range(2))
    assert [line for line in first.output.splitlines() if "digest" in line] == [
        line for line in second.output.splitlines() if "digest" in line
    ]


@pytest.mark.parametrize(
    "leaves",
    [
        "cluster.client('n1').put('k', 'v')",
        "cluster.workers([distinct_writes(0, 0)], cluster.nodes).start()",
        "cluster.kill('n1')",
        "cluster.pause('n1')",
    ],
)
def test_what_a_story_leaves_behind_is_gone_with_its_cluster(leaves: str, run_file: RunFile) -> None:
    threads = own_threads()
    done = run_file(told("leaves", f"cluster.wait_until_agreed(); {leaves}"))
    assert done.exit_code == 0, done.output
    assert own_threads() == threads


def test_a_story_that_fails_keeps_none_after_it_from_being_played(run_file: RunFile) -> None:
    stories = [told("first", "sys.exit(1)"), told("second", "1 / 0"), told("third", "write(cluster, 'x')")]
    done = run_file("".join(stories))
    lines = [line.split() for line in done.output.splitlines() if line.endswith(("s  first", "s  second", "s  third"))]
    assert [(words[0], words[-1]) for words in lines] == [
        ("UNKNOWN", "first"),
        ("UNKNOWN", "second"),
        ("VALID", "third"),
    ]
    assert done.exit_code == 2


def test_a_story_alone_of_a_file_is_played_alone(run_file: RunFile) -> None:
    done = run_file(told("first", "1 / 0") + told("second", "write(cluster, 'x')"), name="::second")
    assert (done.exit_code, "1 of 1 VALID" in done.output) == (0, True)


def test_a_story_may_be_given_another_limit(run_file: RunFile) -> None:
    done = run_file(told("sleeps", "time.sleep(600)"), "--limit", "50ms")
    assert (done.exit_code, "it did not end within 0.05 s" in done.output) == (2, True)


def test_a_check_of_ones_own_judges_as_the_benchs_do(run_file: RunFile) -> None:
    own = """
def somebody_wrote(evidence):
    wrote = [one for one in evidence.history if isinstance(one.asked, Put)]
    return Finding("somebody_wrote", Verdict.VALID if wrote else Verdict.INVALID, f"{len(wrote)} writes")

@scenario(nodes=3, checks=[somebody_wrote], each={"how_often": [0, 2]})
def writes(cluster, how_often):
    "It writes."
    for number in range(how_often):
        write(cluster, f"k{number}")
"""
    done = run_file(own)
    assert done.exit_code == 1
    assert "INVALID somebody_wrote: 0 writes" in done.output
    assert "1 of 2 VALID" in done.output


def test_a_check_that_fails_in_whatever_way_has_found_nothing_out(run_file: RunFile) -> None:
    own = """
def cancelled(evidence):
    import asyncio
    raise asyncio.CancelledError

@scenario(nodes=1, checks=[cancelled])
def waits(cluster):
    "It waits."
    cluster.wait_for_leader()
"""
    done = run_file(own)
    assert (done.exit_code, "UNKNOWN cancelled: the check failed:" in done.output) == (2, True)


def test_a_story_that_needs_what_its_world_cannot_do_is_skipped_with_the_reason(run_file: RunFile) -> None:
    marked = "@scenario(nodes=3, checks=SAFETY, needs=['memory_limit'])\n"
    done = run_file(marked + "def starves(cluster):\n    'It starves.'\n    1 / 0\n", "--seeds", "0-99999999")
    assert (done.exit_code, "0 of 1 VALID, 1 SKIPPED" in done.output) == (0, True)
    assert "memory_limit: simulated nodes share the memory of one process" in done.output


def test_a_mistake_in_the_file_is_told_as_pythons_and_nothing_is_started(
    run_file: RunFile, runs: Callable[[], list[store.StoredRun]]
) -> None:
    done = run_file("import no_such_thing\n")
    assert (done.exit_code, done.output.splitlines()[-1]) == (2, "ModuleNotFoundError: No module named 'no_such_thing'")
    assert done.output.startswith("Traceback (most recent call last):\n")
    assert runs() == []


def test_the_scenarios_of_a_file_are_listed_with_what_they_promise(run_file: RunFile, tmp_path: Path) -> None:
    run_file(told("first", "pass") + told("second", "pass"), name="::first")
    done = CliRunner().invoke(cli, ["list", str(tmp_path / "my_scenarios.py")])
    assert [line.split()[:2] for line in done.output.splitlines()[1:]] == [["first", "3"], ["second", "3"]]
    assert "It ends." in done.output


def test_a_run_says_where_its_scenario_is_from(run_file: RunFile, tmp_path: Path) -> None:
    run_file(told("first", "pass"))
    (manifest,) = (tmp_path / "runs").glob("*/*/manifest.json")
    assert json.loads(manifest.read_text())["file"] == str(tmp_path / "my_scenarios.py")
