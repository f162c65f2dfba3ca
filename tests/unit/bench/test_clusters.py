"""Which clusters are listed, and what is said where there is none; the clusters are entries of this process's own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from bench import store
from bench.case import plan
from bench.cli import cli
from bench.live import registry
from bench.manifest import RunKind
from bench.store import Recording

LONGEST = "a" * 32


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BENCH_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "runs"


def said(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, terminal_width=80)


@pytest.fixture
def clusters(runs: Path) -> Iterator[dict[str, Recording]]:
    """One of `up`, and one that is kept."""
    with (
        store.begin(runs, kind=RunKind.UP, name=f"up-{LONGEST}", world="live", plan=plan(3), profile="tight") as up,
        store.begin(runs, kind=RunKind.SCENARIO, name="doomed[leader]", world="live", plan=plan(2, spare=1)) as kept,
    ):
        found = {LONGEST: up, "doomed": kept}
        started_s = psutil.Process().create_time()
        with registry.taken(LONGEST), registry.taken("doomed"):
            for name, recording in found.items():
                entry = registry.Registered("http://127.0.0.1:9", "x", os.getpid(), started_s, str(recording.folder))
                registry.register(name, entry)
            yield found


def test_a_cluster_is_listed_with_its_process_its_size_its_age_and_its_folder(clusters: dict[str, Recording]) -> None:
    heading, first, second, *where = said("clusters").output.splitlines()
    assert heading.split() == ["name", "pid", "nodes", "since", "profile"]
    assert (first.split()[:3], first.split()[-1]) == ([LONGEST, str(os.getpid()), "3"], "tight")
    assert second.split()[:3] == ["doomed", str(os.getpid()), "2+1"]
    assert where == [
        f"{LONGEST} is in {clusters[LONGEST].folder}",
        f"doomed, kept of doomed[leader], is in {clusters['doomed'].folder}",
    ]


def test_the_table_of_clusters_fits_into_80_columns(
    clusters: dict[str, Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    heading, first, *_ = said("clusters").output.splitlines()
    assert max(len(heading.rstrip()), len(first.rstrip())) <= 80


def test_programs_are_told_of_clusters_in_json(clusters: dict[str, Recording]) -> None:
    up, kept = json.loads(said("clusters", "--json").output)
    manifest = clusters["doomed"].manifest
    assert kept == {
        "name": "doomed",
        "pid": os.getpid(),
        "folder": str(clusters["doomed"].folder),
        "nodes": ["n1", "n2", "n3"],
        "members": ["n1", "n2"],
        "kind": "scenario",
        "run": "doomed[leader]",
        "profile": None,
        "since": manifest.began.isoformat(),
    }
    assert (up["name"], up["profile"]) == (LONGEST, "tight")


def test_a_cluster_whose_folder_was_removed_is_listed_all_the_same(clusters: dict[str, Recording]) -> None:
    shutil.rmtree(clusters["doomed"].folder)
    done = said("clusters")
    assert (done.exit_code, f"doomed is in {clusters['doomed'].folder}" in done.output) == (0, True), done.output


def test_where_no_cluster_runs_a_sentence_says_so() -> None:
    listed, ended = said("clusters"), said("down", "--all")
    assert (listed.exit_code, listed.output) == (
        0,
        "no cluster is running; start one with: python -m bench up 3\n",
    )
    assert (ended.exit_code, ended.output) == (0, "no cluster is running\n")
    assert json.loads(said("clusters", "--json").output) == []


def test_who_ends_all_clusters_names_none() -> None:
    done = said("down", "--all", "--name", "default")
    assert (done.exit_code, "write either" in done.output, len(done.output.splitlines())) == (2, True, 1)


def test_a_cluster_that_does_not_obey_keeps_nobody_from_the_others(clusters: dict[str, Recording]) -> None:
    done = said("down", "--all")
    *each, summary = done.output.splitlines()
    assert (done.exit_code, summary) == (2, f"bench: still running: {LONGEST}, doomed")
    assert [line.partition(" (")[0] for line in each] == [f"bench: the bench of {name}" for name in clusters]
