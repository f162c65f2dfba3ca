"""A case's file is held against what there is before anything is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import store
from bench.case import LARGEST_BYTES, Case
from bench.cli import cli
from bench.schedule import Clients, Crash, Schedule

CASE = Case(
    schedule=Schedule(
        nodes=("n1", "n2", "n3"),
        members=("n1", "n2", "n3"),
        length_s=3.0,
        faults=(Clients(at_s=0.0, for_s=3.0, number=2), Crash(at_s=1.0, for_s=0.5, node="n2")),
    ),
    seed=4,
)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def play(file: Path) -> Result:
    return CliRunner().invoke(cli, ["play", str(file)])


def test_a_case_is_played_from_its_file_and_stored_as_it_was_played(tmp_path: Path, runs: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes(CASE.to_json())
    assert play(file).exit_code == 0
    (run,) = store.runs_in(runs).runs
    assert (run.case(), run.manifest.name, run.manifest.file) == (CASE, "mine", str(file))


def test_a_case_from_a_run_is_called_as_that_was_and_any_other_as_its_file(tmp_path: Path, runs: Path) -> None:
    file = tmp_path / "case.json"
    file.write_bytes(CASE.to_json())
    assert play(file).exit_code == 0
    (first,) = store.runs_in(runs).runs
    renamed = first.folder.parent.rename(runs / "logs_match")
    assert play(renamed / first.id / "case.json").exit_code == 0
    assert [run.manifest.name for run in store.runs_in(runs).runs] == ["logs_match", "case"]


@pytest.mark.parametrize(
    ("was", "becomes", "words"),
    [
        (b'"konsul"', b'"etcd"', "at system: there is no system 'etcd'; there are konsul"),
        (b'"mixed"', b'"mixd"', "at workload: there is no workload 'mixd'; did you mean mixed?"),
        (b'"flaw":null', b'"flaw":"vote_twise"', "at flaw: there is no flaw 'vote_twise'; did you mean vote_twice"),
        (b'"node":"n2"', b'"node":"n9"', "fault 1 (Crash) names n9"),
        (b'"fault":"Crash"', b'"fault":"Crush"', "'Crush'; there are Crash, Pause, SlowDisk"),
        (b'"at_s":1.0', b'"at_s":-1.0', "at schedule.faults[1].at_s: "),
        (b'"seed":4', b'"seed":4,"sead":4', "sead"),
        (b'"version":1,"system"', b'"version":7,"system"', "a case of version 7; this program reads version 1"),
    ],
)
def test_what_is_not_there_is_named_with_file_and_place_and_nothing_is_started(
    was: bytes, becomes: bytes, words: str, tmp_path: Path, runs: Path
) -> None:
    file = tmp_path / "mine.json"
    content = CASE.to_json()
    assert was in content
    file.write_bytes(content.replace(was, becomes))
    done = play(file)
    assert (done.exit_code, done.output.startswith(f"bench: {file}: "), len(done.output.splitlines())) == (2, True, 1)
    assert words in done.output
    assert not runs.exists()


def test_what_is_no_file_of_a_case_is_told_in_a_sentence(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "enormous").write_bytes(b" " * (LARGEST_BYTES + 1))
    for name, words in [("nothing", "not there"), ("pipe", "no file"), ("", "no file"), ("enormous", "too many")]:
        done = play(tmp_path / name)
        assert (done.exit_code, len(done.output.splitlines())) == (2, 1)
        assert words in done.output
