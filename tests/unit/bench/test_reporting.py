"""What `run` and `play` tell programs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.cli import cli
from bench.commands.reporting import Played, Report
from bench.scenarios import SCENARIOS
from bench.search.explore import case_of

FILE = """
import sys
from bench.scenarios import *

print("loading")

@scenario(nodes=3, checks=SAFETY)
def holds(cluster):
    'It holds.'
    print("playing")
    write(cluster, "x")
    cluster.wait_until_agreed()

@scenario(nodes=3, checks=SAFETY)
def breaks(cluster):
    'It breaks.'
    raise AssertionError("\\x00 \\x1b[31mred <&> ]]> \\ufffe \\U0001f600")

@scenario(nodes=3, checks=SAFETY)
def raises(cluster):
    'It raises.'
    1 / 0

@scenario(nodes=3, checks=SAFETY, needs=["memory_limit"])
def starves(cluster):
    'It starves.'

@scenario(nodes=3, checks=SAFETY)
def stopped(cluster):
    'Somebody presses Ctrl-C.'
    raise KeyboardInterrupt

@scenario(nodes=3, checks=SAFETY)
def after(cluster):
    'It comes later.'
"""

RunFile = Callable[..., Result]


@pytest.fixture
def run_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFile:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)

    def run(names: str, *arguments: str) -> Result:
        scenarios = [f"mine.py::{name}" for name in names.split()]
        return CliRunner().invoke(cli, ["run", *scenarios, "--world", "simulated", *arguments])

    return run


def cases_in(file: Path) -> dict[str, ET.Element]:
    return {case.get("name", ""): case for case in ET.parse(file).getroot().iter("testcase")}


def test_a_run_as_json_is_one_document_with_every_scenario_and_seed(run_file: RunFile, tmp_path: Path) -> None:
    done = run_file("holds breaks starves", "--seeds", "0,7", "--json")
    told: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["verdict"], told["interrupted"], told["world"]) == ("INVALID", False, "simulated")
    assert told["totals"] == {"VALID": 2, "INVALID": 2, "UNKNOWN": 0, "SKIPPED": 1}
    assert [(one["scenario"], one["seed"], one["verdict"]) for one in told["runs"]] == [
        ("holds", 0, "VALID"),
        ("holds", 7, "VALID"),
        ("breaks", 0, "INVALID"),
        ("breaks", 7, "INVALID"),
        ("starves", 0, "SKIPPED"),
    ]
    first = told["runs"][0]
    assert first["file"] == str(tmp_path / "mine.py")
    manifest = json.loads((Path(first["folder"]) / "manifest.json").read_text())
    assert (first["digest"], first["seconds"]) == (manifest["digest"], round(manifest["seconds"], 3))
    outcome: dict[str, Any] = {"check": "outcome", "verdict": "VALID", "reason": "It holds.", "details": []}
    outcome["witness"] = None
    assert outcome in first["findings"]
    witnesses = {one["check"]: one["witness"] for one in first["findings"]}
    assert witnesses["one_leader_per_term"] == "inside, by what nodes traced"


def test_what_a_scenario_prints_and_how_far_the_run_is_stay_out_of_the_document(run_file: RunFile) -> None:
    done = run_file("holds", "--json")
    assert done.stdout.startswith("{")
    assert all(words in done.stderr for words in ("loading", "playing", "1 of 1 VALID"))


def test_a_played_case_as_json_is_what_came_of_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    file = tmp_path / "case.json"
    file.write_bytes(case_of(0, 5, "commit_old_term").to_json())
    done = CliRunner().invoke(cli, ["play", str(file), "--json"])
    told = json.loads(done.stdout)
    assert (done.exit_code, told["verdict"], told["world"], told["seed"]) == (1, "INVALID", "simulated", 0)
    assert told["digest"] in CliRunner().invoke(cli, ["play", str(file)]).output
    assert [one["verdict"] for one in told["findings"] if one["check"] == "only_the_leaders_term_is_counted"]


def test_junits_file_has_each_scenario_and_seed_as_a_test_and_says_what_went_wrong(
    run_file: RunFile, tmp_path: Path
) -> None:
    done = run_file("holds breaks raises starves", "--seeds", "3-4", "--junit", "junit.xml")
    assert done.exit_code == 1
    (suite,) = ET.parse(tmp_path / "junit.xml").getroot()
    counted = {name: suite.get(name) for name in ("name", "tests", "failures", "errors", "skipped")}
    assert counted == {"name": "simulated", "tests": "7", "failures": "2", "errors": "2", "skipped": "1"}
    cases = cases_in(tmp_path / "junit.xml")
    assert [element.tag for element in cases["holds, seed 3"]] == ["system-out"]
    failure, error, skipped = (cases[name][0] for name in ("breaks, seed 4", "raises, seed 3", "starves, seed 3"))
    assert (failure.tag, error.tag, skipped.tag) == ("failure", "error", "skipped")
    assert "what happened" in (failure.text or "")
    assert "ZeroDivisionError" in (error.text or "")
    assert "simulated nodes share the memory of one process" in skipped.get("message", "")
    folder = (cases["breaks, seed 4"].findtext("system-out") or "").removeprefix("evidence in ")
    assert json.loads((Path(folder) / "manifest.json").read_text())["plan"]["seed"] == 4


def test_what_xml_cannot_write_is_written_as_python_writes_it(run_file: RunFile, tmp_path: Path) -> None:
    run_file("breaks", "--junit", "junit.xml")
    (case,) = cases_in(tmp_path / "junit.xml").values()
    assert r"\x00 \x1b[31mred <&> ]]> \ufffe 😀" in (case[0].get("message") or "")
    assert r"\x00 \x1b[31mred <&> ]]> \ufffe 😀" in (case[0].text or "")


def test_half_a_character_spoils_no_report(tmp_path: Path) -> None:
    report = Report("live", "default", None, tmp_path, kept=True, explained=True)
    report.played.append(Played(SCENARIOS["kill_leader"], 0, None, "half: \ud800"))
    assert rb'message="half: \ud800"' in report.as_junit()


def test_an_interrupted_run_is_reported_as_far_as_it_came(run_file: RunFile, tmp_path: Path) -> None:
    done = run_file("holds stopped after", "--junit", "junit.xml", "--json")
    told = json.loads(done.stdout)
    assert (done.exit_code, told["interrupted"], told["verdict"]) == (130, True, "UNKNOWN")
    assert [(one["scenario"], one["verdict"]) for one in told["runs"]] == [("holds", "VALID"), ("stopped", "UNKNOWN")]
    (error,) = cases_in(tmp_path / "junit.xml")["stopped, seed 0"]
    assert (error.tag, error.get("message")) == ("error", "interrupted")
    assert "1 of 1 VALID" in done.stderr


def test_a_run_that_cannot_begin_is_no_report_of_tests_that_passed(
    run_file: RunFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOXIPROXY_SERVER", str(tmp_path / "nowhere"))
    done = CliRunner().invoke(cli, ["run", "three_nodes", "--junit", "junit.xml", "--json"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.stderr
    told = json.loads(done.stdout)
    assert (told["verdict"], told["runs"]) == ("UNKNOWN", [])
    assert ET.parse(tmp_path / "junit.xml").getroot().get("errors") == "1"


@pytest.mark.parametrize("file", ["no/such/folder/junit.xml", ".", "mine.py/junit.xml", ""])
def test_a_report_that_cannot_be_written_is_said_so_before_anything_is_run(
    file: str, run_file: RunFile, tmp_path: Path
) -> None:
    done = run_file("holds", "--junit", file)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert "cannot be written" in done.stderr
    assert not list(tmp_path.glob("runs/*/*"))


def test_an_earlier_report_is_gone_when_the_run_begins(run_file: RunFile, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text("all is well")
    (tmp_path / "mine.py").write_text(
        FILE + "\n@scenario(nodes=3, checks=SAFETY)\ndef looks(cluster):\n    'It looks.'\n"
        "    assert not open('junit.xml').read()\n"
    )
    assert run_file("looks", "--junit", "junit.xml").exit_code == 0
    assert (tmp_path / "junit.xml").read_text().startswith("<?xml")
