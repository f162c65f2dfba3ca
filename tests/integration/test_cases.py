"""One case, played on real processes and in virtual time from one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench import cases
from bench.case import Case, Settings
from bench.judging import OF_A_CASE, judge
from bench.operations import Join
from bench.runner import Run, run_case
from bench.schedule import AnyFault, Ask, Clients, Crash, Cut, Delay, FullDisk, Noise, Pause, Schedule
from bench.store import read
from bench.verdict import Verdict
from bench.worlds import LiveWorld, SimulatedWorld, World

NODES = ("n1", "n2", "n3", "n4")
FAULTS = (
    Clients(at_s=0, for_s=4.5, number=4),
    Crash(at_s=0, for_s=0.7, node="n3"),
    Ask(at_s=0.8, for_s=3, node="leader", what=Join("n4")),
    Cut(at_s=1.5, for_s=1, sources=("leader",)),
    Pause(at_s=2, for_s=0.6, node="follower"),
    FullDisk(at_s=2.8, for_s=0.8, node="n2"),
    Delay(at_s=3, for_s=1, targets=("n1",), latency_ms=20, jitter_ms=5),
)


def case_of(*faults: AnyFault, length_s: float, flaw: str | None = None) -> Case:
    schedule = Schedule(nodes=NODES, members=NODES[:3], length_s=length_s, faults=faults)
    return Case(schedule=schedule, settings=Settings().of_profile("low-latency"), flaw=flaw)


@pytest.fixture(params=["live", "simulated"])
def world(request: pytest.FixtureRequest) -> World[Any]:
    """Toxiproxy is got for the live one alone."""
    return LiveWorld(request.getfixturevalue("toxiproxy")) if request.param == "live" else SimulatedWorld()


def played(case: Case, world: World[Any], folder: Path, **how: Any) -> Run:
    """From its file, as whoever is sent one plays it."""
    file = folder / "case.json"
    file.write_bytes(case.to_json())
    return run_case(cases.load(file), runs=folder / "runs", world=world, **how)


def test_what_processes_can_do_is_played_in_its_time_and_over_in_the_end(world: World[Any], tmp_path: Path) -> None:
    done = played(case_of(*FAULTS, length_s=4.5), world, tmp_path)
    assert done.verdict is Verdict.VALID, done.explain()
    evidence = read(done.folder).evidence()
    told = [(record["event"], record["fault"]) for record in evidence.timeline if record["event"] in ("begins", "over")]
    assert [fault["fault"] for event, fault in told if event == "begins"] == [type(fault).__name__ for fault in FAULTS]
    assert sorted(str(fault) for event, fault in told if event == "over") == sorted(
        str(fault) for event, fault in told if event == "begins"
    )
    over_s = next(record["at_s"] for record in evidence.timeline if record["event"] == "over")
    started_s = next(record["at_s"] for record in evidence.traces["n3"] if record["event"] == "start")
    assert started_s >= over_s, "n3 started before the fault was over that it was to start late by"
    assert any("n4" in record.get("voters", ()) for record in evidence.traces["n1"]), "n4 was to join"
    again = tuple(judge(check, evidence) for check in OF_A_CASE)
    assert again == done.findings[1:], "what is stored is judged as what was played"


def test_a_flaw_is_convicted_from_its_file(world: World[Any], tmp_path: Path) -> None:
    """A server that takes no later term from anybody waits for ever for a leader that it would follow."""
    done = played(case_of(length_s=0.5, flaw="stuck_terms"), world, tmp_path)
    convicted = [finding.check for finding in done.findings if finding.verdict is Verdict.INVALID]
    assert convicted[:1] == ["all_agree_in_the_end"], done.explain()
    assert set(convicted) <= {"all_agree_in_the_end", "served_while_a_majority_is_well"}, done.explain()


def test_a_case_that_needs_what_processes_cannot_do_is_skipped_or_played_without_that_and_says_so(
    toxiproxy: Path, tmp_path: Path
) -> None:
    case = case_of(Clients(at_s=0, for_s=1, number=1), Noise(at_s=0.2, for_s=0.5, loss=0.5), length_s=1)
    skipped = played(case, LiveWorld(toxiproxy), tmp_path)
    assert (skipped.verdict, [finding.check for finding in skipped.findings]) == (Verdict.SKIPPED, ["noise"])
    done = played(case, LiveWorld(toxiproxy), tmp_path, leave_out=True)
    assert done.verdict is Verdict.VALID, done.explain()
    (left_out,) = read(done.folder).manifest.left_out
    assert "messages are lost (0.5)" in left_out
    stored = cases.load(done.case_file)
    assert stored.schedule.faults == case.schedule.faults[:1], "what is stored is what was played"
