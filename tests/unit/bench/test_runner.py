"""What is made of a story, however it ends, in virtual time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import msgspec
import pytest

from bench import checkers, judging, store
from bench.case import Case, Plan, Settings
from bench.cluster import Cluster, PromiseBrokenError
from bench.evidence import Evidence
from bench.judging import judge_again
from bench.operations import Outcome
from bench.runner import Run, run_case, run_scenario
from bench.scenarios import SCENARIOS, Scenario
from bench.schedule import AnyFault, Clients, Cut, Delay, JoinAstray, Noise, Schedule, SlowDisk
from bench.search.explore import case_of, play
from bench.simulated.clients import SimulatedWorkers
from bench.simulated.cluster import SimulatedCluster
from bench.store import Recording, RunOverError, RunState
from bench.verdict import Check, Finding, Verdict, Witness
from bench.workload import BRISK, Pace, Script
from bench.worlds import SimulatedWorld
from faults.links import CLIENT, Link

STORIES = ["three_nodes", "kill_leader", "full_disk[leader_of]", "clock_skew[1.2]", "batches", "damaged_snapshot"]
THREE = ("n1", "n2", "n3")


def case(*faults: AnyFault, **fields: object) -> Case:
    schedule = Schedule(nodes=THREE, members=THREE, length_s=4.0, faults=faults)
    return Case(schedule=schedule, seed=3, **fields)  # type: ignore[arg-type]


def run(scenario: Scenario, runs: Path) -> Run:
    return run_scenario(scenario, runs=runs, world=SimulatedWorld())


# What is stored is what is judged


@pytest.mark.parametrize("name", STORIES)
def test_who_judges_a_stored_run_again_says_what_the_run_said(name: str, tmp_path: Path) -> None:
    done = run(SCENARIOS[name], tmp_path)
    again = judge_again(store.read(done.folder))
    assert (again.verdict, again.agrees) == (done.verdict, True)
    assert done.verdict in (Verdict.VALID, Verdict.SKIPPED)


def test_the_seed_of_a_scenario_is_its_run(tmp_path: Path) -> None:
    first, second, other = (
        run_scenario(SCENARIOS["kill_leader"], runs=tmp_path, world=SimulatedWorld(), seed=seed) for seed in (5, 5, 6)
    )
    assert first.digest == second.digest != other.digest
    assert store.read(first.folder).evidence() == store.read(second.folder).evidence()


def test_a_manifest_says_what_was_run(tmp_path: Path) -> None:
    scenario = replace(SCENARIOS["three_nodes"], file=tmp_path / "mine.py")
    done = run_scenario(scenario, runs=tmp_path, world=SimulatedWorld(), nodes=5, profile="default", seed=9)
    manifest = store.read(done.folder).manifest
    assert (manifest.name, manifest.file, manifest.world) == ("three_nodes", str(scenario.file), "simulated")
    assert (manifest.profile, manifest.plan) == ("default", scenario.plan(5, profile="default", seed=9))
    assert manifest.checks == tuple(check.__name__ for check in judging.of_a_scenario(scenario.checks))
    assert (manifest.verdict, manifest.digest) == (done.verdict, done.digest)


# Cases


def test_a_case_that_exploring_found_is_the_same_run_when_it_is_played(tmp_path: Path) -> None:
    found = next(violation for seed in range(50) if (violation := play(case_of(seed, 3, "vote_twice")).violation))
    done = run_case(found.case, runs=tmp_path, world=SimulatedWorld())
    assert (done.verdict, done.digest) == (Verdict.INVALID, found.digest)
    told = [(one.check, one.verdict, one.reason, one.at_s) for one in done.findings]
    assert (found.promise, Verdict.INVALID, found.words, found.at_s) in told
    stored = store.read(done.folder)
    assert (stored.case(), judge_again(stored).agrees) == (found.case, True)


def test_a_case_whose_faults_meet_no_traffic_is_valid_if_one_of_them_does(tmp_path: Path) -> None:
    silent = Cut(at_s=0.0, for_s=0.1, sources=("n3",), targets=("n2",), both_ways=False)
    busy = Cut(at_s=2.0, for_s=1.0, sources=("leader",))
    clients = Clients(at_s=0.0, for_s=4.0, number=2)
    verdicts = [
        run_case(case(clients, *faults), runs=tmp_path, world=SimulatedWorld()).verdict
        for faults in ([silent], [silent, busy])
    ]
    assert verdicts == [Verdict.UNKNOWN, Verdict.VALID]


@pytest.mark.parametrize("seed", range(8))
def test_a_node_whose_wrong_address_arrives_after_the_right_one_is_put_right_once_more(seed: int) -> None:
    noise = Noise(at_s=0.0, for_s=4.0, duplication=1.0, reordering=0.9)
    astray = [JoinAstray(at_s=at_s, for_s=4.0 - at_s, node="leader") for at_s in (3.9, 3.95)]
    assert play(msgspec.structs.replace(case(noise, *astray), seed=seed)).violation is None


@pytest.mark.parametrize(
    "fault",
    [
        SlowDisk(at_s=1.0, for_s=1.0, node="n2", latency_ms=30_000),
        Delay(at_s=1.0, for_s=1.0, sources=("n2",), latency_ms=25_000),
    ],
)
def test_what_a_fault_has_made_late_is_waited_for_when_the_fault_is_over(fault: AnyFault) -> None:
    assert play(case(Clients(at_s=0.0, for_s=4.0, number=1), fault)).violation is None


@dataclass(frozen=True)
class WorldOf(SimulatedWorld):
    kind: type[SimulatedCluster] = SimulatedCluster

    def cluster(self, plan: Plan, recording: Recording) -> SimulatedCluster:
        return self.kind(plan, recording)


class Quiet(SimulatedCluster):
    """In which nothing can be lost on the way, and no rule broken."""

    def can(self, need: str) -> str | None:
        return f"no {need} here" if need in ("noise", "flaws") else super().can(need)


NOISY = case(Noise(at_s=1.0, for_s=1.0, loss=0.5), Clients(at_s=0.0, for_s=4.0, number=2))


def test_a_case_that_needs_what_a_world_cannot_do_is_skipped_with_the_reason(tmp_path: Path) -> None:
    done = run_case(NOISY, runs=tmp_path, world=WorldOf(kind=Quiet))
    assert (done.verdict, done.findings) == (
        Verdict.SKIPPED,
        (Finding("noise", Verdict.SKIPPED, "no noise here"),),
    )
    stored = store.read(done.folder)
    assert (stored.case(), judge_again(stored).agrees) == (NOISY, True)
    assert stored.evidence().timeline == ()


def test_what_is_left_out_of_a_case_is_listed(tmp_path: Path) -> None:
    done = run_case(NOISY, runs=tmp_path, world=WorldOf(kind=Quiet), leave_out=True)
    (left_out,) = [finding for finding in done.findings if finding.verdict is Verdict.SKIPPED]
    assert done.verdict is Verdict.VALID
    assert left_out.reason == "no noise here"
    assert left_out.details == ("left out: at 1 s messages are lost (0.5), doubled (0), overtaken (0) for 1 s",)
    stored = store.read(done.folder)
    assert stored.manifest.left_out == ("; ".join([left_out.reason, *left_out.details]),)
    assert stored.case() == NOISY.without(frozenset({"noise"}))


class Mute(SimulatedWorkers):
    """Who can write down nothing of what they ask, and so ask nothing."""

    @property
    def idle(self) -> bool:
        raise OSError("no space left for a history")

    def start(self, *, at_once: bool = False) -> None:
        pass


class OutOfRoom(SimulatedCluster):
    def workers(self, scripts: Sequence[Script], nodes: Sequence[str], pace: Pace = BRISK) -> SimulatedWorkers:
        return Mute(self.world, list(enumerate(scripts)), nodes, pace=pace, resolve=self.resolve)


def test_what_ends_the_clients_of_a_case_is_not_laid_at_the_nodes_door(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no space left for a history"):
        run_case(case(), runs=tmp_path, world=WorldOf(kind=OutOfRoom))
    (stored,) = store.runs_in(tmp_path).runs
    assert (stored.state, stored.manifest.verdict) == (RunState.CUT_OFF, None)


def test_a_flaw_is_never_left_out(tmp_path: Path) -> None:
    done = run_case(case(flaw="vote_twice"), runs=tmp_path, world=WorldOf(kind=Quiet), leave_out=True)
    assert done.findings == (Finding("flaws", Verdict.SKIPPED, "no flaws here"),)


# However a story ends


def interrupted(_: Cluster) -> None:
    raise KeyboardInterrupt


def broken(_: Cluster) -> None:
    raise PromiseBrokenError("logs_match", "n1 and n2 differ at 7")


def failed(cluster: Cluster) -> None:
    cluster.client("n1").put("k", "v")
    raise AssertionError("it was not to be")


def endless(cluster: Cluster) -> None:
    while True:
        cluster.wait_for_leader()


def exits(_: Cluster) -> None:
    sys.exit(0)


def doomed(play: Callable[[Cluster], None], **fields: object) -> Scenario:
    return replace(SCENARIOS["three_nodes"], name="doomed", play=play, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("play", "verdict", "check"),
    [
        (broken, Verdict.INVALID, "logs_match"),
        (failed, Verdict.INVALID, "outcome"),
        (exits, Verdict.UNKNOWN, "outcome"),
        (endless, Verdict.UNKNOWN, "outcome"),
    ],
)
def test_the_evidence_of_a_story_that_goes_wrong_is_stored_and_judged_too(
    play: Callable[[Cluster], None], verdict: Verdict, check: str, tmp_path: Path
) -> None:
    done = run(doomed(play, limit_s=0.2 if play is endless else 60.0), tmp_path)
    assert (done.verdict, done.findings[0].check, done.findings[0].verdict) == (verdict, check, verdict)
    assert {finding.check for finding in done.findings} > {"one_leader_per_term", "faults_touched_traffic"}
    stored = store.read(done.folder)
    assert (stored.state, judge_again(stored).agrees) == (RunState.ENDED, True)
    assert set(stored.evidence().traces) == set(THREE)


def unheard(cluster: Cluster) -> None:
    with cluster.network.cutting([Link(CLIENT, "n1")]):
        asked_s = cluster.now_s
        told = cluster.client("n1").put("k", "v")
    assert told.outcome is Outcome.UNKNOWN
    assert told.completed_s - asked_s == pytest.approx(40.0)


def test_a_client_waits_for_its_answer_as_long_as_its_settings_say(tmp_path: Path) -> None:
    done = run(doomed(unheard, settings=Settings(client_timeout_s=40.0)), tmp_path)
    assert done.findings[0].verdict is Verdict.VALID, done.findings[0].reason


class Haunted(SimulatedWorld):
    """In which somebody asks when the story is over, as a thread that it has left behind."""

    def collect(self, cluster: SimulatedCluster, recording: Recording) -> str | None:
        with pytest.raises(RunOverError):
            cluster.client("n1").put("late", "v")
        with pytest.raises(RunOverError):
            cluster.remark("late")
        return super().collect(cluster, recording)


def test_what_happens_when_a_story_is_over_is_no_part_of_its_run(tmp_path: Path) -> None:
    done = run_scenario(SCENARIOS["three_nodes"], runs=tmp_path, world=Haunted())
    stored = store.read(done.folder)
    assert (done.verdict, judge_again(stored).agrees) == (Verdict.VALID, True)
    assert "late" not in [getattr(one.asked, "key", "") for one in stored.evidence().history]


def test_of_a_run_that_is_interrupted_there_is_what_there_was(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(doomed(interrupted), tmp_path)
    (stored,) = store.runs_in(tmp_path).runs
    findings = stored.findings()
    assert findings is not None
    assert findings.told == (Finding("outcome", Verdict.UNKNOWN, "interrupted"),)
    assert (stored.manifest.verdict, judge_again(stored).agrees) == (Verdict.UNKNOWN, True)


def test_whoever_is_called_on_a_failure_finds_the_cluster_up(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(cluster: SimulatedCluster, finding: Finding) -> None:
        seen.append(f"{cluster.wait_for_leader()} {finding.verdict}")

    for story in (failed, SCENARIOS["three_nodes"].play):
        run_scenario(doomed(story), runs=tmp_path, world=SimulatedWorld(), on_failure=look)
    ((_, verdict),) = (one.split() for one in seen)
    assert verdict == "INVALID"


def test_whoever_is_called_on_a_failure_is_called_when_the_nodes_break_a_promise_too(tmp_path: Path) -> None:
    def breaks(_: Cluster) -> None:
        raise PromiseBrokenError("nothing_fails", "n1 has stopped by itself")

    seen: list[Finding] = []
    run_scenario(
        doomed(breaks), runs=tmp_path, world=SimulatedWorld(), on_failure=lambda _, finding: seen.append(finding)
    )
    assert [(finding.check, finding.verdict) for finding in seen] == [("nothing_fails", Verdict.INVALID)]


class NoPortError(Exception):
    """What a bench cannot help."""


class Poor(SimulatedCluster):
    """Of which nothing can be opened."""

    @contextmanager
    def opened(self) -> Iterator[Self]:
        raise NoPortError("no free port")
        yield self


class Confused(SimulatedCluster):
    """A bench with a mistake in it."""

    def tell(self, fault: AnyFault, *, over: bool = False) -> None:
        raise AssertionError("this cannot be")


def test_what_the_bench_could_not_do_is_no_verdict_on_anybody(tmp_path: Path) -> None:
    with pytest.raises(NoPortError):
        run_scenario(SCENARIOS["three_nodes"], runs=tmp_path / "a", world=WorldOf(kind=Poor))
    with pytest.raises(AssertionError, match="this cannot be"):
        run_case(case(Clients(at_s=0.0, for_s=1.0, number=1)), runs=tmp_path / "b", world=WorldOf(kind=Confused))
    for runs in ("a", "b"):
        (stored,) = store.runs_in(tmp_path / runs).runs
        assert (stored.state, stored.findings()) == (RunState.CUT_OFF, None)
        assert judge_again(stored).findings.told[0].reason == "the run did not end"


# Checks


def raises(_: Evidence) -> Finding:
    raise ValueError("no idea")


def leaves(_: Evidence) -> Finding:
    sys.exit(0)


def shrugs(_: Evidence) -> Finding:
    return None  # type: ignore[return-value]


def hangs(_: Evidence) -> Finding:
    while True:
        pass


@pytest.mark.parametrize(
    ("check", "words"),
    [(raises, "ValueError: no idea"), (leaves, "SystemExit: 0"), (shrugs, "returned None"), (hangs, "did not end")],
)
def test_a_check_that_goes_wrong_has_found_nothing_out(
    check: Check, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "LIMIT_S", 0.2)
    finding = judging.judge(check, Evidence((), {}, ()))
    assert (finding.check, finding.verdict, words in finding.reason) == (check.__name__, Verdict.UNKNOWN, True)


def test_a_check_of_ones_own_is_not_taken_for_one_of_ours() -> None:
    def logs_agree(evidence: Evidence) -> Finding:
        return Finding("logs_agree", Verdict.VALID, "as far as anybody knows")

    name = judging.name_of(logs_agree)
    assert judging.find(name) is None
    assert judging.find(name, [logs_agree]) is logs_agree
    assert judging.find("logs_agree", [logs_agree]) is checkers.logs_agree


@pytest.mark.parametrize("name", ["os.system", "SAFETY", "own:os.system", "Evidence", "checkers"])
def test_a_name_that_is_no_checks_finds_none(name: str) -> None:
    assert judging.find(name) is None


def test_a_broken_promise_is_told_with_the_writes_that_stand_where_it_was_broken(tmp_path: Path) -> None:
    def breaks(cluster: Cluster) -> None:
        written = cluster.client(cluster.wait_for_leader()).put("price", "10")
        cluster.client(cluster.wait_for_leader()).put("other", "x")
        assert written.modify_index is not None
        raise PromiseBrokenError("committed_stays", "it does not", indexes=(written.modify_index,))

    done = run_scenario(replace(SCENARIOS["three_nodes"], play=breaks), runs=tmp_path, world=SimulatedWorld())
    (found,) = [finding for finding in done.findings if finding.check == "committed_stays"]
    assert [detail.split()[0] for detail in found.details] == ["acknowledged:"]
    assert "put price = 10: ok, at index" in found.details[0]


def test_a_broken_promise_is_told_with_what_has_seen_it(tmp_path: Path) -> None:
    """Who judges another system has no invariant of its core."""
    by_flaw = {"count_own_vote_twice": Witness.CORE, "stuck_terms": Witness.STATUSES}
    for flaw, witness in by_flaw.items():
        done = run_case(case_of(0, 5, flaw), runs=tmp_path, world=SimulatedWorld())
        assert witness in {one.witness for one in done.findings if one.verdict is Verdict.INVALID}
        assert f"seen from {witness}" in done.explain()
